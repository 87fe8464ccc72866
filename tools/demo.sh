#!/usr/bin/env bash
# The main job from end to end, on this machine: `make demo` builds first and calls this. Arguments
# go to `drover demo`. The program cleans up after itself on every way out.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ "$(id -u)" -ne 0 ]; then
    echo "demo: network namespaces need root: run  sudo make demo" >&2
    exit 1
fi
for p in drover drover-controller drover-handler drover-guest; do
    if [ ! -x "bin/$p" ]; then
        echo "demo: bin/$p is not there: run  make" >&2
        exit 1
    fi
done
exec bin/drover demo --examples "$PWD/examples" "$@"
