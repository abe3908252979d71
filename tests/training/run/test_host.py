import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordexp.training.run import host
from coordexp.training.run.host import swift_fault


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules stand for installed packages."""
    monkeypatch.setattr(host, "version", lambda _: "4.6.1")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torchvision", "qwen_vl_utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text("")
    yield tmp_path
    for name in ("torchvision", "qwen_vl_utils"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("packages")
def test_packages_that_can_be_loaded_are_no_fault() -> None:
    assert not swift_fault()


def test_a_torchvision_for_another_torch_is_named(packages: Path) -> None:
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (packages / "torchvision.py").write_text(broken)
    found = swift_fault()
    assert "torchvision, which ms-swift needs, cannot be loaded" in found
    assert "torchvision::nms" in found
    assert "built for this torch" in found


def test_what_a_package_misses_itself_is_told(packages: Path) -> None:
    (packages / "qwen_vl_utils.py").write_text("import no_such_module_at_all")
    assert "qwen-vl-utils, which ms-swift needs, cannot be loaded" in swift_fault()


@pytest.mark.usefixtures("packages")
def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_IMPORTED", {"no_such_module_at_all": "torchvision"})
    assert "torchvision, which ms-swift needs, is not installed" in swift_fault()
