"""Where the results of a benchmark are kept: a file for each machine, named after its processor."""

import json
import platform
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def processor() -> str:
    """Return the processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    return found[1].strip() if found else platform.processor() or platform.machine()


def results_path(benchmark: str, machine: str | None = None) -> Path:
    """Return the file of a benchmark on a machine, this one unless named."""
    slug = re.sub(r"[^a-z0-9]+", "-", (machine or processor()).lower()).strip("-")
    return RESULTS / f"{benchmark}-{slug}.json"


def read_results(path: Path) -> dict[str, Any]:
    """Return what an earlier run has written, nothing where there was none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Write the file, whole."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
