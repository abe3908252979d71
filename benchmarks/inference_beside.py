"""Asking a model inside an engine's grammar, and walking it along answers that are known.

Both engines are driven as well as we know how: what they force is appended in the pass of the token
before it, by our own cache that lets rows grow at their own pace, and a mask is applied to the
logits of the whole vocabulary. Our own decoder is measured with `ordered=False`, which makes the
three languages one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from inference_engines import ENGINES, Grammar, State, allowed, build_grammar
from inference_passes import BOXES, COCO, SCENES, answer_ids, scenes
from torch import Tensor
from transformers import PreTrainedModel
from typing_extensions import override

from coordexp.answers.answer import Answer
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.head_rows import HeadRows
from coordexp.rendering.encode import Encoder, Example
from tests.inference.oracle import follow


class EngineRow:
    """One answer in the making, as `inference.decode.growing_answer.Row` is to our own grammar.

    Args:
        state: Of the engine.
        prompt: What is answered.
        jump: Whether what is forced is appended together.
        limit: After this many tokens the answer is cut off.
        end_id: Of the turn.
    """

    def __init__(
        self, state: State, prompt: Example, *, jump: bool, limit: int, end_id: int
    ) -> None:
        self.state = state
        self._jump, self._limit, self._end_id = jump, limit, end_id
        self.ids: list[int] = []
        self.length = len(prompt) - 1
        self.shift = int(prompt.position_ids[0, -1]) - self.length
        self.passes = 0
        self.done = False
        self._chosen = int(prompt.input_ids[-1])
        self._forced = state.forced() if jump else []

    @property
    def feed(self) -> Sequence[int]:
        """The tokens that the coming pass reads."""
        return (self._chosen, *self._forced)

    def settle(self, token_id: int) -> None:
        """Go on by what the model chose."""
        self.passes += 1
        self.length += 1 + len(self._forced)
        self.ids += [*self._forced, token_id]
        self._chosen, self._forced = token_id, []
        if token_id != self._end_id:
            self.state.take(token_id)
            if self._jump:
                self._forced = self.state.forced()
        if self._jump and token_id != self._end_id and self.state.over():
            self.ids += [*self._forced, self._end_id]
        self.done = self.ids[-1] == self._end_id or len(self.ids) >= self._limit


class EngineDecoder(ConstrainedDecoder):
    """Asks a model inside an engine's grammar, with our cache.

    Args:
        model: In evaluation mode.
        encoder: Whose prompts it answers.
        vocab: The coord vocabulary.
        ours: Our own grammar, for the texts of tokens.
        theirs: What it may say.
        jump: Whether what is forced is appended together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: Encoder,
        vocab: CoordVocab,
        ours: AnswerGrammar,
        theirs: Grammar,
        *,
        jump: bool,
    ) -> None:
        super().__init__(model, encoder, vocab, ours, jump=jump)
        self._theirs = theirs
        self._head = HeadRows(model, vocab)

    @override
    @torch.inference_mode()
    def answers(self, prompts: Sequence[Example], *, max_new_tokens: int) -> list[Answer]:
        rows: list[Any] = [
            EngineRow(
                self._theirs.start(),
                prompt,
                jump=self._jump,
                limit=max_new_tokens,
                end_id=self._encoder.end_of_turn_id,
            )
            for prompt in prompts
        ]
        cache, hidden = self._first_pass(prompts, rows)
        self._settle(rows, hidden, [len(prompt) - 1 for prompt in prompts])
        held = rows
        while active := [row for row in held if not row.done]:
            if 2 * len(active) <= len(held):
                cache.keep([index for index, row in enumerate(held) if not row.done])
                held = active
            self._settle(held, self._pass(held, cache), [0] * len(held))
        return [self._said(row) for row in rows]

    def _settle(self, rows: Sequence[EngineRow], hidden: Tensor, first: Sequence[int]) -> None:
        going = [index for index, row in enumerate(rows) if not row.done]
        last = [first[index] + len(rows[index].feed) - 1 for index in going]
        logits = self._head.every(hidden[going, last])
        mask = torch.full((len(going), -(-logits.shape[1] // 32)), -1, dtype=torch.int32)
        for place, index in enumerate(going):
            rows[index].state.fill(mask, place)
        flags = torch.from_numpy(allowed(mask))[:, : logits.shape[1]]
        chosen = logits.masked_fill(~flags, -torch.inf).argmax(-1).tolist()
        for index, token_id in zip(going, chosen, strict=True):
            rows[index].settle(token_id)

    def _said(self, row: EngineRow) -> Answer:
        ended = row.ids[-1] == self._encoder.end_of_turn_id
        pieces = self._pieces(row.ids[:-1] if ended else row.ids)
        return Answer(
            text="".join(pieces),
            pieces=pieces,
            probabilities=(1.0,) * len(pieces),
            finish_reason="eos" if ended else "length",
            passes=row.passes,
        )


def known_answers(encoder: Encoder, vocab_size: int) -> dict[str, object]:
    """Return what the grammars cost on answers that are known, without a model.

    Passes for an object, CPU microseconds of grammar work for an object, and the answers whose
    tokens, those of training, the grammar lets through. Of ours the time holds the walk of the
    tests' oracle too, which looks up a mask at each place in free text.
    """
    answers = [answer_ids(encoder, scene) for scene in scenes()]
    vocab = CoordVocab.from_tokenizer(encoder.tokenizer, SPEC_ALPHABET)
    result: dict[str, object] = {}
    for restricted in (False, True):
        names = tuple(COCO) if restricted else None
        began = time.process_time()
        ours = AnswerGrammar(encoder, restrict_to=names)
        _ = ours.start, ours.closers
        figures = {"ours": _walked(_ours(ours), answers, began)}
        for name in ENGINES:
            began = time.process_time()
            theirs = build_grammar(name, encoder, vocab, vocab_size, names)
            walk = _walk(theirs, vocab_size, encoder.end_of_turn_id)
            figures[name] = _walked(walk, answers, began)
        result["restricted" if restricted else "free text"] = figures
    return result


def _walked(
    walk: Callable[[Sequence[int]], int | None], answers: Sequence[Sequence[int]], began: float
) -> dict[str, float]:
    ready = time.process_time()
    walk(answers[0])
    warm = time.process_time()
    passes = [walk(ids) for ids in answers]
    seconds = time.process_time() - warm
    through = [count for count in passes if count is not None]
    return {
        "seconds to build": round(ready - began, 2),
        "passes per object": round(sum(through) / max(1, len(through) * BOXES), 2),
        "microseconds per object": round(1e6 * seconds / (SCENES * BOXES), 1),
        "answers let through": len(through),
        "of": len(answers),
    }


def _ours(grammar: AnswerGrammar) -> Callable[[Sequence[int]], int | None]:
    return lambda ids: follow(grammar, ids).passes


def _walk(theirs: Grammar, vocab_size: int, end_id: int) -> Callable[[Sequence[int]], int | None]:
    mask = torch.full((1, -(-vocab_size // 32)), -1, dtype=torch.int32)

    def walk(ids: Sequence[int]) -> int | None:
        """Return the passes of an answer, None where the grammar would not let it through."""
        state, passes = theirs.start(), 0
        rest: Iterator[int] = iter(ids)
        while True:
            for token_id in state.forced():
                if token_id != next(rest):
                    return None
            if state.over():
                return passes if next(rest) == end_id else None
            state.fill(mask, 0)
            passes += 1
            token_id = next(rest)
            if not int(mask[0, token_id // 32]) >> (token_id % 32) & 1:
                return None
            state.take(token_id)

    return walk
