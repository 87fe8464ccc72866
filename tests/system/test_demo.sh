#!/usr/bin/env bash
# `drover demo` with the real daemons: what it says through a pipe and on a terminal, that it fails
# clearly, and that nothing stays behind whichever way it ends: well, by Ctrl-C, or killed.
. "$(dirname "$0")/lib.sh"

# --- through a pipe: plain lines, 100 columns, everything that was promised ---
LC_ALL=C bin/drover demo --dir "$dir" >"$out" 2>"$err" || die "exit $?"
[ ! -s "$err" ] || die "something on stderr"
LC_ALL=C grep -q '[^ -~]' "$out" && die "not plain ASCII: escape codes, carriage returns, ..."
awk 'length($0) > 100' "$out" | grep -q . && die "a line beyond 100 columns"
says '^    misfit   -> none .*zone=c'
says '0/3 nodes are available: '
says '^    jobs     -> n3 '
says 'not n3: node\(s\) had untolerated taint \{dedicated: batch\}'
says '^    db +database +n2 +n1 +10\.200\.5\.1:[0-9]+ +[0-9.]+ MiB +[0-9]+ +[0-9.]+ m?s +[0-9.]+ m?s$'
[ "$(grep -cE '^    [a-z]+ +(production|database) +n[123] +n[123] +10\.200\.5\.[123]:' "$out")" -ge 4 ] ||
    die "want at least 4 migrations in the table"
says '^    migration, 10\.200\.5\.0/24 +[0-9.]+ [MG]iB +9[5-9]\.[0-9]+ %'
says '^    management, 198\.18\.0\.0/24 +[0-9.]+ [KM]iB +[0-4]\.[0-9]+ %'
[ "$(grep -c 'every page is as I wrote it' "$out")" -eq 6 ] || die "want 6 verdicts"
says 'n1 is empty after'
says 'nothing stays'
nothing_stays "after a good end"
if [ -x /usr/sbin/libvirtd ] && [ -x /usr/bin/qemu-system-x86_64 ]; then
    says '^    real +production +n1 +n[23] +10\.200\.5\.[23]:'
    says 'VM real is QEMU.s, and moved by method relay; on its console: HB [0-9]+ '
fi

# --- on a terminal: bars that move, the same answers; NO_COLOR is honoured ---
if command -v script >/dev/null; then
    NO_COLOR=1 LC_ALL=C.UTF-8 TERM=xterm script -qec "stty cols 100 rows 50; bin/drover demo --native --dir $dir" /dev/null \
        </dev/null >"$out" 2>"$err" || die "on a terminal: exit $?"
    says '█'
    says $'\033\\[[0-9]+A' # the cursor goes up: redrawn in place
    LC_ALL=C grep -q $'\033\\[3[0-9]m' "$out" && die "colours although NO_COLOR is set"
    [ "$(grep -c 'every page is as I wrote it' "$out")" -eq 6 ] || die "on a terminal: want 6 verdicts"
    nothing_stays "after the one on a terminal"
fi

# --- started and stopped: Ctrl-C, a closed terminal, TERM, and kill -9 in each step ---
cluster_id() { sed -n 's/.*"id": *"\([0-9a-f]*\)".*/\1/p' "$dir/cluster.json" 2>/dev/null | head -n 1; }
interrupt() { # signal, line to wait for, further arguments of the demo
    id=
    : >"$out"
    # a session of its own: the signal is for the demo alone
    setsid bin/drover demo --dir "$dir" "${@:3}" >"$out" 2>"$err" &
    pid=$!
    until grep -q -- "$2" "$out"; do
        kill -0 $pid 2>/dev/null || die "$1 at \"$2\": it ended before"
        tick
    done
    until id=$(cluster_id); [ -n "$id" ]; do kill -0 $pid 2>/dev/null || break; done
    kill "-$1" $pid
    wait $pid 2>/dev/null
    rc=$?
    if [ "$1" = KILL ]; then
        # its keeper takes the cluster away
        for _ in $(seq 600); do [ -e "$dir" ] || break; tick; done
        for _ in $(seq 100); do pgrep -f -- "$dir" >/dev/null || break; tick; done
        says 'it was killed; its cluster in .* has been taken away' "$err"
    else
        [ $rc -eq 1 ] || die "$1 at \"$2\": exit $rc, want 1"
        says '^drover demo: interrupted; nothing stays$' "$err"
        [ "$(wc -l <"$err")" -eq 1 ] || die "$1 at \"$2\": want one line on stderr"
    fi
    nothing_stays "$1 at \"$2\""
}
interrupt INT '^ 1  '
interrupt INT '^ 2  ' --native
interrupt INT 'round 1' --native
interrupt TERM '^ 5  ' --native
interrupt HUP '^ 3  ' --native
interrupt KILL '^ 2  ' --native
interrupt KILL '^ 5  '
id=

# --- whoever reads goes away ---
bin/drover demo --native --dir "$dir" 2>"$err" | head -n 3 >"$out"
[ "${PIPESTATUS[0]}" -eq 1 ] || die "a closed pipe: want exit 1"
nothing_stays "after a closed pipe"

# --- wrong input: one line, exit 1, nothing made ---
refused() { # text, arguments...
    local want=$1
    shift
    bin/drover demo "$@" >"$out" 2>"$err"
    [ $? -eq 1 ] || die "demo $*: want exit 1"
    [ "$(wc -l <"$err")" -eq 1 ] || die "demo $*: want one line"
    says "$want" "$err"
    [ ! -e "$dir" ] || die "demo $*: $dir was made"
}
refused 'nonexistent' --dir "$dir" --examples /nonexistent
refused 'drover demo:' --dir "$dir" extra
refused 'absolute path' --dir relative
refused 'frob' --frob
mkdir -p "$tmp/ex/offline" && cp examples/offline/nodes.yaml "$tmp/ex/offline/" && cp examples/[0-3]*.yaml "$tmp/ex/"
refused 'want a VirtualMachineInstanceMigration and a NodeMaintenance' --dir "$dir" --examples "$tmp/ex"
cp examples/[45]*.yaml "$tmp/ex/" && sed -i 's/guest: 128Mi/guest: 128 Mi/' "$tmp/ex/30-vms.yaml"
refused '30-vms.yaml:[0-9]+:[0-9]+: ' --dir "$dir" --examples "$tmp/ex"

# --- something goes wrong on the way: it says what, and cleans up ---
cp examples/30-vms.yaml "$tmp/ex/" && sed -i 's/n1$/n1x/' "$tmp/ex/50-maintenance.yaml"
bin/drover demo --dir "$dir" --examples "$tmp/ex" >"$out" 2>"$err"
[ $? -eq 1 ] || die "a maintenance of a node that is not there: want exit 1"
says 'n1x' "$err"
nothing_stays "after a failure"
sed -i '/name: misfit/,$ s/topology.kubernetes.io\/zone: c/topology.kubernetes.io\/zone: a/' "$tmp/ex/30-vms.yaml"
bin/drover demo --dir "$dir" --examples "$tmp/ex" >"$out" 2>"$err"
[ $? -eq 1 ] || die "no VM that fits nowhere: want exit 1"
says '0 VMs found no host, where exactly one is meant to find none' "$err"
nothing_stays "after another failure"
