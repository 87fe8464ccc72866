#!/usr/bin/env bash
# RDMA on a device that is one: virtual machines under QEMU's emulation with Debian's own kernel and
# soft-RoCE (tests/rdma/). In `units` run the programs of tests/migrate that are linked with the real
# libraries, in `handlers` two handlers move a VM, in `trouble` and `killed` what can happen to them happens.
# `bench` measures, and runs only when it is asked for. Neither root nor KVM nor an RDMA device is needed.
# Arguments: names of guests (without: the first four). What they printed stays in build/rdma.
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
names=("$@")
[ $# -gt 0 ] || names=(units handlers trouble killed)
for g in "${names[@]}"; do
    case $g in units | handlers | trouble | killed | bench) ;; *)
        echo "test_rdma.sh: unknown guest '$g': want units, handlers, trouble, killed or bench" >&2
        exit 2
        ;;
    esac
done
for need in qemu-system-x86_64:qemu-system-x86 cpio:cpio modprobe:kmod xz:xz-utils jq:jq \
    ibv_devinfo:ibverbs-utils ib_write_bw:perftest rdma:iproute2 tc:iproute2; do
    command -v "${need%:*}" >/dev/null || { echo "needs ${need%:*} (package ${need#*:})"; exit 77; }
done
[ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 ||
    { echo "needs a static /bin/busybox (package busybox-static)"; exit 77; }
ls /usr/lib/*/libibverbs/librxe-*.so >/dev/null 2>&1 ||
    { echo "needs the provider of soft-RoCE (package ibverbs-providers)"; exit 77; }
mkdir -p build/rdma || exit 1
kernel=$(tests/rdma/fetch-kernel build/rdma/kernel) || { echo "$kernel"; exit 77; }
eval "$kernel"
tmp=$(mktemp -d build/rdma/run-XXXXXX) || exit 1
guests=()
cleanup() {
    for p in "${guests[@]}"; do kill "$p" 2>/dev/null; done
    wait
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' TERM INT
tests/rdma/make-initrd "$KROOT" "$KVER" "$tmp/initrd" || exit 1

failed=0 crashed=0
# Not more virtual processors than the host has: one that waits for another that does not run is time lost
cpus=$(($(nproc) / ${#names[@]}))
[ $cpus -ge 1 ] || cpus=1
[ $cpus -le 4 ] || cpus=4
for g in "${names[@]}"; do # side by side: much of what they do is waiting
    mkdir "$tmp/$g"
    tests/rdma/run "$KROOT/boot/vmlinuz-$KVER" "$tmp/initrd" "$tmp/$g" "tests/rdma/guest/$g.sh" $cpus \
        >"build/rdma/$g.log" 2>&1 &
    guests+=($!)
done
for i in "${!guests[@]}"; do
    wait "${guests[i]}"
    rc=$?
    echo "--- ${names[i]} (exit $rc)"
    cat "build/rdma/${names[i]}.log"
    [ $rc -eq 0 ] || failed=1
    mv "$tmp/${names[i]}"/core.* build/rdma 2>/dev/null && crashed=1
    # what a kernel says when a driver is used wrongly
    if grep -E 'BUG|WARNING|Oops|refcount|use-after-free' "$tmp/${names[i]}/dmesg.txt"; then failed=1; fi
done
guests=()
exit $((crashed ? 139 : failed)) # a crash is no busy machine's fault: tests/run does not try it again
