"""The kernels on machines without a GPU: interpreted in another process, and compiled for one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.objective.fused_cases import random_case

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")
compiler = pytest.importorskip("triton.compiler")
backends = pytest.importorskip("triton.backends.compiler")
coord = pytest.importorskip("coordexp.objective.backends.triton.coord", exc_type=ImportError)
rows = pytest.importorskip("coordexp.objective.backends.triton.softmax_rows", exc_type=ImportError)

INTERPRETED = Path(__file__).with_name("test_kernels_interpreted.py")


@pytest.mark.slow
def test_they_equal_the_reference_in_tritons_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INTERPRETED)],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter is on")
def test_without_a_gpu_the_error_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="'triton' needs a CUDA device, got cpu"):
        random_case().run("triton")


def compiled(kernel: object, pointers: dict[str, str], constants: dict[str, object]) -> bytes:
    """Return the machine code of a kernel for an H100."""
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else pointers.get(n, "i32") for n in names}
    source = compiler.ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(n),): value for n, value in constants.items()},
    )
    target = backends.GPUTarget("cuda", 90, 32)
    return triton.compile(source, target=target, options={"enable_fp_fusion": True}).asm["cubin"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", "fp64"])
def test_they_compile_for_a_gpu_that_is_not_here(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    wide = "fp64" if dtype == "fp64" else "fp32"
    sum_type = tl.float64 if dtype == "fp64" else tl.float32
    wide_pointers = ["inner", "lse", "top", "target", "s", "leak", "ce", "soft_ce", "w1"]
    pointers = dict.fromkeys(wide_pointers, f"*{wide}")
    pointers |= {"z": f"*{dtype}", "targets": "*i64", "bins": "*i64"}
    sizes = {"factor": 1.0, "sum_type": sum_type, "columns_at_once": 8192}
    assert compiled(rows._softmax_rows, pointers, sizes | {"has_target": True, "gradient": True})
    assert compiled(rows._softmax_rows, pointers, sizes | {"has_target": False, "gradient": False})
    weights = {f"{name}_weight": 0.5 for name in ("ce", "soft_ce", "w1", "gate")}
    shape = {"sigma": 2.0, "radius": 16, "bin_size": 1.0, "width": 1024, "sum_type": sum_type}
    assert compiled(coord._coord_rows, pointers, weights | shape | {"to_one_hot": False})
