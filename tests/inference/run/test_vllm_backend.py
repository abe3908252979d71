import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.inference.read.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions, Question
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predictor import Predictor
from coordexp.inference.run.vllm_backend import load_vllm_ask
from coordexp.model.card import WeightsCard, write_card

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
class Recorded(ModuleType):
    """Stands for the package: an engine that plays back what vLLM said."""

    completion: Completion
    placeholders: int
    image_id: int
    asked: list[dict[str, object]] = field(default_factory=list)
    built: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__("vllm")

    def LLM(self, **options: object) -> "Recorded":  # noqa: N802 - theirs
        self.built |= options
        return self

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
    )
    monkeypatch.setitem(sys.modules, "vllm", engine)
    return engine


def test_answers_and_scores_are_read_from_what_the_engine_says(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    ask = load_vllm_ask(predictor.path, predictor.encoder, predictor.vocab, max_new_tokens=9)
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
    ask = load_vllm_ask(predictor.path, predictor.encoder, predictor.vocab, max_new_tokens=9)
    with pytest.raises(CoordExpError, match="another prompt"):
        ask([question])


def test_an_answer_that_is_cut_off_says_so(
    predictor: Predictor, recorded: Recorded, question: Question
) -> None:
    whole = recorded.completion
    recorded.completion = Completion(whole.token_ids[:4], whole.logprobs[:4], "length")
    ask = load_vllm_ask(predictor.path, predictor.encoder, predictor.vocab, max_new_tokens=4)
    (answer,) = ask([question])
    assert answer.finish_reason == "length"
    assert len(answer.pieces) == 4


@pytest.mark.usefixtures("recorded")
def test_a_file_is_predicted_through_vllm(
    predictor: Predictor, scenes: Path, tmp_path: Path
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
    restricted = replace(asking, restrict_to=("dog", "zero"))
    inside = replace(options, asking=replace(asking, constrain=True))
    with pytest.raises(InputError, match="leave out --restrict-to"):
        run_predict(predictor.path, scenes, kept, replace(options, asking=restricted))
    with pytest.raises(InputError, match="--constrain off"):
        run_predict(predictor.path, scenes, tmp_path / "q.jsonl", inside)


def test_an_adapter_has_to_be_merged_first(predictor: Predictor, tmp_path: Path) -> None:
    card = WeightsCard(base="b", tokenizer="", coord_ids=None, coord_rows=None, tie_head=None)
    write_card(tmp_path, style={}, weights=card)
    with pytest.raises(CheckpointError, match="coordexp merge"):
        load_vllm_ask(tmp_path, predictor.encoder, predictor.vocab, max_new_tokens=9)


def test_without_vllm_the_way_to_it_is_said(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"pip install '\.\[vllm\]'"):
        load_vllm_ask(predictor.path, predictor.encoder, predictor.vocab, max_new_tokens=9)
