"""Asking a merged model through vLLM's offline engine.

The prompt is the same token ids as everywhere else, up to the picture's placeholder, which vLLM
repeats by itself; what it made of them is compared with ours, so that a picture resized in another
way is found out. Answers are read by the same parser. Inside the grammar, vLLM masks the logits by
the grammar's text, and probabilities are those among what the mask leaves.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from transformers import GenerationConfig
from transformers.utils import GENERATION_CONFIG_NAME

from coordexp.answers.answer import Answer, with_masses
from coordexp.answers.belief import LISTED_TOKENS, CoordBelief, belief_of_listed
from coordexp.answers.grammar_text import answer_grammar_text
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CoordExpError, InputError
from coordexp.inference.decode.free import answer_ends
from coordexp.inference.decode.pieces import text_pieces
from coordexp.inference.run.ask import RESTRICTED_FREELY, AskOptions, Question
from coordexp.inference.run.vllm_engine import build_engine, check_merged, import_vllm
from coordexp.rendering.encode import Encoder, Example


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
        stop_ids: What ends an answer, and is no part of it.
    """

    def __init__(
        self,
        engine: Engine,
        sampling_params: object,
        encoder: Encoder,
        vocab: CoordVocab | None,
        stop_ids: Collection[int],
    ) -> None:
        self._engine = engine
        self._sampling_params = sampling_params
        self._encoder = encoder
        self._vocab = vocab
        self._stop_ids = stop_ids

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
        if ids and ids[-1] in self._stop_ids:
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
        coords = self._vocab.ids if self._vocab is not None else range(0)
        listed = {
            other - coords.start: math.exp(known.logprob)
            for other, known in row.items()
            if other in coords
        }
        return belief_of_listed(token_id - coords.start, listed)


def load_vllm_ask(
    path: Path,
    encoder: Encoder,
    vocab: CoordVocab | None,
    options: AskOptions,
    *,
    engine: Mapping[str, object],
    longest_prompt: int,
) -> VllmAsk:
    """Return what asks vLLM for a merged model.

    Args:
        path: The merged model.
        encoder: Makes its prompts.
        vocab: Its coord vocabulary, None for the text baseline.
        options: How it is asked. The order of corners is left to the model.
        engine: What the engine is told besides.
        longest_prompt: Tokens of the longest prompt there will be.

    Raises:
        CheckpointError: If the path is an adapter, which has to be merged first.
        InputError: If vLLM is not installed or refuses an option, or nothing can keep the model to
            the descs that there may be.
        CoordExpError: If the engine does not start.
    """
    check_merged(path)
    stop_ids = load_stop_ids(path, encoder)
    sampling_params = build_sampling_params(encoder, vocab, options, stop_ids)
    llm: Engine = build_engine(
        path,
        encoder.style,
        given=engine,
        stop_ids=stop_ids,
        max_model_len=longest_prompt + options.max_new_tokens,
    )
    return VllmAsk(llm, sampling_params, encoder, vocab, stop_ids)


def load_stop_ids(path: Path, encoder: Encoder) -> set[int]:
    """Return what ends an answer of a merged model, as `generate` of transformers has it."""
    generation = GenerationConfig()
    if (path / GENERATION_CONFIG_NAME).is_file():
        generation = GenerationConfig.from_pretrained(path, local_files_only=True)
    return answer_ends(encoder, generation)


def build_sampling_params(
    encoder: Encoder, vocab: CoordVocab | None, options: AskOptions, stop_ids: Collection[int]
) -> object:
    """Return how an engine is asked.

    Args:
        encoder: Makes the prompts.
        vocab: The coord vocabulary, None for the text baseline.
        options: How it is asked.
        stop_ids: What ends an answer.

    Raises:
        InputError: If vLLM is not installed, or nothing can keep the model to the descs that there
            may be.
    """
    vllm = import_vllm()
    structured = None
    if options.constrain and vocab is not None:
        grammar = answer_grammar_text(
            encoder.style,
            vocab,
            restrict_to=options.restrict_to,
            max_new_tokens=options.max_new_tokens,
        )
        params: Any = import_module("vllm.sampling_params")
        structured = params.StructuredOutputsParams(grammar=grammar)
    elif options.restrict_to is not None:
        raise InputError(RESTRICTED_FREELY)
    sampling_params: object = vllm.SamplingParams(
        temperature=0.0,
        max_tokens=options.max_new_tokens,
        logprobs=LISTED_TOKENS,
        stop_token_ids=sorted(stop_ids),
        structured_outputs=structured,
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        detokenize=False,
    )
    return sampling_params
