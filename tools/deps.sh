#!/usr/bin/env bash
# Installs the Debian packages that building, testing and the demo need. Quiet when nothing is missing;
# where it may not install, it prints the one command that would and exits with 1.
# --build: without what only tests need. --libvirt: that, and QEMU and libvirt for real VMs.
set -u
mode=${1:-}
need="gcc make pkg-config libc6-dev libevent-dev libyaml-dev libjansson-dev libsqlite3-dev
      libcurl4-openssl-dev libssl-dev libprotobuf-c-dev protobuf-c-compiler libnl-3-dev libnl-route-3-dev
      libexpat1-dev libxxhash-dev libibverbs-dev librdmacm-dev liblz4-dev libzstd-dev libcmocka-dev libvirt-dev libarchive-dev
      iproute2 procps"
real_vms="qemu-system-x86 qemu-utils libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
          ovmf socat"
rdma_guest="qemu-system-x86 busybox-static cpio kmod xz-utils ibverbs-providers ibverbs-utils perftest"
[ -n "$mode" ] || need="$need clang clang-tidy clang-format libclang-rt-14-dev cppcheck jq"
[ "$mode" != --libvirt ] || need="$need $real_vms"

if ! command -v dpkg-query >/dev/null; then
    echo "deps: no dpkg here: install what corresponds to:" $need >&2
    exit 0
fi
lacks() { ! dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }
missing=
for p in $need; do
    if lacks "$p"; then missing="$missing $p"; fi
done
# tests with real VMs, and with RDMA in a virtual machine, are skipped without these, and say so (no
# daemon starts: tests run their own)
for group in "$real_vms" "$rdma_guest"; do
    if [ -n "$mode" ] || [ "$(id -u)" -ne 0 ]; then continue; fi
    for p in $group; do
        lacks "$p" || continue
        { apt-get update && DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y \
            --no-install-recommends $group; } >/dev/null 2>&1 || echo "deps: went on without $p"
        break
    done
done
# peers that measurements stand beside; without one its comparison is skipped, and says so
for p in iperf3 tcpdump; do
    [ -n "$mode" ] || [ "$(id -u)" -ne 0 ] || command -v "$p" >/dev/null ||
        DEBIAN_FRONTEND=noninteractive timeout 120 apt-get install -y --no-install-recommends "$p" \
            >/dev/null 2>&1 || echo "deps: went on without $p"
done
# kubectl: any will do; the system test runs the real one
if [ -z "$mode" ] && ! command -v kubectl >/dev/null; then missing="$missing kubernetes-client"; fi
[ -z "$missing" ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "deps: missing:$missing" >&2
    echo "run:  sudo apt-get install -y$missing" >&2
    exit 1
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "deps: could not install. Run:  apt-get update && apt-get install -y$missing" >&2
    exit 1
fi
