"""Greedy answers, with the probability of every token from the same decode.

Shapes: `B` examples, `V` vocabulary, `K` bins.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel
from typing_extensions import override

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import Encoder, Example

FinishReason = Literal["eos", "length"]

# A coordinate's confidence is the mass within this many bins of the chosen one: 8 is 4 sigma of the
# taught distribution, which never puts more than 0.2 on a single bin.
WINDOW_BINS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote.

    Args:
        text: Special tokens kept, without the end of the turn.
        pieces: The text of each token, in order; they join to `text`.
        probabilities: Of each token: of a coord token the mass around it, of any other its own.
        finish_reason: `length` when the answer was cut off.
    """

    text: str
    pieces: tuple[str, ...]
    probabilities: tuple[float, ...]
    finish_reason: FinishReason


class _ChosenProbability(LogitsProcessor):
    """Notes how probable the greedy choice is; storing every step's logits would take gigabytes."""

    def __init__(self, vocab: CoordVocab | None) -> None:
        self._vocab = vocab
        self.steps: list[Float[Tensor, " B"]] = []

    @override
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        p = scores.float().softmax(-1)
        best, chosen = p.max(-1)
        if self._vocab is not None:
            ids = self._vocab.ids
            mass = _window_mass(p[:, ids.start : ids.stop], chosen - ids.start)
            is_coord = (chosen >= ids.start) & (chosen < ids.stop)
            best = torch.where(is_coord, mass, best)
        self.steps.append(best)
        return scores


def _window_mass(p: Float[Tensor, "B K"], bins: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    num_bins = p.shape[1]
    cumulative = torch.nn.functional.pad(p.cumsum(-1), (1, 0))
    low = (bins - WINDOW_BINS).clamp(0, num_bins)
    high = (bins + WINDOW_BINS + 1).clamp(0, num_bins)
    mass = cumulative.gather(1, high[:, None]) - cumulative.gather(1, low[:, None])
    return mass[:, 0].clamp(0, 1)


@torch.inference_mode()
def generate_answers(
    model: PreTrainedModel | PeftModel,
    encoder: Encoder,
    prompts: Sequence[Example],
    *,
    vocab: CoordVocab | None,
    max_new_tokens: int,
) -> list[Answer]:
    """Return the greedy answer to each prompt.

    Sampling and penalties that the base's `generation_config.json` asks for are left out: they
    distort coordinates and probabilities. An answer ends at the end of the turn, or at another stop
    token of that file.

    Args:
        model: In evaluation mode.
        encoder: Whose prompts these are.
        prompts: From `Encoder.encode_prompt`.
        vocab: The coord vocabulary, None for the text baseline.
        max_new_tokens: Longest answer.
    """
    pad_id = encoder.tokenizer.pad_token_id
    collate = Collator(pad_id=pad_id, image_token_id=encoder.image_token_id, side="left")
    batch = {name: tensor.to(model.device) for name, tensor in collate(prompts).items()}
    noted = _ChosenProbability(vocab)
    stop_ids = {encoder.end_of_turn_id, *_listed(model.generation_config.eos_token_id)}
    output = cast(Callable[..., Tensor], model.generate)(
        **batch,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=sorted(stop_ids),
        pad_token_id=pad_id,
        logits_processor=LogitsProcessorList([noted]),
    )
    new_ids = output[:, batch["input_ids"].shape[1] :].tolist()
    probabilities = torch.stack(noted.steps, dim=1).tolist()
    return [
        _answer(encoder, ids, row, stop_ids)
        for ids, row in zip(new_ids, probabilities, strict=True)
    ]


def _listed(ids: int | Sequence[int] | None) -> Sequence[int]:
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else ids


def _answer(
    encoder: Encoder, ids: list[int], probabilities: list[float], stop_ids: Collection[int]
) -> Answer:
    length = next((i for i, token_id in enumerate(ids) if token_id in stop_ids), len(ids))
    ended = length < len(ids)
    pieces = text_pieces(encoder, ids[:length])
    return Answer(
        text="".join(pieces),
        pieces=pieces,
        probabilities=tuple(probabilities[:length]),
        finish_reason="eos" if ended else "length",
    )


def text_pieces(encoder: Encoder, ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text of each token; the pieces join to the text of all.

    A character that is spread over several tokens belongs to the last of them, and so do bytes that
    form no character to the next token that ends with one.
    """
    pieces = []
    waiting: list[int] = []
    for index, token_id in enumerate(ids):
        waiting.append(token_id)
        piece = cast(
            str,
            encoder.tokenizer.decode(
                waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False
            ),
        )
        # U+FFFD at the end: the bytes so far may be the beginning of a character.
        if piece.endswith("\ufffd") and index + 1 < len(ids):
            pieces.append("")
        else:
            pieces.append(piece)
            waiting = []
    return tuple(pieces)
