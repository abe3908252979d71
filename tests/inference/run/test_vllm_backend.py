import json
import math
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coordexp.answers.prediction_lines import RowOptions
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.inference.run.ask import AskOptions, Question
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predictor import Predictor
from coordexp.inference.run.vllm_backend import VllmAsk, load_vllm_ask
from coordexp.inference.run.vllm_engine import TESTED_VERSION
from coordexp.model.card import WeightsCard, write_card

FREE = AskOptions(constrain=False, restrict_to=None, max_new_tokens=9)
TEXT = (
    '{"object_1": {"desc": "six", "line": '
    '["<|coord_5|>", "<|coord_7|>", "<|coord_9|>", "<|coord_990|>"]}}'
)


@dataclass(frozen=True)
class Logprob:
    logprob: float


@dataclass(frozen=True)
class Completion:
    token_ids: Sequence[int]
    logprobs: Sequence[Mapping[int, Logprob]]
    finish_reason: str


@dataclass(frozen=True)
class Output:
    prompt_token_ids: Sequence[int]
    outputs: Sequence[Completion]


@dataclass
class Arguments:
    """The names of options that this engine knows."""

    dtype: str = ""
    max_model_len: int = 0
    tensor_parallel_size: int = 1


@dataclass(frozen=True)
class Platform:
    """A CPU, or not."""

    cpu: bool

    def is_cpu(self) -> bool:
        return self.cpu


@dataclass
class Recorded(ModuleType):
    """Stands for the package: an engine that plays back what vLLM said."""

    completion: Completion
    placeholders: int
    image_id: int
    asked: list[dict[str, object]] = field(default_factory=list)
    current_platform: Any = None
    EngineArgs: type = Arguments
    __version__: str = "0.0"
    read: list[list[int]] = field(default_factory=list)
    built: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__("vllm")

    def LLM(self, **options: object) -> "Recorded":  # noqa: N802 - theirs
        self.built |= options
        return self

    def StructuredOutputsParams(self, *, grammar: str) -> str:  # noqa: N802 - theirs
        return grammar

    def SamplingParams(self, **options: object) -> dict[str, object]:  # noqa: N802 - theirs
        self.built |= options
        return options

    def generate(
        self, prompts: Sequence[dict[str, object]], sampling_params: object, *, use_tqdm: bool
    ) -> list[Output]:
        assert sampling_params
        assert not use_tqdm
        self.asked += prompts
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            assert isinstance(ids, list)
            place = ids.index(self.image_id)
            self.read.append([0] * (len(ids) + self.placeholders - 1))
            spread = [*ids[:place], *[self.image_id] * self.placeholders, *ids[place + 1 :]]
            outputs.append(Output(spread, [self.completion]))
        return outputs


@pytest.fixture
def question(predictor: Predictor, scenes: Path) -> Question:
    record = RecordFile(scenes, SPEC_ALPHABET)[0]
    picture = load_image(scenes.parent, record)
    return Question(predictor.encoder.encode_prompt(record, picture), picture)


@pytest.fixture
def recorded(predictor: Predictor, question: Question, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    encoder = predictor.encoder
    ids = encoder.tokenizer.encode(TEXT, add_special_tokens=False)
    assert predictor.vocab is not None
    first = predictor.vocab.first_id
    rows = []
    for token_id in ids:
        row = {token_id: Logprob(math.log(0.5))}
        if token_id >= first:
            row |= {token_id + 2: Logprob(math.log(0.25)), token_id - 400: Logprob(math.log(0.1))}
        rows.append(row)
    ids.append(encoder.end_of_turn_id)
    rows.append({ids[-1]: Logprob(0.0)})
    engine = Recorded(
        completion=Completion(ids, rows, "stop"),
        placeholders=question.prompt.input_ids.tolist().count(encoder.image_token_id),
        image_id=encoder.image_token_id,
        current_platform=Platform(cpu=True),
    )
    for name in ("vllm", "vllm.platforms", "vllm.sampling_params"):
        monkeypatch.setitem(sys.modules, name, engine)
    for name in ("VLLM_NO_USAGE_STATS", "VLLM_LOGGING_LEVEL"):  # to be taken back with the rest
        monkeypatch.setenv(name, "1")
    return engine


def load(predictor: Predictor, options: AskOptions = FREE, **engine: object) -> VllmAsk:
    return load_vllm_ask(
        predictor.path,
        predictor.encoder,
        predictor.vocab,
        options,
        engine=engine,
        longest_prompt=90,
    )


def test_answers_and_scores_are_read_from_what_the_engine_says(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    ask = load(predictor)
    (answer,) = ask([question])
    assert (answer.text, answer.finish_reason) == (TEXT, "eos")
    assert len(recorded.asked) == 1
    assert recorded.asked[0]["multi_modal_data"] == {"image": question.picture}
    first = next(iter(answer.beliefs.values()))
    # 0.5 at bin 5 and 0.25 at bin 7; what is 400 ids below is no bin.
    assert first.mass == pytest.approx(0.75)
    assert first.mean_bin == pytest.approx((0.5 * 5 + 0.25 * 7) / 0.75)
    assert recorded.built["skip_special_tokens"] is False
    assert recorded.built["temperature"] == 0.0
    assert recorded.built["max_tokens"] == 9


def test_another_prompt_than_ours_is_found_out(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    recorded.placeholders += 1
    ask = load(predictor)
    with pytest.raises(CoordExpError, match="another prompt"):
        ask([question])


def test_an_answer_that_is_cut_off_says_so(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    whole = recorded.completion
    recorded.completion = Completion(whole.token_ids[:4], whole.logprobs[:4], "length")
    (answer,) = load(predictor)([question])
    assert answer.finish_reason == "length"
    assert len(answer.pieces) == 4


def test_whatever_ends_an_answer_is_no_part_of_it(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    """As `generate` has it: what `generation_config.json` lists ends an answer too."""
    whole = recorded.completion
    ends = predictor.model.generation_config.eos_token_id
    assert isinstance(ends, list)
    assert len(ends) > 1
    for end in ends:
        ids = [*whole.token_ids[:-1], end]
        rows = [*whole.logprobs[:-1], {end: Logprob(0.0)}]
        recorded.completion = Completion(ids, rows, "stop")
        (answer,) = load(predictor)([question])
        assert (answer.text, answer.finish_reason) == (TEXT, "eos")
        assert len(answer.pieces) == len(answer.probabilities) == len(ids) - 1
    assert recorded.built["stop_token_ids"] == sorted(ends)


def test_tokens_that_a_mask_has_left_nothing_are_no_part_of_a_belief(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    rows = [
        {**row, max(row) + 1: Logprob(-math.inf), max(row) + 2: Logprob(-math.inf)}
        for row in recorded.completion.logprobs
    ]
    recorded.completion = replace(recorded.completion, logprobs=rows)
    (answer,) = load(predictor)([question])
    first = next(iter(answer.beliefs.values()))
    assert first.mass == pytest.approx(0.75)
    assert math.isfinite(first.entropy)


def test_inside_the_grammar_the_engine_is_given_it(
    predictor: Predictor, recorded: Recorded
) -> None:
    assert load(predictor) is not None
    assert recorded.built["structured_outputs"] is None
    load(predictor, replace(FREE, constrain=True))
    free = str(recorded.built["structured_outputs"])
    load(predictor, replace(FREE, constrain=True, restrict_to=("cat",)))
    restricted = str(recorded.built["structured_outputs"])
    assert free.splitlines()[0] == restricted.splitlines()[0] == 'root ::= "{" ("}" | object1)'
    assert "text0" in free
    assert r'desc ::= "cat\""' in restricted.splitlines()
    with pytest.raises(InputError, match="restrict_to needs --constrain on"):
        load(predictor, replace(FREE, restrict_to=("cat",)))


def test_the_engine_is_told_what_follows_from_model_and_data(
    predictor: Predictor, recorded: Recorded
) -> None:
    load(predictor)
    assert recorded.built["max_model_len"] == 90 + 9
    assert recorded.built["max_logprobs"] == recorded.built["logprobs"] == 256
    assert (recorded.built["dtype"], recorded.built["enforce_eager"]) == ("float32", True)
    load(predictor, max_model_len=77, dtype="bfloat16")
    assert recorded.built["max_model_len"] == 77
    assert recorded.built["dtype"] == "bfloat16"


def test_elsewhere_than_on_a_cpu_weights_are_as_they_are_stored(
    predictor: Predictor, recorded: Recorded, tmp_path: Path
) -> None:
    recorded.current_platform = Platform(cpu=False)
    load(predictor)
    assert not {"dtype", "enforce_eager"} & set(recorded.built)
    whole = shutil.copytree(predictor.path, tmp_path / "whole")
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps({**config, "dtype": "float32"}))
    load(replace(predictor, path=whole))
    assert recorded.built["dtype"] == "float32"


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("max_modell_len", "no such option; did you mean max_model_len"),
        ("colour", "vLLM's EngineArgs has no such option$"),
        ("max_logprobs", "follows from the model"),
    ],
)
def test_an_option_that_cannot_be_given_is_refused(
    predictor: Predictor, option: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load(predictor, **{option: 1})


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (ValueError("no such dtype"), InputError, "refuses .* tested with 0.32.*: no such dtype"),
        (RuntimeError("no room"), CoordExpError, "does not start .*: no room.*--engine gpu_mem"),
    ],
)
def test_an_engine_that_does_not_start_says_why(
    predictor: Predictor,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[CoordExpError],
    told: str,
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(recorded, "LLM", fail)
    with pytest.raises(kind, match=told):
        load(predictor)


def test_a_file_is_predicted_through_vllm(
    predictor: Predictor, recorded: Recorded, scenes: Path, tmp_path: Path
) -> None:
    asking = AskOptions(constrain=False, restrict_to=None, max_new_tokens=9)
    options = PredictOptions(batch_size=4, asking=asking, rows=RowOptions(), backend="vllm")
    summary = run_predict(predictor.path, scenes, tmp_path / "p.jsonl", options)
    assert summary is not None
    assert (summary.lines, summary.objects) == (6, 6)
    kept = tmp_path / "kept.jsonl"
    filtered = replace(options, rows=RowOptions(classes=("dog", "zero")))
    some = run_predict(predictor.path, scenes, kept, filtered)
    assert some is not None
    assert (some.objects, some.not_asked) == (0, 6)
    assert all("image" in prompt["multi_modal_data"] for prompt in recorded.asked)
    # As long as the longest of these prompts and an answer, and no longer.
    longest = max(len(output) for output in recorded.read)
    assert recorded.built["max_model_len"] == longest + 9


def test_an_adapter_is_told_of_with_the_command_that_merges_it(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before vLLM is looked for: its engine would start for long and die of it."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    ours, bare = tmp_path / "our adapter", tmp_path / "bare"
    card = WeightsCard(base="b", tokenizer="", coord_ids=None, coord_rows=None, tie_head=None)
    ours.mkdir()
    write_card(ours, style={}, weights=card)
    bare.mkdir()
    (bare / "adapter_config.json").write_text("{}")
    options = PredictOptions(batch_size=1, asking=FREE, rows=RowOptions(), backend="vllm")
    for path in (ours, bare):
        merged = f"{path}-merged"
        command = shlex.join(["coordexp", "merge", str(path), merged])
        with pytest.raises(CheckpointError, match=re.escape(f"{command} and give {merged}")):
            run_predict(path, scenes, tmp_path / "p.jsonl", options)


def test_engine_options_without_vllm_are_refused(scenes: Path, tmp_path: Path) -> None:
    options = PredictOptions(
        batch_size=1, asking=FREE, rows=RowOptions(), engine={"max_model_len": 9}
    )
    with pytest.raises(InputError, match="give --backend vllm too"):
        run_predict(tmp_path, scenes, tmp_path / "p.jsonl", options)


def test_without_vllm_the_way_to_it_is_said(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"tested with vLLM 0\.32: .*pip install '\.\[vllm\]'"):
        load(predictor)


def test_the_version_in_messages_is_the_one_that_is_asked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["vllm"]
    assert extra == [f"vllm=={TESTED_VERSION}.*"]
