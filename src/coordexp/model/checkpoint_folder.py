"""What is refused of a checkpoint's folder before anything of it is opened."""

from pathlib import Path

from coordexp.errors import CheckpointError
from coordexp.families.config_file import load_config

_PARTS_OF_A_HUB_NAME = 2  # OWNER/NAME


def check_folder(path: Path, needed: str) -> None:
    """Check that a checkpoint's folder is there, with a file in it.

    Raises:
        CheckpointError: If it is not; the message says what the path is instead.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: {_no_folder(path)}")
    if not (path / needed).is_file():
        raise CheckpointError(f"{path}: {needed} is missing; expected a checkpoint directory")


def check_not_quantised(path: Path) -> None:
    """Check that the weights in a folder are exact.

    Raises:
        CheckpointError: If its `config.json` says that they are quantised.
    """
    config = load_config(path)
    if config.get("quantization_config") is not None:
        block = config["quantization_config"]
        method = block.get("quant_method") if isinstance(block, dict) else None
        raise CheckpointError(
            f"{path}: quantised weights ({method}) are not taken: offsets and merging need the "
            "exact ones. Use the original checkpoint; to train on it in four bits (QLoRA) set "
            "model.quantization: nf4"
        )


def _no_folder(path: Path) -> str:
    if path.is_file():
        return "is a file; expected the folder that it lies in"
    if path.parts[:1] and path.parts[0].startswith("~"):
        return "there is no such directory; ~ means nothing outside a shell, write it out"
    if not path.is_absolute() and len(path.parts) == _PARTS_OF_A_HUB_NAME:
        return (
            f"there is no such directory in {Path.cwd()}; a name of a hub is not looked up here: "
            "`coordexp vocab expand OWNER/NAME DST` fetches a base, `hf download OWNER/NAME "
            "--local-dir DIR` any model; give the folder"
        )
    return "there is no such directory"
