"""A model by its name on a hub, through `huggingface_hub`, or by its folder.

What is a folder here is taken as one. Only OWNER/NAME that is none is looked for on the hub: first
in the cache that `hf download` fills, then, where that does not hold it whole, over the network. Of
a repository the files are fetched that a model is loaded from; pickled weights (`.bin`, `.pt`) run
whatever their author wrote, and are never read here.

What is in the cache is not compared with the hub again: a run that is repeated has the same
weights, whatever has been uploaded since. The commit is told, and kept in `coordexp.json`.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.families.config_file import CONFIG, load_object
from coordexp.model.card import HubOrigin
from coordexp.model.offline import is_forbidden_by_default

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDERS = "*/*"
_INDEX = "model.safetensors.index.json"
_BESIDE = (CONFIG, "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
_KINDS = (
    ("model.safetensors", *_BESIDE),
    (_INDEX, *_BESIDE),
    ("adapter_config.json", "adapter_model.safetensors"),
)
"""What a model needs, by what its first file says that it is."""


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """Which files of a repository are meant.

    Args:
        include: Patterns of their names, without folders.
        weights: Whether a model is to be loaded from them.
    """

    include: tuple[str, ...]
    weights: bool

    def holds(self, name: str) -> bool:
        """Return whether a file is one of them."""
        return "/" not in name and any(fnmatchcase(name, pattern) for pattern in self.include)


WHOLE_MODEL = WantedFiles(
    include=("*.safetensors", "*.json", "*.jinja", "*.txt", "README.md", "LICENSE*", "NOTICE*"),
    weights=True,
)
DESCRIPTION = WantedFiles(include=(CONFIG,), weights=False)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that was named.

    Args:
        path: Its folder.
        origin: Its name and commit, where it is a hub's.
    """

    path: Path
    origin: HubOrigin | None = None


def find_model(
    given: Path | str,
    *,
    revision: str | None = None,
    wanted: WantedFiles = WHOLE_MODEL,
    say: Callable[[str], None] = lambda _: None,
) -> FoundModel:
    """Return a model's folder; of a hub's model, that in the cache, filled where it has to be.

    Args:
        given: A path, or OWNER/NAME.
        revision: Commit, tag or branch on the hub; None for its main branch.
        wanted: What is needed of it.
        say: Takes what is fetched, and which commit is used.

    Raises:
        CheckpointError: If it is neither, the hub has no such model, revision or files, or may not
            be asked.
        InputError: If a revision is given with a path.
        CoordExpError: If the hub cannot be reached.
    """
    name, path = str(given), Path(given)
    if path.exists():
        if revision is not None:
            raise InputError(
                f"{given}: is a folder here; --revision goes with a name of a hub, OWNER/NAME"
            )
        return FoundModel(path)
    _check_name(name, revision)
    folder = _cached(name, revision, wanted) or _fetched(name, revision, wanted, say)
    say(f"{name}: commit {folder.name}, in {folder}")
    return FoundModel(folder, HubOrigin(name, folder.name))


def _check_name(name: str, revision: str | None) -> None:
    """Check that something that is not there may be a name of a hub."""
    if not _NAME.fullmatch(name):
        raise CheckpointError(
            f"{_no_folder(name)}, and it is no name of a hub either, which is written OWNER/NAME"
        )
    owner = name.split("/", maxsplit=1)[0]
    if revision is None and Path(owner).is_dir():
        raise CheckpointError(
            f"{_no_folder(name)}; as there is a folder {owner}, no hub is asked for it: where a "
            "model of a hub is meant, say so with --revision main"
        )


def _cached(name: str, revision: str | None, wanted: WantedFiles) -> Path | None:
    """Return the folder in the cache where all that is wanted is in it."""
    folder = _cache_folder(name, revision)
    return None if folder is None or _missing(folder, wanted) else folder


def _cache_folder(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import constants  # noqa: PLC0415 - a second, for whoever gives a name
    from huggingface_hub.file_download import repo_folder_name  # noqa: PLC0415

    home = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    ref = home / "refs" / (revision or constants.DEFAULT_REVISION)
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    if commit is None or not _COMMIT.fullmatch(commit):
        return None
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def _missing(folder: Path, wanted: WantedFiles) -> list[str]:
    """Return the names of the files that are not there; links into the cache may be broken."""
    if not wanted.weights:
        return [name for name in wanted.include if not (folder / name).is_file()]
    needed = [*next((kind for kind in _KINDS if (folder / kind[0]).is_file()), _KINDS[0])]
    if needed[0] == _INDEX:
        shards = load_object(folder / _INDEX).get("weight_map")
        needed += sorted(set(shards.values())) if isinstance(shards, dict) else []
    return [name for name in needed if not (folder / name).is_file()]


def _fetched(
    name: str, revision: str | None, wanted: WantedFiles, say: Callable[[str], None]
) -> Path:
    """Return the folder in the cache after filling it."""
    from huggingface_hub import constants  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    if constants.is_offline_mode() and not is_forbidden_by_default():
        why = "HF_HUB_OFFLINE is set, so that no hub is asked"
        raise CheckpointError(_unreachable(name, revision, wanted, why))
    try:
        with _online():
            folder = _download(name, revision, wanted, say)
    except HfHubHTTPError as error:
        raise _refused(name, revision, error) from None
    except Exception as error:  # noqa: BLE001 - of networks, disks and the library's own making
        why = f"{constants.ENDPOINT} gave no answer: {type(error).__name__}: {_first_line(error)}"
        raise CoordExpError(_unreachable(name, revision, wanted, why)) from None
    if missing := _missing(folder, wanted):
        raise CheckpointError(
            f"{name}: of what a model is loaded from, commit {folder.name} has no "
            f"{', '.join(missing)}"
        )
    return folder


def _download(
    name: str, revision: str | None, wanted: WantedFiles, say: Callable[[str], None]
) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download  # noqa: PLC0415
    from tqdm.auto import tqdm  # noqa: PLC0415

    class Bar(tqdm):  # type: ignore[misc] # of a library without types
        """One that a terminal shows, whatever the environment says of the library's own."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs.pop("name", None)  # the library's, which tqdm does not know
            super().__init__(*args, **{**kwargs, "disable": not sys.stderr.isatty()})

    files = HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
    size = sum(file.size or 0 for file in files if wanted.holds(file.rfilename))
    say(f"{name}: fetching {size / 1e9:.2f} GB from {constants.ENDPOINT}")
    folder = snapshot_download(
        name,
        revision=revision,
        allow_patterns=[*wanted.include],
        ignore_patterns=[_FOLDERS],
        tqdm_class=Bar,
    )
    return Path(folder)


@contextmanager
def _online() -> Iterator[None]:
    """Let the library reach a network inside, which our command line otherwise forbids it."""
    from huggingface_hub import constants  # noqa: PLC0415

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _unreachable(name: str, revision: str | None, wanted: WantedFiles, why: str) -> str:
    from huggingface_hub import constants  # noqa: PLC0415

    folder = _cache_folder(name, revision)
    if folder is None:
        lack = f"nothing of {name}" + (f" at {revision}" if revision else "")
    else:
        lack = f"no {', '.join(_missing(folder, wanted))} of {name}"
    command = download_command(name, revision, wanted)
    return (
        f"{_no_folder(name)}; {constants.HF_HUB_CACHE} has {lack}, and {why}. "
        f"Where there is a network, run\n    {command}\n"
        f"and this again; for another machine, add --local-dir {name.split('/')[1]} to it, and "
        "give that folder here"
    )


def download_command(name: str, revision: str | None, wanted: WantedFiles = WHOLE_MODEL) -> str:
    """Return what fetches the wanted files into the cache, for a shell.

    Example:
        >>> download_command("owner/name", "v1", DESCRIPTION)
        'hf download owner/name --revision v1 config.json'
    """
    words = ["hf", "download", name, *(["--revision", revision] if revision else [])]
    if not wanted.weights:
        return " ".join([*words, *wanted.include])
    included = (f'--include "{each}"' for each in wanted.include)
    return " ".join([*words, *included, f'--exclude "{_FOLDERS}"'])


def _refused(name: str, revision: str | None, error: Exception) -> CheckpointError:
    from huggingface_hub import constants, errors  # noqa: PLC0415

    if isinstance(error, errors.GatedRepoError):
        return CheckpointError(
            f"{name}: its owners let in who accepts their terms, at {constants.ENDPOINT}/{name}; "
            "then `hf auth login` here"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError(
            f"{name}: {constants.ENDPOINT} knows no revision {revision} of it; expected a commit, "
            "a tag or a branch"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return CheckpointError(
            f"{_no_folder(name)}, and {constants.ENDPOINT} shows no model of that name; a private "
            "one needs `hf auth login`"
        )
    return CheckpointError(f"{name}: {constants.ENDPOINT} refused: {_first_line(error)}")


def _no_folder(name: str) -> str:
    return f"{name}: there is no such folder in {Path.cwd()}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
