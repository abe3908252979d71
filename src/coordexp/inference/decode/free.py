"""Greedy answers, with the probability of every token from the same decode.

Shapes: `B` examples, `K` bins.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from typing_extensions import override

from coordexp.answers.answer import Answer, with_masses
from coordexp.answers.belief import CoordBelief
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inference.decode.beliefs import belief_figures
from coordexp.inference.decode.pieces import text_pieces
from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import Encoder, Example


class _Beliefs(LogitsProcessor):
    """Notes how probable the greedy choice is; storing every step's logits would take gigabytes."""

    def __init__(self, vocab: CoordVocab | None, *, with_coord_log_p: bool) -> None:
        self._vocab = vocab
        self._with_coord_log_p = with_coord_log_p
        self.chosen: list[Float[Tensor, " B"]] = []
        self.coords: list[Float[Tensor, "B 3"]] = []
        self.coord_log_p: list[Float[Tensor, "B K"]] = []

    @override
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        log_p = scores.float().log_softmax(-1)
        best, chosen = log_p.max(-1)
        self.chosen.append(best.exp())
        if self._vocab is not None:
            ids = self._vocab.ids
            bins = (chosen - ids.start).clamp(0, len(ids) - 1)
            of_bins = log_p[:, ids.start : ids.stop]
            self.coords.append(belief_figures(of_bins, bins))
            if self._with_coord_log_p:
                self.coord_log_p.append(of_bins.cpu())
        return scores


@torch.inference_mode()
def generate_answers(
    model: PreTrainedModel | PeftModel,
    encoder: Encoder,
    prompts: Sequence[Example],
    *,
    vocab: CoordVocab | None,
    max_new_tokens: int,
    with_coord_log_p: bool = False,
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
        with_coord_log_p: Whether answers tell the log probabilities of all bins.
    """
    pad_id = encoder.tokenizer.pad_token_id
    collate = Collator(pad_id=pad_id, image_token_id=encoder.image_token_id, side="left")
    batch = {name: tensor.to(model.device) for name, tensor in collate(prompts).items()}
    noted = _Beliefs(vocab, with_coord_log_p=with_coord_log_p)
    stop_ids = answer_ends(encoder, model.generation_config)
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
    probabilities = torch.stack(noted.chosen, dim=1).tolist()
    figures = torch.stack(noted.coords, dim=1).tolist() if vocab else [[]] * len(prompts)
    answers = []
    for index, (ids, row, coords) in enumerate(zip(new_ids, probabilities, figures, strict=True)):
        length = next((i for i, token_id in enumerate(ids) if token_id in stop_ids), len(ids))
        beliefs = {
            place: CoordBelief(*coords[place])
            for place, token_id in enumerate(ids[:length])
            if vocab is not None and token_id in vocab.ids
        }
        pieces = text_pieces(encoder, ids[:length])
        answers.append(
            Answer(
                text="".join(pieces),
                pieces=pieces,
                probabilities=with_masses(row[:length], beliefs),
                finish_reason="eos" if length < len(ids) else "length",
                beliefs=beliefs,
                passes=min(length + 1, len(ids)),
                coord_log_p={
                    place: noted.coord_log_p[place][index].tolist()
                    for place in beliefs
                    if with_coord_log_p
                },
            )
        )
    return answers


def answer_ends(encoder: Encoder, generation: GenerationConfig) -> set[int]:
    """Return the tokens that end an answer: the end of the turn, and a model's other stop tokens.

    Args:
        encoder: Of the model.
        generation: What its `generation_config.json` says.
    """
    ids: int | Sequence[int] | None = generation.eos_token_id
    if ids is None:
        ids = ()
    return {encoder.end_of_turn_id, *((ids,) if isinstance(ids, int) else ids)}
