"""A model's answers to a probe; as a script, those of a merged model in a process of its own.

    python -P plain_reload.py MODEL QUESTIONS ANSWERS

The script is what a stranger would write to use the model: `AutoModelForImageTextToText` and
nothing of ours. It makes sure of that: `coordexp` cannot be imported in its process. So this file
imports torch, transformers and safetensors alone.

A probe is a safetensors file. `0.full.*` are the inputs of the first record with its answer and
`0.keep` the positions whose logits are wanted, `1.full.*` those of the second. `prompts.*` is one
batch, up to where the answers begin, to be continued by `max_new_tokens`. `rows.*`, where there
are any, are put into the vocabulary for a second round of logits.

Shapes: `P` positions, `V` vocabulary.
"""

import gc
import importlib.abc
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from typing_extensions import override

FIRST_ID = "rows.first_id"
_TIE = "tie_word_embeddings"
_OWNERS = {"torch", "transformers"}


class _NotInstalled(importlib.abc.MetaPathFinder):
    """Makes this process one where CoordExp is not installed."""

    @override
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] == "coordexp":
            raise ModuleNotFoundError(f"{fullname} is hidden from this process", name=fullname)


@dataclass(frozen=True, slots=True)
class PlainFacts:
    """What there is to say of a model once it is loaded.

    Args:
        model_class: Of transformers.
        tied: Whether embedding and head are one table in memory.
        flags: `tie_word_embeddings` of the model, and of its language model where that has one.
        foreign: Python modules, beside torch's and transformers', that its layers come from.
        strays: Tensors that are missing in the files, or that nothing asked for.
    """

    model_class: str
    tied: bool
    flags: tuple[bool, ...]
    foreign: tuple[str, ...]
    strays: tuple[str, ...]

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "PlainFacts":
        """Return what `to_json` wrote."""
        values = json.loads(text)
        return cls(
            model_class=values["model_class"],
            tied=values["tied"],
            flags=tuple(values["flags"]),
            foreign=tuple(values["foreign"]),
            strays=tuple(values["strays"]),
        )


def load_plainly(path: Path) -> tuple[PreTrainedModel, PlainFacts]:
    """Return a model as anybody would load it, and what there is to say about it."""
    loaded = AutoModelForImageTextToText.from_pretrained(
        path, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    model, found = cast(tuple[PreTrainedModel, Mapping[str, Collection[object]]], loaded)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    origins = {type(module).__module__ for module in model.modules()}
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    facts = PlainFacts(
        model_class=type(model).__name__,
        tied=head.weight is embedding.weight,
        flags=_tying_flags(model.config),
        foreign=tuple(sorted(name for name in origins if name.partition(".")[0] not in _OWNERS)),
        strays=tuple(sorted(str(key) for kind in kinds for key in found[kind])),
    )
    return model.eval(), facts


@torch.inference_mode()
def kept_logits(model: nn.Module, questions: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Yield each question's logits `[P, V]` at the positions to keep."""
    for number in _numbers(questions):
        inputs = _under(questions, f"{number}.full.")
        output = model(**inputs, logits_to_keep=questions[f"{number}.keep"], use_cache=False)
        yield output.logits[0].float()


@torch.inference_mode()
def greedy_tokens(model: nn.Module, questions: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Yield the token ids that each prompt is greedily continued with."""
    prompts = _under(questions, "prompts.")
    pad_id = int(questions["pad_id"])
    generate = cast(Callable[..., Tensor], cast(PreTrainedModel, model).generate)
    output = generate(
        **prompts,
        max_new_tokens=int(questions["max_new_tokens"]),
        do_sample=False,
        num_beams=1,
        pad_token_id=pad_id,
    )
    for row in output[:, prompts["input_ids"].shape[1] :]:
        yield row[row != pad_id]


def answers_of(model: nn.Module, questions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return logits and tokens, `0.logits`, `0.tokens`, ..."""
    return numbered("logits", kept_logits(model, questions)) | numbered(
        "tokens", greedy_tokens(model, questions)
    )


def numbered(kind: str, tensors: Iterator[Tensor]) -> dict[str, Tensor]:
    """Return answers of one kind under their names."""
    return {f"{number}.{kind}": tensor.clone() for number, tensor in enumerate(tensors)}


@torch.no_grad()
def put_rows_back(model: PreTrainedModel, questions: Mapping[str, Tensor]) -> None:
    """Put the rows of the probe into the embedding and the head."""
    first = int(questions[FIRST_ID])
    modules = {"embedding": model.get_input_embeddings(), "head": model.get_output_embeddings()}
    for name, module in modules.items():
        rows = questions[f"rows.{name}"]
        cast(nn.Linear, module).weight[first : first + len(rows)] = rows


def answer_plainly(
    path: Path, questions: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], PlainFacts]:
    """Return a model's answers, and what there is to say about it."""
    model, facts = load_plainly(path)
    answers = answers_of(model, questions)
    if FIRST_ID in questions:
        put_rows_back(model, questions)
        answers |= numbered("without", kept_logits(model, questions))
    del model
    gc.collect()
    return answers, facts


def _tying_flags(config: PretrainedConfig) -> tuple[bool, ...]:
    blocks = (config, config.get_text_config())  # the second says nothing of it in some families
    return tuple(block.tie_word_embeddings for block in blocks if hasattr(block, _TIE))


def _numbers(questions: Mapping[str, Tensor]) -> list[int]:
    return sorted(int(name.partition(".")[0]) for name in questions if name.endswith(".keep"))


def _under(questions: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in questions.items()
        if name.startswith(prefix)
    }


def _main(model: Path, questions: Path, answers: Path) -> None:
    sys.meta_path.insert(0, _NotInstalled())
    try:
        importlib.import_module("coordexp")
    except ModuleNotFoundError:
        pass
    else:
        raise AssertionError("coordexp can be imported here")
    tensors, facts = answer_plainly(model, load_file(questions))
    save_file(tensors, answers, metadata={"facts": facts.to_json()})


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
