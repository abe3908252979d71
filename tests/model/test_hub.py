"""A model by its name on a hub: out of the cache, over a loopback network, or not at all."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.inference.run.stock_model import is_stock
from coordexp.model.card import HubOrigin, load_origin
from coordexp.model.hub import DESCRIPTION, WHOLE_MODEL, download_command, find_model
from coordexp.model.vocab_expansion import expand_vocabulary
from tests.model.loopback_hub import COMMIT, serve_repository

NAME = "Owner/Tiny-VL"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no network, and a folder to be in that holds nothing else."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("COORDEXP_OFFLINE_BY_DEFAULT", raising=False)
    return tmp_path / "cache"


def fill(cache: Path, model: Path, *, leave_out: tuple[str, ...] = ()) -> Path:
    """Lay a model into a cache as the library does, and return its folder there."""
    home = cache / "models--Owner--Tiny-VL"
    folder = home / "snapshots" / COMMIT
    for place in (folder, home / "blobs", home / "refs"):
        place.mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(sorted(model.iterdir())):
        if path.name not in leave_out:
            shutil.copyfile(path, home / "blobs" / f"blob{number}")
            (folder / path.name).symlink_to(Path("../../blobs") / f"blob{number}")
    return folder


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_what_the_cache_holds_is_used_without_a_network(
    cache: Path, tiny_base: Path, revision: str | None
) -> None:
    folder = fill(cache, tiny_base)
    said: list[str] = []
    found = find_model(NAME, revision=revision, say=said.append)
    assert (found.path, found.origin) == (folder, HubOrigin(NAME, COMMIT))
    assert said == [f"{NAME}: commit {COMMIT}, in {folder}"]


def test_a_folder_wins_over_a_name(cache: Path, tiny_base: Path) -> None:
    fill(cache, tiny_base)
    Path(NAME).mkdir(parents=True)
    assert find_model(NAME).origin is None
    with pytest.raises(InputError, match="is a folder here; --revision goes with a name of a hub"):
        find_model(NAME, revision="main")


def test_a_path_that_is_mistyped_asks_no_hub(cache: Path, tiny_base: Path) -> None:
    fill(cache, tiny_base)
    Path("Owner").mkdir()
    with pytest.raises(CheckpointError, match=r"there is a folder Owner.*--revision main"):
        find_model(NAME)
    assert find_model(NAME, revision="main").origin == HubOrigin(NAME, COMMIT)


@pytest.mark.parametrize("given", ["nothing", "./a/b", "/no/where", "a/b/c", "~/m", "a/", "ü/m"])
@pytest.mark.usefixtures("cache")
def test_what_is_neither_is_told_both_ways(given: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder in .*no name of a hub .*OWNER/NAME"):
        find_model(given)


@pytest.mark.parametrize(
    ("leave_out", "lack"),
    [
        (("model.safetensors",), "no model.safetensors of Owner/Tiny-VL"),
        (("tokenizer.json",), "no tokenizer.json of Owner/Tiny-VL"),
        (("config.json", "tokenizer_config.json"), "no config.json, tokenizer_config.json of"),
    ],
)
def test_a_cache_that_lacks_files_says_which_and_how_to_get_them(
    cache: Path, tiny_base: Path, leave_out: tuple[str, ...], lack: str
) -> None:
    fill(cache, tiny_base, leave_out=leave_out)
    with pytest.raises(CheckpointError) as told:
        find_model(NAME)
    words = str(told.value)
    assert lack in words
    assert "HF_HUB_OFFLINE is set" in words
    assert f"\n    {download_command(NAME, None)}\n" in words
    assert "--local-dir Tiny-VL" in words


def test_of_shards_every_one_is_needed(cache: Path, tiny_base: Path) -> None:
    folder = fill(cache, tiny_base, leave_out=("model.safetensors",))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1.safetensors").write_bytes(b"")
    with pytest.raises(CoordExpError, match=r"has no model-2\.safetensors of Owner/Tiny-VL"):
        find_model(NAME)


def test_to_plan_with_a_description_is_enough(cache: Path, tiny_base: Path) -> None:
    with pytest.raises(
        CoordExpError, match=r"nothing of Owner/Tiny-VL at v1,.*\n.* v1 config\.json"
    ):
        find_model(NAME, revision="v1", wanted=DESCRIPTION)
    fill(cache, tiny_base, leave_out=("model.safetensors", "tokenizer.json"))
    assert find_model(NAME, wanted=DESCRIPTION).origin == HubOrigin(NAME, COMMIT)


def test_pickles_and_folders_are_never_meant() -> None:
    names = (
        "a.bin",
        "pytorch_model.bin",
        "x.pt",
        "original/model.safetensors",
        "code.py",
        "x.gguf",
    )
    assert not any(WHOLE_MODEL.holds(name) for name in names)
    assert all(WHOLE_MODEL.holds(name) for name in ("merges.txt", "chat_template.jinja", "LICENSE"))


def test_an_expanded_base_says_what_it_began_as_and_how_it_is_asked_it_does_not(
    cache: Path, tiny_base: Path, tmp_path: Path
) -> None:
    fill(cache, tiny_base)
    found = find_model(NAME)
    dst = tmp_path / "expanded"
    expand_vocabulary(found.path, dst, alphabet=SPEC_ALPHABET, init="mean", origin=found.origin)
    assert load_origin(dst) == HubOrigin(NAME, COMMIT)
    assert is_stock(dst)
    assert load_origin(tiny_base) is None


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        (NAME, "v9", "knows no revision v9 of it"),
        ("Owner/Other", None, "no such folder in .*, and .* shows no model of that name"),
    ],
)
def test_a_hub_that_has_it_not_is_told_of(
    cache: Path,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    revision: str | None,
    expected: str,
) -> None:
    monkeypatch.setenv("COORDEXP_OFFLINE_BY_DEFAULT", "1")
    with serve_repository(NAME, tiny_base) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        with pytest.raises(CheckpointError, match=expected):
            find_model(name, revision=revision)
    assert hub.files == set()
    assert constants.HF_HUB_OFFLINE
    assert not cache.exists()


def test_a_hub_that_is_not_there_is_told_of(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COORDEXP_OFFLINE_BY_DEFAULT", "1")
    with serve_repository(NAME, cache.parent) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    with pytest.raises(CoordExpError, match="gave no answer: ConnectError") as told:
        find_model(NAME)
    assert 'hf download Owner/Tiny-VL --include "*.safetensors"' in str(told.value)
    assert told.value.exit_code == 1


def coordexp(cache: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, whose libraries read their environment."""
    left = {k: v for k, v in os.environ.items() if "OFFLINE" not in k and "PROXY" not in k.upper()}
    return subprocess.run(
        [sys.executable, "-m", "coordexp", *map(str, words)],
        env={**left, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_base_is_fetched_once_and_its_commit_kept(
    cache: Path, tiny_base: Path, tmp_path: Path
) -> None:
    repository = Path(shutil.copytree(tiny_base, tmp_path / "repository"))
    (repository / "pytorch_model.bin").write_bytes(b"a pickle")
    (repository / "original").mkdir()
    (repository / "original" / "params.json").write_text("{}")
    with serve_repository(NAME, repository) as hub:
        expand = ("vocab", "expand", NAME)
        done = coordexp(cache, *expand, tmp_path / "one", HF_ENDPOINT=hub.endpoint)
        assert done.returncode == 0, done.stderr
        assert f"{NAME}: fetching 0.0" in done.stderr
        assert f"{NAME}: commit {COMMIT}, in {cache}" in done.stderr
        assert hub.files == {path.name for path in tiny_base.iterdir()}
    assert load_origin(tmp_path / "one") == HubOrigin(NAME, COMMIT)
    # The hub is gone now: what it has given is there, as its library has laid it.
    assert find_model(NAME).origin == HubOrigin(NAME, COMMIT)
