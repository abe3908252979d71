"""A stand-in for the `coordexp` command, for tests of what is run and what becomes of it."""

import stat
import sys
from pathlib import Path

import pytest

FAKE = """#!{python}
import json, os, pathlib, sys, time
calls = pathlib.Path({calls!r})
with calls.open("a") as file:
    file.write(" ".join(sys.argv[3:]) + "\\n")
words = sys.argv[3:]
if words[0] == "train":
    if (calls.parent / "hang").exists():
        (calls.parent / "hanging").write_text(str(os.getpid()))
        time.sleep(100)
    config = pathlib.Path(words[words.index("--config") + 1]).read_text()
    (out,) = [line.split(": ")[1] for line in config.splitlines() if "output_dir" in line]
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "train_log.jsonl", "coordexp.json"):
        (pathlib.Path(out) / name).write_text("{{}}")
    if "train_type: full" not in config:
        (pathlib.Path(out) / "adapter_config.json").write_text("{{}}")
if words[0] == "merge":
    pathlib.Path(words[2]).mkdir(exist_ok=True)
if words[:2] == ["vocab", "graft"]:
    card = json.loads((pathlib.Path(words[2]) / "coordexp.json").read_text())
    with calls.open("a") as file:
        file.write("question " + card["style"]["user_prompt"] + "\\n")
    pathlib.Path(words[4]).mkdir()
if words[:2] == ["vocab", "fit"]:
    folder = pathlib.Path(words[4])
    folder.mkdir()
    (folder / "model.safetensors").write_text("{{}}")
if (calls.parent / "fail").exists() and words[0] == "train":
    print("it went wrong")
    sys.exit(1)
if words[0] == "predict":
    data, out = (pathlib.Path(words[words.index(name) + 1]) for name in ("--data", "--out"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as file:
        for line in data.read_text().splitlines():
            record = json.loads(line)
            gt = record["objects"]
            row = dict(root=os.path.relpath(data.parent, out.parent), image=record["images"][0])
            row |= dict(width=record["width"], height=record["height"], gt=gt)
            row |= dict(raw_text="", finish_reason="eos")
            row["pred"] = [item | dict(score=0.9, score_parts=dict()) for item in gt]
            row["parse"] = dict(status="ok", dropped=[])
            file.write(json.dumps(row) + "\\n")
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in in the interpreter's place; return the file of what it was told."""
    log = tmp_path / "calls.txt"
    fake = tmp_path / "python"
    fake.write_text(FAKE.format(python=sys.executable, calls=str(log)), "utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr("coordexp.lab.stages.sys.executable", str(fake))
    monkeypatch.setattr("coordexp.lab.compare.RESAMPLES", 20)
    return log
