"""What earns a certificate, and what does not."""

import hashlib
from pathlib import Path

import pytest
import torch

from coordexp.errors import CoordExpError, InputError
from coordexp.export import bake, certify, plain_reload
from coordexp.export.certificate import Rounding
from coordexp.export.logit_distance import Distance, LogitDistance, logit_distance
from coordexp.export.merge import merge_checkpoint
from coordexp.model.shards import StoredTensor
from tests.export.cases import Cases, MakePath, ReadCertificate

CONFIG = """\
model: {{path: {base}}}
data: {{train: {train}}}
training: {{output_dir: {out}, effective_batch_size: 1}}
"""


@pytest.mark.slow
def test_float32_is_certified_by_a_process_without_coordexp(
    cases: Cases, scenes: Path, certificate_of: ReadCertificate, tmp_path: Path
) -> None:
    case = cases(tied=True, tie_head=False, use_dora=True)
    report = merge_checkpoint(case.adapter, tmp_path / "merged", records=scenes)
    certificate = certificate_of(tmp_path / "merged")
    assert certificate["reloaded_as"] == "Qwen3VLForConditionalGeneration"
    assert certificate["checked_on"]["kind"] == "records"
    assert certificate["checked_on"]["lines"] == [1, 2, 4, 5]
    assert certificate["logits"]["reference"] == "the adapter"
    assert certificate["logits"]["distance"]["every"]["largest"] < 1e-4
    assert certificate["generation"]["required"]
    assert certificate["generation"]["equal"] == certificate["generation"]["tokens"] > 0
    assert certificate["rounding"] is None
    assert certificate["tied"] is False
    assert certificate["origin"]["method"] == "DoRA"
    weights = certificate["weights"]
    assert weights["tensors"] == weights["equal"] + weights["merged_layers"] + 2
    assert weights["other_rows_equal"]["lm_head.weight"] == 408
    assert weights["coord_rows_moved"]["lm_head.weight"] == 1000
    assert report.certificate is not None
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "merged").iterdir()
        if path.name != "coordexp_certificate.json"
    }
    assert certificate["files"] == files


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("tied", "tie_head"), [(True, True), (False, False)])
def test_bfloat16_says_what_rounding_moved(
    cases: Cases,
    small_bases: MakePath,
    on_base: MakePath,
    scenes: Path,
    certificate_of: ReadCertificate,
    tmp_path: Path,
    tied: bool,
    tie_head: bool,
) -> None:
    case = cases(tied=tied, tie_head=tie_head, use_dora=False)
    base = small_bases(tied=tied, dtype="bfloat16", sharded=True)
    adapter = on_base(case.adapter, base, tmp_path / "adapter")
    merge_checkpoint(adapter, tmp_path / "merged", records=scenes)
    certificate = certificate_of(tmp_path / "merged")
    assert certificate["dtype"] == "bfloat16"
    assert certificate["logits"]["distance"]["every"]["largest"] < 1e-3
    rounding = certificate["rounding"]
    for ids in ("coord", "other"):
        assert 1e-5 < rounding["distance"][ids]["rms"] < 0.05
        assert 1e-5 < rounding["without_offsets"][ids]["rms"] < 0.05
    assert certificate["generation"]["required"] is False


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_lora_alone_is_certified_too(
    small_bases: MakePath, write_adapter: MakePath, certificate_of: ReadCertificate, tmp_path: Path
) -> None:
    base = small_bases(tied=True, dtype="bfloat16")
    adapter = write_adapter(base, tmp_path / "adapter", tie_head=None)
    merge_checkpoint(adapter, tmp_path / "merged")
    certificate = certificate_of(tmp_path / "merged")
    assert certificate["rounding"]["without_offsets"] is None
    assert certificate["weights"]["coord_rows_moved"] == {}


@pytest.fixture
def adapter(cases: Cases) -> Path:
    return cases(tied=True, tie_head=True, use_dora=False).adapter


@pytest.mark.usefixtures("in_this_process")
def test_the_runs_own_records_are_used(
    adapter: Path,
    on_base: MakePath,
    small_bases: MakePath,
    scenes: Path,
    certificate_of: ReadCertificate,
    tmp_path: Path,
) -> None:
    here = on_base(adapter, small_bases(tied=True), tmp_path / "run")
    text = CONFIG.format(base=small_bases(tied=True), train=scenes, out=tmp_path / "out")
    (here / "config.yaml").write_text(text)
    merge_checkpoint(here, tmp_path / "merged")
    assert certificate_of(tmp_path / "merged")["checked_on"]["source"] == "train.jsonl"
    assert "records: train.jsonl" in (tmp_path / "merged" / "README.md").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_random_ids_are_said_to_be_such_without_naming_folders(
    adapter: Path, certificate_of: ReadCertificate, tmp_path: Path
) -> None:
    merge_checkpoint(adapter, tmp_path / "merged")
    asked = certificate_of(tmp_path / "merged")["checked_on"]
    assert asked["kind"] == "random token ids"
    assert asked["source"].startswith("config.yaml: cannot be read")
    text = (tmp_path / "merged" / "coordexp_certificate.json").read_text()
    assert str(tmp_path.parent) not in text


def test_records_that_were_named_must_be_there(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        merge_checkpoint(adapter, tmp_path / "merged", records=tmp_path / "nowhere.jsonl")
    assert list(tmp_path.iterdir()) == []


def fails(adapter: Path, dst: Path) -> str:
    """Return what a merge says that must not be certified; nothing may be left of it."""
    with pytest.raises(CoordExpError) as raised:
        merge_checkpoint(adapter, dst)
    assert raised.value.exit_code == 1
    assert list(dst.parent.iterdir()) == []
    return str(raised.value)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_forgotten_offsets_are_noticed(
    dtype: str,
    adapter: Path,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bake, "_shifted", lambda source, *_: source.load())
    base = small_bases(tied=True, dtype=dtype)
    here = on_base(adapter, base, tmp_path_factory.mktemp("adapter") / "a")
    message = fails(here, tmp_path / "merged")
    assert "not certified, and nothing was written" in message
    assert "its logits differ" in message


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_forgotten_layer_is_noticed(
    dtype: str,
    adapter: Path,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merged = bake._merged

    def forget(name: str, weight: StoredTensor, *rest: object) -> torch.Tensor:
        return weight.load() if name.endswith("0.mlp.up_proj") else merged(name, weight, *rest)

    monkeypatch.setattr(bake, "_merged", forget)
    base = small_bases(tied=True, dtype=dtype)
    here = on_base(adapter, base, tmp_path_factory.mktemp("adapter") / "a")
    assert "its logits differ" in fails(here, tmp_path / "merged")


@pytest.mark.usefixtures("in_this_process")
def test_a_touched_row_is_noticed(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shifted = bake._shifted

    def touch(*arguments: object) -> torch.Tensor:
        table = shifted(*arguments)
        table[3, 0] += 1e-6
        return table

    monkeypatch.setattr(bake, "_shifted", touch)
    message = fails(adapter, tmp_path / "merged")
    assert "embed_tokens.weight: differs from the base where it must not" in message


@pytest.mark.usefixtures("in_this_process")
def test_a_wrong_tie_is_noticed(
    cases: Cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases(tied=True, tie_head=False, use_dora=False)
    as_it_was = (case.base / "config.json").read_text()
    monkeypatch.setattr(
        "coordexp.export.merge.write_text",
        lambda path, _text: path.write_text(as_it_was),
    )
    message = fails(case.adapter, tmp_path / "merged")
    assert "tie_word_embeddings are (True, True), not False at each level" in message


@pytest.mark.usefixtures("in_this_process")
def test_other_words_are_noticed(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(path: Path, questions: dict[str, torch.Tensor]) -> object:
        answers, facts = plain_reload.answer_plainly(path, questions)
        answers["0.tokens"][2] += 1
        return answers, facts

    monkeypatch.setattr(certify, "answer_in_isolation", another)
    message = fails(adapter, tmp_path / "merged")
    assert "come before the first that differs from the adapter's" in message


def test_a_model_that_cannot_be_loaded_is_not_certified(
    adapter: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = tmp_path_factory.mktemp("script") / "fails.py"
    script.write_text("raise ValueError('no such model')")
    monkeypatch.setattr(plain_reload, "__file__", str(script))
    message = fails(adapter, tmp_path / "merged")
    assert "cannot be used without CoordExp: ValueError: no such model" in message


def test_a_nan_is_never_within_a_limit() -> None:
    ours = torch.zeros(2, 5)
    ours[1, 4] = torch.nan
    distance = logit_distance(ours, torch.arange(10.0).reshape(2, 5), (1, 2))
    assert not distance.every.largest <= 1e-3


def rounding(moved: float, anyway: float) -> Rounding:
    # bfloat16: half a step is 2^-8 = 0.0039, so 0.01 without offsets allows 0.0239 with them
    small = Distance(largest=0.0, rms=0.0)
    with_offsets, without = Distance(largest=1.0, rms=moved), Distance(largest=1.0, rms=anyway)
    return Rounding(
        dtype="bfloat16",
        distance=LogitDistance(coord=with_offsets, other=small, every=small),
        without_offsets=LogitDistance(coord=without, other=small, every=small),
        limit="the rule",
    )


def test_rounding_that_moves_coord_logits_too_far_is_a_problem() -> None:
    assert certify._rounding_problems(rounding(0.0238, 0.01)) == []
    (problem,) = certify._rounding_problems(rounding(0.0240, 0.01))
    assert problem.startswith("rounding to bfloat16 moves the logits of coord ids by 0.024")
    assert certify._rounding_problems(rounding(float("nan"), 0.01)) != []
