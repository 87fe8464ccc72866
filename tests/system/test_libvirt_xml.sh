#!/usr/bin/env bash
# QEMU's driver takes every domain that we make (tests/handler/xml_rows.c), down to the command line that it
# would run. A libvirtd of our own, in namespaces of its own; no guest is started.
. "$(dirname "$0")/lib.sh"
for need in libvirtd virsh qemu-system-x86_64; do
    PATH=$PATH:/usr/sbin command -v "$need" >/dev/null || { echo "needs $need"; exit 77; }
done
for flavour in release asan debug; do
    test=build/$flavour/tests/handler/test_libvirt_xml_define
    [ -x "$test" ] && break
done
[ -x "$test" ] || make -s "${test/debug/release}" >"$out" 2>"$err" || die "make $test"
[ -x "$test" ] || test=${test/debug/release}

h=$tmp/libvirt
mkdir -p "$h"/{etc,lib,log,cache,run}
echo 'auth_unix_rw = "none"' >"$h/etc/libvirtd.conf"
printf '%s\n' 'user = "root"' 'group = "root"' 'dynamic_ownership = 0' 'security_driver = "none"' \
    'namespaces = []' 'cgroup_controllers = []' 'stdio_handler = "file"' >"$h/etc/qemu.conf"
cp /etc/passwd /etc/group "$h"
# the daemon alone, as Debian has it, comes without the user that it insists on
grep -q ^libvirt-qemu: "$h/passwd" || echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' >>"$h/passwd"
grep -q ^libvirt-qemu: "$h/group" || echo 'libvirt-qemu:x:64055:' >>"$h/group"
grep -q ^kvm: "$h/group" || echo 'kvm:x:64054:' >>"$h/group"
export h test
unshare --net --mount --uts --pid --fork --kill-child bash -c '
    set -e
    for d in /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /run/libvirt; do
        mkdir -p $d
    done
    mount --bind $h/etc /etc/libvirt; mount --bind $h/lib /var/lib/libvirt
    mount --bind $h/log /var/log/libvirt; mount --bind $h/cache /var/cache/libvirt
    mount --bind $h/run /run/libvirt
    mount --bind $h/passwd /etc/passwd; mount --bind $h/group /etc/group
    mount -t sysfs sysfs /sys; mount -t proc proc /proc
    PATH=$PATH:/usr/sbin
    libvirtd --pid-file /run/libvirt/libvirtd.pid >$h/daemon 2>&1 &
    for i in $(seq 200); do
        [ -S /run/libvirt/libvirt-sock ] && break
        read -rt 0.05 <> <(:) || :
    done
    # not the last command, which bash would become: as process 1 it reaps the QEMUs that libvirtd asks
    # on some machines what looks for leaks crashes in these namespaces; outside of them it sees the same rows
    ASAN_OPTIONS=detect_leaks=0 LIBVIRT_XML_URI=qemu:///system $test || exit
    exit 0
' >"$out" 2>"$err" || { cat "$h/daemon" >>"$err"; die "a domain was refused"; }
says '1 test\(s\)\.$|^ok 1' "$out"
! grep -q -i skip "$out" || { echo "needs libvirt.so.0"; exit 77; }
echo "every domain is taken"
