"""Greedy answers inside the grammar, in as few passes of the model as it takes.

What the grammar forces is appended together with the token before it. Where it leaves a choice with
a likely side, such as one more object rather than the end, the likely side is appended too and
looked at afterwards: the same pass that reads the run gives the logits at the choice. A wrong guess
costs nothing but its columns. The coordinates of a box are guessed as well, from what the pass
before read at their places (`shape_guesses`). So a pass ends inside a desc or in a box::

    pass 1   prompt { " object_1 ": { "desc ": "          the empty scene lost against the guess
    pass 2   cat
    pass 3   ", "bbox_2d": [" 333 ", " 333 ", " 666 ", "  one number is certain, three are read
    pass 4   120 ", " 88 ", " 402 ", " 365 "] }, "object_2 ": { "desc ": "

Every choice is the argmax over what the grammar allows, so the answer is the one that the same
grammar gives token by token (`jump=False`).

Shapes: `B` rows, `Q` columns of a pass, `L` columns in the cache, `D` width, `N` choices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from coordexp.answers.answer import Answer, FinishReason, with_masses
from coordexp.answers.belief import CoordBelief
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.families.recurrent_layers import check_recurrent_layers, recurrent_layers
from coordexp.inference.decode.beliefs import coord_beliefs
from coordexp.inference.decode.choose import Chooser
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.growing_answer import Row
from coordexp.inference.decode.pick import Pick, likeliest
from coordexp.inference.decode.pieces import text_pieces
from coordexp.inference.decode.ragged_cache import RaggedCache
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example


@dataclass(frozen=True, slots=True)
class AnswerTokenIds:
    """An answer as tokens, for whoever learns from it.

    Args:
        ids: With the end of the turn.
        free: Of each, whether the model chose it; the grammar forced the others.
    """

    ids: tuple[int, ...]
    free: tuple[bool, ...]


class ConstrainedDecoder:
    """Asks a model inside a grammar.

    Args:
        model: In evaluation mode.
        encoder: Whose prompts it answers.
        vocab: The coord vocabulary.
        grammar: What it may say.
        jump: Whether forced and likely tokens are appended together; the answers are the same.
        ordered: Whether a box's second corner may be no smaller than its first.
        with_coord_log_p: Whether answers tell the log probabilities of all bins.
        stop: What ends an answer that repeats itself; None for nothing.
        pick: Which of what is allowed is said.

    Raises:
        CheckpointError: If the model has layers with states that cannot go back to a choice.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        encoder: Encoder,
        vocab: CoordVocab,
        grammar: AnswerGrammar,
        *,
        jump: bool = True,
        ordered: bool = True,
        with_coord_log_p: bool = False,
        stop: RepeatStop | None = None,
        pick: Pick = likeliest,
    ) -> None:
        inner = model.get_base_model() if isinstance(model, PeftModel) else model
        self._model = cast(PreTrainedModel, inner)
        self._encoder = encoder
        self._vocab = vocab
        self._grammar = grammar
        self._jump = jump
        self._ordered = ordered
        self._with_coord_log_p = with_coord_log_p
        self._stop = stop
        self._text: dict[int, str | None] = {}
        self._choose = Chooser(self._model, vocab, grammar, pick)
        self._device = self._model.device
        self._num_layers = len(self._model.get_decoder().layers)
        check_recurrent_layers(self._model)
        self._recurrent = recurrent_layers(self._model)
        self._pad_id = encoder.tokenizer.pad_token_id

    @torch.inference_mode()
    def answers(self, prompts: Sequence[Example], *, max_new_tokens: int) -> list[Answer]:
        """Return the answer to each prompt.

        Args:
            prompts: From `Encoder.encode_prompt`.
            max_new_tokens: After this many no object is begun; the last one is finished.
        """
        return self._finished(self._said(prompts, max_new_tokens))

    @torch.inference_mode()
    def tokens(self, prompts: Sequence[Example], *, max_new_tokens: int) -> list[AnswerTokenIds]:
        """Return the same as tokens, and which of them the model chose."""
        rows = self._said(prompts, max_new_tokens)
        return [AnswerTokenIds(tuple(row.ids), tuple(row.free)) for row in rows]

    def _said(self, prompts: Sequence[Example], max_new_tokens: int) -> list[Row]:
        rows = [
            Row(
                self._grammar,
                prompt,
                jump=self._jump,
                ordered=self._ordered,
                limit=max_new_tokens,
                stop=self._stop,
            )
            for prompt in prompts
        ]
        cache, hidden = self._first_pass(prompts, rows)
        self._choose(rows, hidden, [len(prompt) - 1 for prompt in prompts])
        held = rows
        while active := [row for row in held if not row.done]:
            if 2 * len(active) <= len(held):
                cache.keep([index for index, row in enumerate(held) if not row.done])
                held = active
            self._choose(held, self._pass(held, cache), [0] * len(held))
        return rows

    def _first_pass(
        self, prompts: Sequence[Example], rows: Sequence[Row]
    ) -> tuple[RaggedCache, Float[Tensor, "B Q D"]]:
        """Read the prompts, each with its first run."""
        collate = Collator(
            pad_id=self._pad_id, image_token_id=self._encoder.image_token_id, side="right"
        )
        fed = [_continued(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
        batch = {name: tensor.to(self._device) for name, tensor in collate(fed).items()}
        del batch["labels"]
        # Padding stands behind every row's end, where nothing looks: causal attention is enough.
        del batch["attention_mask"]
        batch_size, length = batch["input_ids"].shape
        columns = torch.arange(length, device=self._device).expand(batch_size, -1)
        stops = [
            [len(prompt) - 1 + stop for stop in row.stops()]
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        cache = RaggedCache(self._num_layers, self._recurrent, columns, stops=stops)
        return cache, self._hidden(cache, batch)

    def _pass(self, rows: Sequence[Row], cache: RaggedCache) -> Float[Tensor, "B Q D"]:
        """Read every row's feed; a row that is done reads nothing of use."""
        feeds = [row.feed for row in rows]
        longest = max(len(feed) for row, feed in zip(rows, feeds, strict=True) if not row.done)
        padded = [[*feed, *[self._pad_id] * longest][:longest] for feed in feeds]
        numbers = torch.tensor([[row.length, row.shift] for row in rows], device=self._device)
        steps = torch.arange(longest, device=self._device)
        columns = numbers[:, :1] + steps
        cache.columns.move(
            columns,
            stop=max(row.length for row in rows) + longest,
            starts=[row.length for row in rows],
            stops=[() if row.done else tuple(row.stops()) for row in rows],
        )
        batch = {
            "input_ids": torch.tensor(padded, device=self._device),
            "position_ids": (columns + numbers[:, 1:]).expand(3, -1, -1),
            "attention_mask": cache.mask(),
        }
        return self._hidden(cache, batch)

    def _hidden(self, cache: RaggedCache, batch: dict[str, Tensor]) -> Float[Tensor, "B Q D"]:
        output = self._model.base_model(**batch, past_key_values=cache, use_cache=True)
        return cast(Tensor, output.last_hidden_state)

    def _finished(self, rows: Sequence[Row]) -> list[Answer]:
        logits = [logits for row in rows for logits in row.coord_logits.values()]
        beliefs: Iterator[CoordBelief] = iter(())
        if logits:
            bins = [row.ids[at] - self._vocab.first_id for row in rows for at in row.coord_logits]
            chosen = torch.tensor(bins, device=self._device)
            beliefs = iter(coord_beliefs(torch.stack(logits), chosen))
        return [self._answer(row, beliefs) for row in rows]

    def _answer(self, row: Row, beliefs: Iterator[CoordBelief]) -> Answer:
        own = {at: next(beliefs) for at in row.coord_logits}
        pieces = self._pieces(row.ids[:-1])  # without the end of the turn
        return Answer(
            text="".join(pieces),
            pieces=pieces,
            probabilities=with_masses(row.probabilities[:-1], own),
            finish_reason=_finish_reason(row),
            beliefs=own,
            passes=row.passes,
            coord_log_p=self._coord_log_p(row) if self._with_coord_log_p else {},
        )

    def _coord_log_p(self, row: Row) -> dict[int, list[float]]:
        return {
            at: logits.double().log_softmax(-1).tolist() for at, logits in row.coord_logits.items()
        }

    def _pieces(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return the text of each token, the slow way only where a character is spread out."""
        for token_id in ids:
            if token_id not in self._text:
                own = self._grammar.bytes.pieces[token_id]
                text = own.decode("utf-8", errors="ignore")
                self._text[token_id] = text if text.encode() == own else None
        known = (self._text[token_id] for token_id in ids)
        pieces = [piece for piece in known if piece is not None]
        return tuple(pieces) if len(pieces) == len(ids) else text_pieces(self._encoder, ids)


def _finish_reason(row: Row) -> FinishReason:
    if row.is_looping:
        return "repeats"
    return "length" if row.is_cut else "eos"


def _continued(prompt: Example, row: Row) -> Example:
    """Return the prompt with the row's first run."""
    run = torch.tensor(row.feed[1:], dtype=torch.long)
    positions = prompt.position_ids[:, -1:] + torch.arange(1, len(run) + 1)
    return replace(
        prompt,
        input_ids=torch.cat([prompt.input_ids, run]),
        labels=torch.cat([prompt.labels, torch.full_like(run, IGNORE_INDEX)]),
        position_ids=torch.cat([prompt.position_ids, positions], dim=1),
    )
