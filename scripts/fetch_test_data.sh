#!/bin/sh
# Fetch the real annotation files that the converters are tested on, once, into .cache/test-data:
#   labelme-examples (Debian), deepforest, sahi and imgaug (PyPI). Nothing is installed.
# What cannot be fetched is said, and its tests are skipped.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
cache="$root/.cache/test-data"
python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3
mkdir -p "$cache"

# fetch NAME COMMAND...: run COMMAND in an empty folder, which becomes the cache's NAME.
fetch() {
    name=$1
    shift
    [ -d "$cache/$name" ] && return
    partial=$(mktemp -d "$cache/.partial.XXXXXX")
    if (cd "$partial" && "$@") >"$partial.log" 2>&1 && mv "$partial" "$cache/$name"; then
        rm -f "$partial.log"
        echo "Fetched $name for the tests."
    else
        echo "$name cannot be fetched, its tests are skipped; $partial.log says why." >&2
        rm -rf "$partial"
    fi
}

debian() {
    apt-get download "$1" && dpkg-deb -x "$1"_*.deb . && rm "$1"_*.deb
}

pypi() {
    what=$1
    shift
    "$python" -m pip --disable-pip-version-check download --no-deps --dest package "$@" "$what" &&
        "$python" - <<'PYTHON' && rm -r package
import shutil
from pathlib import Path

for archive in Path("package").iterdir():
    kind = "zip" if archive.suffix == ".whl" else None
    shutil.unpack_archive(archive, ".", kind, **({} if kind else {"filter": "data"}))
PYTHON
}

fetch labelme-examples debian labelme-examples
fetch deepforest pypi deepforest==2.1.0
fetch imgaug pypi imgaug==0.4.0
fetch sahi pypi sahi==0.12.8 --no-binary sahi
