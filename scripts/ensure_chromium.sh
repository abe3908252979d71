#!/bin/sh
# Succeed if a Chromium is there or apt can install one; otherwise say why browser tests are skipped.
set -u

for name in chromium chromium-browser; do
    if command -v "$name" >/dev/null; then
        exit 0
    fi
done

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
fi

if command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests."
    export DEBIAN_FRONTEND=noninteractive
    if $as_root apt-get update -qq >/dev/null &&
        $as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
    then
        exit 0
    fi
fi

echo "No Chromium, and apt cannot install it: browser tests are skipped."
exit 1
