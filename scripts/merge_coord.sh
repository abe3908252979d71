#!/bin/sh
# Merge a checkpoint's LoRA / DoRA and coord offsets into a plain Hugging Face model:
#   scripts/merge_coord.sh CHECKPOINT DST
# Takes the coordexp of the repository's .venv where there is one, else the one on PATH.
set -eu
ours="$(dirname "$0")/../.venv/bin/coordexp"
if [ -x "$ours" ]; then
    exec "$ours" merge "$@"
fi
exec coordexp merge "$@"
