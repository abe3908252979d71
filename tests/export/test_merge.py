import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.export.bake import BakePlan, plan_bake
from coordexp.export.merge import merge_checkpoint
from coordexp.model.card import (
    load_card_section,
    load_trained_classes,
    load_weights_card,
    write_card,
)
from coordexp.model.shard_writing import NewTensor
from coordexp.model.shards import load_weights
from tests.export.cases import Cases, MakePath


@pytest.fixture
def adapter(cases: Cases) -> Path:
    return cases(tied=True, tie_head=True, use_dora=False).adapter


def test_everything_a_user_of_the_model_needs_is_there(adapter: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    merge_checkpoint(adapter, merged, certify=False)
    names = {path.name for path in merged.iterdir()}
    assert names == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "coordexp.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
    }
    assert "<|coord_999|>" in AutoTokenizer.from_pretrained(merged).get_vocab()
    assert AutoImageProcessor.from_pretrained(merged, backend="pil").merge_size == 2
    assert load_weights_card(merged).base is None
    assert load_card_section(merged, "style") == load_card_section(adapter, "style")
    assert load_trained_classes(merged) == ("yak", "ant")


def test_other_weights_and_papers_of_the_base_are_not_taken_over(
    adapter: Path, on_base: MakePath, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(load_weights_card(adapter).base or "", base)
    for name in ("pytorch_model.bin", "consolidated.safetensors", "coordexp_certificate.json"):
        (base / name).write_text("{}")
    (base / "LICENSE").write_text("as it is")
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# The base")
    here = on_base(adapter, base, tmp_path / "adapter")
    merged = tmp_path / "merged"
    merge_checkpoint(here, merged, certify=False)
    names = {path.name for path in merged.iterdir()}
    assert not names & {"pytorch_model.bin", "consolidated.safetensors"}
    assert "coordexp_certificate.json" not in names
    assert (merged / "LICENSE").read_text() == "as it is"
    assert (merged / "README.base.md").read_text().endswith("# The base")
    assert "license: apache-2.0" in (merged / "README.md").read_text()


@pytest.mark.parametrize("told", [True, False], ids=["every level", "the top alone"])
@pytest.mark.usefixtures("in_this_process")
def test_an_untied_base_may_lay_its_configuration_out_as_it_likes(
    told: bool, cases: Cases, on_base: MakePath, tmp_path: Path
) -> None:
    adapter = cases(tied=False, tie_head=False, use_dora=False).adapter
    base = tmp_path / "base"
    shutil.copytree(load_weights_card(adapter).base or "", base)
    config = json.loads((base / "config.json").read_text())
    if not told:
        del config["text_config"]["tie_word_embeddings"]
    (base / "config.json").write_text(json.dumps(config))  # one line, where we would write many
    here = on_base(adapter, base, tmp_path / "adapter")
    merge_checkpoint(here, tmp_path / "merged")
    written = (tmp_path / "merged" / "config.json").read_bytes()
    assert (written == (base / "config.json").read_bytes()) is told
    assert json.loads(written)["text_config"]["tie_word_embeddings"] is False


def test_lora_alone_merges_too(
    small_bases: MakePath, write_adapter: MakePath, tmp_path: Path
) -> None:
    base = small_bases(tied=True)
    adapter = write_adapter(base, tmp_path / "adapter", tie_head=None)
    merge_checkpoint(adapter, tmp_path / "merged", certify=False)
    name = "model.language_model.embed_tokens.weight"
    before, after = (load_weights(path).by_name[name] for path in (base, tmp_path / "merged"))
    assert torch.equal(before.load(), after.load())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_merge_leaves_what_was_there(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    there: bool,
) -> None:
    def fail() -> torch.Tensor:
        raise error

    def cut_short(*arguments: object) -> BakePlan:
        plan = plan_bake(*arguments)
        plan.shards[-1].append(NewTensor("last", torch.uint8, (1,), fail))
        return plan

    monkeypatch.setattr("coordexp.export.merge.plan_bake", cut_short)
    if there:
        (tmp_path / "merged").mkdir()
        (tmp_path / "merged" / "mine").touch()
    with pytest.raises((KeyboardInterrupt, CoordExpError)) as raised:
        merge_checkpoint(adapter, tmp_path / "merged", overwrite=True, certify=False)
    assert isinstance(raised.value, KeyboardInterrupt) or "No space left" in str(raised.value)
    left = [path.name for path in tmp_path.rglob("*")]
    assert left == (["merged", "mine"] if there else [])


@pytest.fixture
def sigterm_afterwards() -> Iterator[None]:
    """The command changes what SIGTERM does; here the process goes on."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_afterwards")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_told_to_end_leaves_nothing(
    kind: signal.Signals, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(directory: Path, *_: object, **__: object) -> None:
        assert (directory / "model.safetensors").exists()
        signal.raise_signal(kind)

    monkeypatch.setattr("coordexp.export.merge.write_model_card", stop)
    done = CliRunner().invoke(app, ["merge", str(adapter), str(tmp_path / "m"), "--no-certify"])
    assert (done.exit_code, done.output) == (130, "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_refused_unless_told_otherwise(
    adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").touch()
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        merge_checkpoint(adapter, tmp_path / "merged", certify=False)
    merge_checkpoint(adapter, tmp_path / "merged", overwrite=True, certify=False)
    assert not (tmp_path / "merged" / "mine").exists()
    assert (tmp_path / "merged" / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_merging_never_removes_what_it_reads(adapter: Path) -> None:
    base = Path(load_weights_card(adapter).base or "")
    for place in (adapter, base, base.parent):
        with pytest.raises(InputError, match="writing here would remove"):
            merge_checkpoint(adapter, place, overwrite=True)
    assert (adapter / "adapter_model.safetensors").exists()


def test_a_whole_model_has_nothing_to_merge(adapter: Path, tmp_path: Path) -> None:
    merge_checkpoint(adapter, tmp_path / "merged", certify=False)
    with pytest.raises(CheckpointError, match="a whole model already"):
        merge_checkpoint(tmp_path / "merged", tmp_path / "again")


def test_a_plain_model_has_nothing_to_merge(small_bases: MakePath, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a whole model already"):
        merge_checkpoint(small_bases(tied=True), tmp_path / "again")


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no coordexp\.json; expected an adapter"):
        merge_checkpoint(tmp_path, tmp_path / "again")


def test_a_base_that_is_gone_is_named(adapter: Path, on_base: MakePath, tmp_path: Path) -> None:
    here = on_base(adapter, tmp_path / "gone", tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"its base .*gone is not there.*weights\.base"):
        merge_checkpoint(here, tmp_path / "merged")


def test_another_base_is_refused(
    adapter: Path, small_bases: MakePath, on_base: MakePath, tmp_path: Path
) -> None:
    other = on_base(adapter, small_bases(tied=False), tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="its coord rows are not the ones"):
        merge_checkpoint(other, tmp_path / "merged")
    card = replace(load_weights_card(adapter), tokenizer="another")
    write_card(other, style={}, weights=card)
    with pytest.raises(CheckpointError, match="another tokenizer"):
        merge_checkpoint(other, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.usefixtures("sigterm_afterwards")
def test_the_command_says_when_nothing_was_certified(adapter: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["merge", str(adapter), str(tmp_path / "m"), "--no-certify"])
    assert done.exit_code == 0
    assert "float32, tied\nNOT CERTIFIED" in done.output
    assert "**Not certified**" in (tmp_path / "m" / "README.md").read_text()
    assert not (tmp_path / "m" / "coordexp_certificate.json").exists()


@pytest.mark.usefixtures("sigterm_afterwards")
def test_records_need_a_certificate(adapter: Path, tmp_path: Path) -> None:
    command = ["merge", str(adapter), str(tmp_path / "m"), "--no-certify", "--records", "r.jsonl"]
    assert CliRunner().invoke(app, command).exit_code == 2
    assert not (tmp_path / "m").exists()


def test_the_wrapper_is_the_command() -> None:
    wrapper = Path(__file__).parents[2] / "scripts" / "merge_coord.sh"
    done = subprocess.run(["sh", wrapper, "--help"], capture_output=True, text=True, check=True)
    assert "merge" in done.stdout
    assert "--no-certify" in done.stdout
