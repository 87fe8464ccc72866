#!/usr/bin/env bash
# Runs the system tests of real VMs with QEMU and libvirt of Debian's backports: in a mount namespace of
# its own whose root is an overlay on this machine's, so that nothing is installed here. What was
# installed into the overlay is kept in build/libvirt-backports for the next time; remove that folder to get rid
# of it. Arguments: test programs (all test_libvirt_* without). Exit 77, with one line, where the archive
# cannot be reached or the overlay cannot be made.
set -u
cd "$(dirname "$0")/.." || exit 1
repo=$PWD dir=$PWD/build/libvirt-backports
say() { echo "libvirt-backports: $*" >&2; }

if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" -eq 0 ] || { say "needs root"; exit 77; }
    mkdir -p "$dir"/{up,work,root}
    exec unshare --mount --propagation private "$repo/tools/libvirt-backports.sh" --inside "$@"
fi
shift
root=$dir/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/up,workdir=$dir/work" "$root" ||
    { say "no overlay here"; exit 77; }
for d in proc sys dev run tmp; do mount --rbind "/$d" "$root/$d" || exit 1; done
mkdir -p "$root/mnt/old" && cd "$root" && pivot_root . mnt/old && cd "$repo" || exit 1
umount -l /mnt/old

# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")-backports
archive=$(grep -rhoE '^(deb (\[[^]]*\] )?|URIs: *)https?://[^ ]*/debian/?( |$)' \
    /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | grep -oE 'https?://[^ ]+' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${archive:-http://deb.debian.org/debian} $suite main" \
    >/etc/apt/sources.list.d/drover-backports.list
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
packages=
for p in qemu-system-x86 qemu-system-common qemu-system-data qemu-utils seabios libvirt-daemon \
    libvirt-daemon-driver-qemu libvirt-daemon-common libvirt-daemon-log libvirt-common libvirt-clients \
    libvirt0 libvirt-dev; do
    packages="$packages $p/$suite" # not -t: that would take systemd from there too
done
if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
    --no-install-recommends $packages; } >"$dir/log" 2>&1; then
    say "$suite cannot be reached or used: $(tail -n 1 "$dir/log")"
    exit 77
fi
qemu-system-x86_64 --version | head -n 1
libvirtd --version
[ $# -gt 0 ] || set -- build/release/systest/test_libvirt_* tests/system/test_libvirt_*.sh
exec tests/run "$@"
