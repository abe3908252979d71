#!/bin/sh
# The fast tests on every supported Python, with the oldest and the newest transformers, peft and torch
# that pyproject.toml admits: six environments in .venv-versions, one after the other, each removed when
# its tests pass. Slow, and not part of CI.
#   PYTHONS                      which Pythons ("3.11 3.12 3.13")
#   LIBRARIES                    which libraries ("oldest newest")
#   TORCH_OLDEST, TORCH_NEWEST   versions of torch: the lower bound, and constraints.txt's pin, not the
#                                newest, since that may come with gigabytes of CUDA
# Where pip's index has CPU builds of torch under another address, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS
# says so. A Python that is not there is said, and fails the check.
set -u

cd "$(dirname "$0")/.." || exit 1
pythons=${PYTHONS:-3.11 3.12 3.13}
libraries=${LIBRARIES:-oldest newest}
failed=""

# Print the interpreter of a version: on the path, or one of pyenv's that is not chosen.
interpreter() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c "import sys; sys.exit(sys.version_info[:2] != tuple(map(int, '$1'.split('.'))))" \
            >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Print the lower bound of a package in pyproject.toml, as the constraint that holds pip to it.
lower_bound() {
    sed -n "s/^    \"$1>=\([0-9.]*\).*/$1~=\1.0/p" pyproject.toml
}

# Print what binds pip: the lower bounds of pyproject.toml, or a version of torch alone.
bounds() {
    if [ "$1" = newest ]; then
        echo "torch==${TORCH_NEWEST:-$(sed -n 's/^torch==//p' constraints.txt)}"
        return
    fi
    if [ -n "${TORCH_OLDEST:-}" ]; then
        echo "torch==$TORCH_OLDEST"
    else
        lower_bound torch
    fi
    for name in transformers peft accelerate; do
        lower_bound "$name"
    done
}

check() {
    python=$(interpreter "$1") || {
        echo "Python $1 is not there" >&2
        return 1
    }
    folder=.venv-versions/$1-$2
    rm -rf "$folder"
    "$python" -m venv "$folder" || return 1
    bounds "$2" >"$folder/constraints.txt"
    pip="$folder/bin/pip --disable-pip-version-check install --quiet --constraint $folder/constraints.txt"
    $pip torch && DS_BUILD_OPS=0 $pip --editable '.[dev]' || return 1
    "$folder/bin/python" -c "
from importlib.metadata import version
print('Python $1, $2:', *(f'{name} {version(name)}' for name in ('torch', 'transformers', 'peft')))"
    # Warnings are errors with the pins alone: between other versions the libraries warn each other, as
    # transformers 5.24 does of a name that peft 0.21 reads.
    "$folder/bin/pytest" -q -n auto -o filterwarnings=default \
        -m "not slow and not browser and not gpu and not swift and not trl and not vllm and not long" || return 1
    rm -rf "$folder"
}

for version in $pythons; do
    for which in $libraries; do
        check "$version" "$which" || failed="$failed $version-$which"
    done
done
[ -z "$failed" ] && exit 0
echo "failed:$failed" >&2
exit 1
