"""Whether ms-swift is there, in the version that is supported, with what it imports."""

import importlib
from importlib.metadata import PackageNotFoundError, version

from coordexp.errors import install_advice
from coordexp.families.known import FAMILIES

SUPPORTED = "4.6"
# What ms-swift loads for a family, which imports torchvision at once. Neither is asked for by
# ms-swift itself, and a torchvision that was built for another torch cannot be loaded.
_IMPORTED = {"torchvision": "torchvision"} | {
    package.replace("-", "_"): package
    for family in FAMILIES.values()
    for package in family.swift_packages
}


def swift_fault() -> str:
    """Return what is wrong with the packages of `host: ms_swift`, "" where nothing is."""
    return version_fault() or import_fault()


def version_fault() -> str:
    """Return whether ms-swift is missing or of another version, "" if it is neither."""
    try:
        found = version("ms-swift")
    except PackageNotFoundError:
        return f"ms-swift is not installed; {install_advice('swift')}"
    if found.split(".")[:2] != SUPPORTED.split("."):
        return f"ms-swift {found} is not supported, {SUPPORTED} is; {install_advice('swift')}"
    return ""


def import_fault() -> str:
    """Return which package beside ms-swift is missing or cannot be loaded, "" if none."""
    for name, package in _IMPORTED.items():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                return f"{package}, which ms-swift needs, is not installed; {_advice(package)}"
            return _cannot_be_loaded(package, error)
        except Exception as error:  # noqa: BLE001 - whatever a library for another torch raises
            return _cannot_be_loaded(package, error)
    return ""


def _cannot_be_loaded(package: str, error: Exception) -> str:
    told = f"{type(error).__name__}: {error}"
    return f"{package}, which ms-swift needs, cannot be loaded ({told}); {_advice(package)}"


def _advice(package: str) -> str:
    if package == "torchvision":
        return "install the torchvision that was built for this torch, see pytorch.org"
    return install_advice("swift")
