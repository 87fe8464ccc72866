#!/usr/bin/env bash
# Unpacks QEMU from Debian's backports into a folder of its own (build/qemu-backports, or $1), beside
# the one that is installed, for `drover-bench qemu`. Nothing is installed; the folder can be removed.
# Exit 77, with one line, where the archive cannot be reached.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(realpath -m "${1:-build/qemu-backports}")
bin=$dir/usr/bin/qemu-system-x86_64
[ -x "$bin" ] && exit 0
say() { echo "qemu-backports: $*" >&2; }

command -v apt-get >/dev/null || { say "no apt-get here"; exit 77; }
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")-backports
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,parts}
archive=$(grep -rhoE '^(deb (\[[^]]*\] )?|URIs: *)https?://[^ ]*/debian/?( |$)' \
    /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | grep -oE 'https?://[^ ]+' | head -n 1)
base=${suite%-backports}
key="signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
for s in "$base" "$base-updates" "$suite"; do
    echo "deb [$key] ${archive:-http://deb.debian.org/debian} $s main"
done >"$work/sources.list"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives" \
        -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Acquire::Retries=2 "$@"
}
if ! apt update >"$work/log" 2>&1 || ! apt install -y --download-only --no-install-recommends \
    qemu-system-x86/"$suite" qemu-system-common/"$suite" qemu-system-data/"$suite" seabios/"$suite" \
    >>"$work/log" 2>&1; then
    say "$suite cannot be reached or used: $(tail -n 1 "$work/log")"
    exit 77
fi
mkdir -p "$dir.new" || exit 1
for deb in "$work"/archives/*.deb; do
    dpkg-deb -x "$deb" "$dir.new" || exit 1
done
rm -rf "$dir" && mv "$dir.new" "$dir"
[ -x "$bin" ] || { say "no qemu-system-x86_64 in $suite"; exit 77; }
