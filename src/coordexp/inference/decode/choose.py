"""Asking the head at the places where the grammar leaves a choice.

Places of one kind are asked together: the options of a node, the bins of a coordinate, the tokens
of free text. Of the head no more rows are read than there are options.

Shapes: `B` rows, `Q` columns of a pass, `D` width, `N` choices, `M` options, `K` bins, `V` ids.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.growing_answer import Choice, Row
from coordexp.inference.decode.head_rows import HeadRows
from coordexp.inference.decode.pick import Pick
from coordexp.inference.decode.trie import Node, Slot, Text
from coordexp.inference.decode.walk import AllowedTokens, TextState

Picked = tuple[Int[Tensor, " N"], Float[Tensor, " N"]]


@dataclass(frozen=True, slots=True)
class _Ask:
    row: Row
    node: Node
    is_closing: bool


class Chooser:
    """Makes the choices of all rows after a pass.

    Args:
        model: Whose head is asked.
        vocab: The coord vocabulary.
        grammar: What may be said.
        pick: Which of it is.
    """

    def __init__(
        self, model: PreTrainedModel, vocab: CoordVocab, grammar: AnswerGrammar, pick: Pick
    ) -> None:
        self._pick = pick
        self._head = HeadRows(model, vocab)
        self._first_id = vocab.first_id
        self._allowed = AllowedTokens(grammar, self._head.vocab_size)
        self._masks: dict[tuple[TextState, bool], Bool[Tensor, " V"]] = {}

    def __call__(
        self, rows: Sequence[Row], hidden: Float[Tensor, "B Q D"], first: Sequence[int]
    ) -> None:
        """Settle every row that is not done.

        Args:
            rows: In the order of `hidden`.
            hidden: From the pass that read the rows' feeds.
            first: Where each row's feed begins in it.
        """
        asks, places = [], []
        for index, row in enumerate(rows):
            if not row.done:
                for place, node in row.asks():
                    asks.append(_Ask(row, node, row.is_closing(place)))
                    places.append((index, first[index] + place))
        choices = iter(self._choices(asks, hidden, places)) if asks else iter(())
        for row in rows:
            if not row.done:
                row.settle(choices)

    def _choices(
        self, asks: list[_Ask], hidden: Float[Tensor, "B Q D"], places: list[tuple[int, int]]
    ) -> list[Choice]:
        at = torch.tensor(places, device=hidden.device)
        asked = hidden[at[:, 0], at[:, 1]]
        groups: defaultdict[object, list[int]] = defaultdict(list)
        for index, ask in enumerate(asks):
            leaf = ask.node.leaf
            groups[ask.node.options if leaf is None else type(leaf)].append(index)
        order, ids, probabilities = [], [], []
        coord_logits: dict[int, Tensor] = {}
        likeliest: dict[int, int] = {}
        for kind, members in groups.items():
            chosen = [asks[index] for index in members]
            own = asked if len(members) == len(asks) else asked[members]
            if kind is Slot:
                logits = self._head.coords(own)
                coord_logits.update(zip(members, logits, strict=True))
                likeliest.update(zip(members, logits.argmax(-1).tolist(), strict=True))
                picked = self._bins(chosen, logits)
            else:
                picked = (self._text if kind is Text else self._options)(chosen, own)
            order += members
            ids.append(picked[0])
            probabilities.append(picked[1])
        settled = zip(torch.cat(ids).tolist(), torch.cat(probabilities).tolist(), strict=True)
        by_index = dict(zip(order, settled, strict=True))
        return [
            Choice(
                *by_index[index],
                coord_logits=coord_logits.get(index),
                likeliest_bin=likeliest.get(index),
            )
            for index in range(len(asks))
        ]

    def _options(self, asks: Sequence[_Ask], hidden: Float[Tensor, "N D"]) -> Picked:
        options = asks[0].node.options
        logits = self._head.options(hidden, options)
        chosen = self._pick(logits)
        for index, ask in enumerate(asks):
            if ask.is_closing and ask.node.stop is not None:
                chosen[index] = options.index(ask.node.stop)
        p = logits.softmax(-1).gather(1, chosen[:, None])[:, 0]
        return torch.tensor(options, device=hidden.device)[chosen], p

    def _bins(self, asks: Sequence[_Ask], logits: Float[Tensor, "N K"]) -> Picked:
        slots = [(ask.row.walk, ask.node.leaf) for ask in asks]
        least = [walk.lowest_bin(leaf) for walk, leaf in slots if isinstance(leaf, Slot)]
        if any(least):
            bins = torch.arange(logits.shape[1], device=logits.device)
            below = bins < torch.tensor(least, device=logits.device)[:, None]
            logits = logits.masked_fill(below, -torch.inf)
        return self._first_id + self._pick(logits), torch.ones_like(logits[:, 0])

    def _text(self, asks: Sequence[_Ask], hidden: Float[Tensor, "N D"]) -> Picked:
        logits = self._head.every(hidden)
        texts = [(ask, ask.node.leaf) for ask in asks]
        masks = [self._mask(ask, leaf) for ask, leaf in texts if isinstance(leaf, Text)]
        allowed = masks[0] if all(mask is masks[0] for mask in masks) else torch.stack(masks)
        chosen = self._pick(logits.masked_fill(~allowed, -torch.inf))
        log_p = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        return chosen, log_p.exp()

    def _mask(self, ask: _Ask, text: Text) -> Bool[Tensor, " V"]:
        key = (ask.row.walk.text_state(text), ask.is_closing)
        if key not in self._masks:
            mask = torch.from_numpy(self._allowed.mask(key[0], closing=key[1]))
            self._masks[key] = mask.to(self._head.device)
        return self._masks[key]
