"""What earns a certificate, and what does not."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.errors import CoordExpError, InputError
from coordexp.export import bake, certify, merge, plain_reload
from coordexp.export.lora_layer import merge_lora_layer
from coordexp.export.merge import merge_checkpoint
from coordexp.export.plain_reload import PlainFacts
from coordexp.export.saved_adapter import SavedAdapter
from coordexp.model.shards import StoredTensor
from tests.export.cases import Cases, MakePath, ReadCertificate

FIRST = 389  # <|coord_0|> of the small bases
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
    assert certificate["quantization"] is None
    assert certificate["tied"] is False
    assert certificate["origin"]["method"] == "DoRA"
    weights = certificate["weights"]
    assert weights["tensors"] == weights["equal"] + weights["merged_layers"] + 2
    assert weights["other_rows_equal"]["lm_head.weight"] == 408
    assert weights["coord_rows_moved"]["lm_head.weight"] == 1000
    assert weights["coord_rows_exact"]["lm_head.weight"] == 1000
    assert 0 < weights["farthest_layer"] <= 1
    assert certificate["files_equal"] == 6
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
    assert certificate["weights"]["coord_rows_exact"] == {}


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_what_quantised_training_means_is_told_apart_where_it_cannot_be_measured_too(
    cases: Cases,
    on_base: MakePath,
    small_bases: MakePath,
    certificate_of: ReadCertificate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = cases(tied=True, tie_head=True, use_dora=False)
    trained = on_base(case.adapter, small_bases(tied=True), tmp_path / "adapter")
    card = json.loads((trained / "coordexp.json").read_text())
    card["weights"]["quantization"] = "nf4"
    (trained / "coordexp.json").write_text(json.dumps(card))
    monkeypatch.setattr(certify, "four_bit_fault", lambda: "bitsandbytes is not installed")
    done = CliRunner().invoke(app, ["merge", str(trained), str(tmp_path / "merged")])
    assert done.exit_code == 0, done.output
    assert "by how much cannot be measured without bitsandbytes" in done.output
    certificate = certificate_of(tmp_path / "merged")
    assert certificate["quantization"] == {"method": "nf4", "distance": None}
    told = "| moved by nf4 of the base in training, which this model has not | not measured |"
    assert told in (tmp_path / "merged" / "README.md").read_text()


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


Spoil = Callable[[pytest.MonkeyPatch], None]


def spoiling_tables(spoil: Callable[..., torch.Tensor]) -> Spoil:
    """Return what makes tables another way: `spoil` gets the right one and what it is made from."""
    shifted = bake._shifted

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bake, "_shifted", lambda *what: spoil(shifted(*what), *what))

    return patch


def noise_on_960_embedding_rows(
    table: torch.Tensor, source: StoredTensor, *_: object
) -> torch.Tensor:
    if "embed_tokens" in source.name:
        noise = torch.randn(960, table.shape[1], generator=torch.Generator().manual_seed(0))
        table[FIRST + 20 : FIRST + 980] += 10 * noise
    return table


def offset_rounded_first(
    table: torch.Tensor, source: StoredTensor, offset: StoredTensor, *_: object
) -> torch.Tensor:
    rows = source.load_rows(FIRST, FIRST + 1000).float() + offset.load().bfloat16().float()
    table[FIRST : FIRST + 1000] = rows
    return table


def one_row_too_far(
    table: torch.Tensor, source: StoredTensor, offset: StoredTensor, *_: object
) -> torch.Tensor:
    table = source.load()
    table[FIRST + 1 : FIRST + 1001] += offset.load().to(table.dtype)
    return table


def other_layer(name: str, result: Callable[..., torch.Tensor]) -> Spoil:
    merged = bake._merged

    def one(layer: str, *rest: object) -> torch.Tensor:
        return (result if layer.endswith(name) else merged)(layer, *rest)

    return lambda monkeypatch: monkeypatch.setattr(bake, "_merged", one)


def twice_the_alpha(
    name: str, weight: StoredTensor, leaves: dict[str, StoredTensor], config: LoraConfig
) -> torch.Tensor:
    other = copy.copy(config)
    other.lora_alpha *= 2
    return merge_lora_layer(name, weight.load(), leaves, other)


def forgetting_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan without a layer that the adapter has: nothing of the plan may be believed."""
    load = merge.load_saved_adapter

    def without_last(checkpoint: Path) -> SavedAdapter:
        adapter = load(checkpoint)
        adapter.layers.popitem()
        return adapter

    monkeypatch.setattr(merge, "load_saved_adapter", without_last)


MISTAKES = {
    "noise": (
        spoiling_tables(noise_on_960_embedding_rows),
        "base + offset, rounded once; 960 such",
    ),
    "no offsets": (spoiling_tables(lambda _, source, *__: source.load()), "1000 such rows"),
    "rounded twice": (spoiling_tables(offset_rounded_first), "is not base + offset, rounded once"),
    "next row": (spoiling_tables(one_row_too_far), f"row {FIRST + 1000} (padding) differs"),
    "layer left out": (
        other_layer("0.mlp.up_proj", lambda _, weight, *__: weight.load()),
        "layers.0.mlp.up_proj.weight: is not the base with LoRA merged",
    ),
    "another scale": (
        other_layer("blocks.0.attn.qkv", twice_the_alpha),
        "blocks.0.attn.qkv.weight: is not the base with LoRA merged",
    ),
    "layer not planned": (forgetting_a_layer, "weight: is not the base with LoRA merged"),
}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(
    ("tied", "tie_head", "dtype"),
    [
        (True, True, "float32"),
        (True, False, "bfloat16"),
        (False, True, "float32"),
        (False, False, "bfloat16"),
    ],
)
def test_a_mistake_in_baking_is_refused(
    tied: bool,
    tie_head: bool,
    dtype: str,
    mistake: str,
    cases: Cases,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil, problem = MISTAKES[mistake]
    case = cases(tied=tied, tie_head=tie_head, use_dora=False)
    base = small_bases(tied=tied, dtype=dtype)
    adapter = on_base(case.adapter, base, tmp_path_factory.mktemp("adapter") / "a")
    spoil(monkeypatch)
    message = fails(adapter, tmp_path / "merged")
    assert "not certified, and nothing was written" in message
    assert problem in message


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_logits_are_noticed(
    dtype: str,
    adapter: Path,
    small_bases: MakePath,
    on_base: MakePath,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The right numbers in a model that makes something else of them."""

    def another(path: Path, questions: dict[str, torch.Tensor]) -> object:
        answers, facts = plain_reload.answer_plainly(path, questions)
        answers["0.logits"][2, 5] += answers["0.logits"].std() / 50
        return answers, facts

    monkeypatch.setattr(certify, "answer_in_isolation", another)
    base = small_bases(tied=True, dtype=dtype)
    here = on_base(adapter, base, tmp_path_factory.mktemp("adapter") / "a")
    assert "its logits differ" in fails(here, tmp_path / "merged")


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
    assert "config.json: text_config.tie_word_embeddings is true; expected false" in message
    assert "config.json: tie_word_embeddings is true; expected false" in message


def test_a_wrong_tie_of_the_loaded_model_is_noticed() -> None:
    facts = PlainFacts("A", tied=True, flags=(True, False), foreign=("x",), strays=("y.weight",))
    assert certify._structural_problems(facts, tied=False) == [
        "loaded, its tables are tied, not untied",
        "its tie_word_embeddings are (True, False), not False at each level",
        "it needs modules of x",
        "tensors are missing or strange to it, y.weight first",
    ]


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
