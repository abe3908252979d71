#!/bin/sh
# Merge a checkpoint's LoRA / DoRA and coord offsets into a plain Hugging Face model, and certify it:
#   scripts/merge_coord.sh CHECKPOINT DST [--overwrite] [--records FILE] [--no-certify]
# Arguments are those of `coordexp merge`; docs/export.md says what they do.
# Takes the coordexp of the repository's .venv where there is one, else the one on PATH.
set -eu
ours="$(dirname "$0")/../.venv/bin/coordexp"
if [ -x "$ours" ]; then
    exec "$ours" merge "$@"
fi
exec coordexp merge "$@"
