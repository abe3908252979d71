"""Every option reaches the run; what is no option is refused in words."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import coordexp.inference.run.command as inference_run
from coordexp.answers.prediction_lines import RowOptions
from coordexp.cli.app import app
from coordexp.inference.decode.repeat_stop import IN_A_ROW, RepeatStop
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import Summary


class FakeRun:
    """Stands where a model would be asked."""

    def __init__(self, summary: Summary | None) -> None:
        self.summary = summary
        self.asked: list[PredictOptions] = []

    def __call__(
        self, model: Path, data: Path, out: Path, options: PredictOptions
    ) -> Summary | None:
        """Remember the options."""
        assert (model, data, out) == (Path(), Path("d.jsonl"), Path("p.jsonl"))
        self.asked.append(options)
        return self.summary


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    run = FakeRun(Summary(lines=3, objects=7, repeated=2, not_asked=4, below=5, below_lines=2))
    monkeypatch.setattr(inference_run, "run_predict", run)
    return run


def predict(*arguments: object) -> Result:
    files = ["--model", ".", "--data", "d.jsonl", "--out", "p.jsonl"]
    return CliRunner().invoke(app, ["predict", *files, *map(str, arguments)])


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.json"
    found = {"format": "coordexp calibration 1", "method": "isotonic", "x": [0, 1], "y": [0.2, 0.6]}
    path.write_text(json.dumps(found))
    return path


def test_without_options_answers_are_kept_inside_the_grammar(fake: FakeRun) -> None:
    done = predict()
    assert (done.exit_code, done.stdout) == (0, "p.jsonl: 3 predictions\n")
    assert fake.asked == [
        PredictOptions(
            batch_size=8,
            asking=AskOptions(constrain=True, restrict_to=None, max_new_tokens=2048, ordered=True),
            rows=RowOptions(),
        )
    ]


def test_every_option_reaches_the_run(
    fake: FakeRun, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.txt").write_text("cat\n\n dog \n")
    Path("r.txt").write_text("rug")
    done = predict(
        *("--batch-size", 2, "--max-new-tokens", 9, "--constrain", "off", "--classes", "c.txt"),
        *("--restrict-to", "r.txt"),
        *("--corners", "any", "--coord-decode", "expectation", "--dedup", "iou=0.9"),
        *(
            "--min-score",
            0.3,
            "--calibration",
            calibration,
            "--coco",
            "c.json",
            "--backend",
            "vllm",
        ),
        *("--engine", "tensor_parallel_size=2", "--engine", "dtype=bfloat16"),
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:3] == [
        "classes c.txt: 18 objects, 4 of other classes left out",
        "dedup iou=0.9: 14 objects, 12 without repeats",
        "min-score 0.3: 12 objects, 5 below it left out, in 2 of 3 answers",
    ]
    (asked,) = fake.asked
    assert asked.batch_size == 2
    assert asked.asking == AskOptions(
        constrain=False, restrict_to=("rug",), max_new_tokens=9, ordered=False
    )
    assert asked.coco == Path("c.json")
    rows = asked.rows
    assert (rows.coord_decode, rows.dedup_iou, rows.classes) == ("expectation", 0.9, ("cat", "dog"))
    assert rows.min_score == 0.3
    assert asked.backend == "vllm"
    assert asked.engine == {"tensor_parallel_size": 2, "dtype": "bfloat16"}
    assert rows.score_map is not None
    assert rows.score_map.apply(0.5) == pytest.approx(0.4, abs=1e-5)
    assert rows.score_map.apply(0.25) < rows.score_map.apply(0.26)


def test_a_file_that_is_no_calibration_is_refused_before_a_model_is_loaded(
    fake: FakeRun, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    for content, words in (("{}", "not a calibration file"), (None, "cannot be read")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        done = predict("--calibration", path)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {path}: {words}")
    assert fake.asked == []


def test_vllm_is_given_many_pictures_at_once_unless_told_otherwise(fake: FakeRun) -> None:
    for arguments in ((), ("--backend", "vllm"), ("--backend", "vllm", "--batch-size", 3)):
        assert predict(*arguments).exit_code == 0
    assert [options.batch_size for options in fake.asked] == [8, 128, 3]


@pytest.mark.parametrize("pair", ["dtype", "=1", "max-model-len", ""])
def test_an_engine_option_that_is_no_pair_is_refused(fake: FakeRun, pair: str) -> None:
    done = predict("--backend", "vllm", "--engine", pair)
    assert done.exit_code == 2
    assert "expected key=value, as in --engine max_model_len=4096" in done.stderr
    twice = predict("--engine", "max_model_len=1", "--engine", "max-model-len=2")
    assert "given twice" in twice.stderr
    assert fake.asked == []


@pytest.mark.parametrize(
    "value",
    ["0.9", "iou=0", "iou=2", "iou=nan", "area=0.5", "iou=0.9,", "iou=0.9,go", "iou=0.9,stop,stop"],
)
def test_an_overlap_that_is_none_is_refused(fake: FakeRun, value: str) -> None:
    done = predict("--dedup", value)
    assert done.exit_code == 2
    assert "expected iou=0.9" in done.stderr
    assert fake.asked == []


def test_an_answer_may_end_where_it_repeats_itself(fake: FakeRun) -> None:
    fake.summary = Summary(lines=3, objects=7, repeated=2, stopped=2)
    done = predict("--dedup", "iou=0.95,stop")
    assert done.exit_code == 0
    told = "dedup iou=0.95: 9 objects, 7 without repeats; 2 answers ended at repeats\n"
    assert done.stdout.startswith(told)
    (asked,) = fake.asked
    assert asked.asking.stop == RepeatStop(0.95, IN_A_ROW)
    assert asked.rows.dedup_iou == 0.95


@pytest.mark.parametrize("value", ["-0.1", "1.01", "nan", "30%", ""])
def test_a_score_that_is_none_is_refused(fake: FakeRun, value: str) -> None:
    done = predict("--min-score", value)
    assert done.exit_code == 2
    assert "expected a score from 0 to 1" in done.stderr
    assert fake.asked == []


def test_pictures_that_could_not_be_read_end_with_1(fake: FakeRun) -> None:
    fake.summary = Summary(lines=1, unread=[f"d.jsonl:{line}: gone" for line in range(1, 13)])
    done = predict()
    assert done.exit_code == 1
    assert done.stderr.startswith("error: 12 pictures could not be read and have no line:\n")
    assert done.stderr.count("gone") == 10


def test_only_the_first_rank_speaks(fake: FakeRun) -> None:
    fake.summary = None
    done = predict()
    assert (done.exit_code, done.output) == (0, "")
