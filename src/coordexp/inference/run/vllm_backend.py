"""Asking a merged model through vLLM's offline engine.

The prompt is the same token ids as everywhere else, up to the picture's placeholder, which vLLM
repeats by itself; what it made of them is compared with ours, so that a picture resized in another
way is found out. Answers are free, not constrained, and read by the same parser. Of a coordinate
vLLM tells the `LOGPROBS` most probable tokens, so the mass around it is a lower bound.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError, CoordExpError, InputError, install_advice
from coordexp.inference.decode.answer import Answer, text_pieces, with_masses
from coordexp.inference.decode.beliefs import WINDOW_BINS, CoordBelief
from coordexp.inference.run.ask import Question
from coordexp.inference.run.stock_model import is_stock
from coordexp.model.card import load_weights_card
from coordexp.rendering.encode import Encoder, Example

LOGPROBS = 20  # vLLM's own limit, unless an engine is built with another


class TokenLogprob(Protocol):
    """What vLLM says of a token."""

    logprob: float


class Completion(Protocol):
    """One answer of vLLM."""

    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, TokenLogprob]] | None
    finish_reason: str | None


class RequestOutput(Protocol):
    """vLLM's output for one prompt."""

    prompt_token_ids: Sequence[int]
    outputs: Sequence[Completion]


class Engine(Protocol):
    """The part of `vllm.LLM` that is used."""

    def generate(
        self, prompts: Sequence[Mapping[str, object]], sampling_params: object, *, use_tqdm: bool
    ) -> Sequence[RequestOutput]:
        """Return the outputs in the order of the prompts."""
        ...


class VllmAsk:
    """Asks a vLLM engine.

    Args:
        engine: Of a merged model.
        sampling_params: Greedy, special tokens kept; see `load_vllm_ask`.
        encoder: With the style that the model was trained in.
        vocab: The coord vocabulary, None for the text baseline.
    """

    def __init__(
        self, engine: Engine, sampling_params: object, encoder: Encoder, vocab: CoordVocab | None
    ) -> None:
        self._engine = engine
        self._sampling_params = sampling_params
        self._encoder = encoder
        self._vocab = vocab

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answer to each question.

        Raises:
            CoordExpError: If the engine has made other prompt ids of a picture.
        """
        prompts = [
            {
                "prompt_token_ids": self._with_one_placeholder(question.prompt),
                "multi_modal_data": {"image": question.picture},
            }
            for question in questions
        ]
        outputs = self._engine.generate(prompts, self._sampling_params, use_tqdm=False)
        for question, output in zip(questions, outputs, strict=True):
            ours, theirs = question.prompt.input_ids.tolist(), list(output.prompt_token_ids)
            if ours != theirs:
                raise CoordExpError(
                    f"vLLM reads another prompt than the model was trained with: {len(theirs)} "
                    f"tokens instead of {len(ours)}; is its image processor another one?"
                )
        return [self._answer(output.outputs[0]) for output in outputs]

    def _with_one_placeholder(self, prompt: Example) -> list[int]:
        image_id = self._encoder.image_token_id
        ids: list[int] = prompt.input_ids.tolist()
        return [
            token_id
            for place, token_id in enumerate(ids)
            if token_id != image_id or ids[place - 1] != image_id
        ]

    def _answer(self, completion: Completion) -> Answer:
        ids = list(completion.token_ids)
        logprobs = list(completion.logprobs or ())
        if len(logprobs) != len(ids):
            raise CoordExpError("vLLM gave no log probabilities; scores are made of them")
        if completion.finish_reason == "stop" and ids[-1:] == [self._encoder.end_of_turn_id]:
            del ids[-1], logprobs[-1]
        beliefs = {
            place: self._belief(token_id, logprobs[place])
            for place, token_id in enumerate(ids)
            if self._vocab is not None and token_id in self._vocab.ids
        }
        chosen = [
            math.exp(row[token_id].logprob) for token_id, row in zip(ids, logprobs, strict=True)
        ]
        pieces = text_pieces(self._encoder, ids)
        return Answer(
            text="".join(pieces),
            pieces=pieces,
            probabilities=with_masses(chosen, beliefs),
            finish_reason="length" if completion.finish_reason == "length" else "eos",
            beliefs=beliefs,
            passes=len(completion.token_ids),
        )

    def _belief(self, token_id: int, row: Mapping[int, TokenLogprob]) -> CoordBelief:
        window = range(token_id - WINDOW_BINS, token_id + WINDOW_BINS + 1)
        coords = self._vocab.ids if self._vocab is not None else range(0)
        near = {
            other: math.exp(known.logprob)
            for other, known in row.items()
            if other in window and other in coords
        }
        every = [math.exp(known.logprob) for other, known in row.items() if other in coords]
        mass, total = sum(near.values()), sum(every)
        mean = sum((other - coords.start) * p for other, p in near.items()) / mass
        entropy = -sum(p / total * math.log(p / total) for p in every if p > 0)
        return CoordBelief(mass=min(mass, 1.0), entropy=entropy, mean_bin=mean)


def load_vllm_ask(
    path: Path, encoder: Encoder, vocab: CoordVocab | None, *, max_new_tokens: int
) -> VllmAsk:
    """Return what asks vLLM for a merged model.

    Args:
        path: The merged model.
        encoder: Makes its prompts.
        vocab: Its coord vocabulary, None for the text baseline.
        max_new_tokens: Longest answer.

    Raises:
        CheckpointError: If the path is an adapter, which has to be merged first.
        InputError: If vLLM is not installed.
    """
    if not is_stock(path) and load_weights_card(path).base is not None:
        raise CheckpointError(
            f"{path}: vLLM needs a merged model; merge it with: coordexp merge {path} DST"
        )
    try:
        vllm: Any = import_module("vllm")
    except Exception as error:  # noqa: BLE001 - whatever one for another torch raises
        raise InputError(f"vLLM cannot be imported ({error}); {install_advice('vllm')}") from None
    style = encoder.style
    pixels = {"min_pixels": style.min_pixels, "max_pixels": style.max_pixels}
    engine: Engine = vllm.LLM(
        model=str(path),
        limit_mm_per_prompt={"image": 1, "video": 0},
        mm_processor_kwargs={name: value for name, value in pixels.items() if value is not None},
        max_logprobs=LOGPROBS,
    )
    sampling_params = vllm.SamplingParams(
        temperature=0.0,
        max_tokens=max_new_tokens,
        logprobs=LOGPROBS,
        stop_token_ids=[encoder.end_of_turn_id],
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        detokenize=False,
    )
    return VllmAsk(engine, sampling_params, encoder, vocab)
