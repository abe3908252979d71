import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_two_processes_write_the_file_of_one(
    model_path: Path, scenes: Path, tmp_path: Path
) -> None:
    outs = []
    for ranks in (1, 2):
        out = tmp_path / f"{ranks}.jsonl"
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        command = [*(launcher if ranks > 1 else []), "-m", "coordexp", "predict"]
        flags = {"--model": model_path, "--data": scenes, "--out": out}
        options = [str(part) for flag in flags.items() for part in flag]
        limits = ["--batch-size", "2", "--max-new-tokens", "10"]
        done = subprocess.run(
            [sys.executable, *command, *options, *limits],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out}: 6 predictions\n"
        assert "Warning" not in done.stderr
        outs.append(out.read_bytes())
    assert outs[0] == outs[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.jsonl", "2.jsonl"]
