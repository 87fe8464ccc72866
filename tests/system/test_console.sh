#!/bin/bash
# A real VM's serial console from end to end: what it prints, one user at a time, through a pause, a
# migration, a handler and a controller that are killed, and its stop. The guest is the test guest of
# tests/guest, emulated; it prints a line "HB number ..." five times a second.
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "needs jq"; exit 77; }

"$drover" dev up --dir "$dir" --nodes 2 --hypervisor libvirt --emulate --heartbeat 500ms >"$out" 2>"$err" || {
    grep 'is not there: install' "$err" && exit 77
    die "dev up"
}
export DROVER_SERVER=unix:$dir/api.sock
id=$(jq -r .id "$dir/cluster.json")

cat >"$tmp/vm.yaml" <<END
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm1}
spec:
  runStrategy: Always
  template:
    metadata: {annotations: {drover.io/hypervisor: libvirt}}
    spec:
      terminationGracePeriodSeconds: 1
      domain:
        memory: {guest: 64Mi}
        devices: {}
        firmware:
          kernelBoot:
            container: {image: drover/testguest, kernelPath: /kernel}
            kernelArgs: ws=16 rate=4 hb=200
END

wrong() { # TEXT ARGUMENTS...: exit 1, and why
    local text=$1
    shift
    run 1 "$@"
    says "$text" "$err"
}
open_console() { # NAME OPTIONS...: its output goes to $tmp/NAME, its messages to $tmp/NAME.err; $session
    local name=$1
    shift
    : >"$tmp/$name"
    : >"$tmp/$name.err"
    "$drover" console vm1 --timeout 60s "$@" </dev/null >"$tmp/$name" 2>"$tmp/$name.err" &
    session=$!
}
beats() { grep -ac '^HB ' "$tmp/$1"; }
more() { [ "$(beats "$1")" -gt "$2" ]; } # NAME THAN
beats_on() { wait_for 30 "a heartbeat in $1: $(cat "$tmp/$1.err")" more "$1" "$(beats "$1")"; }
said() { grep -qF -- "$2" "$tmp/$1.err"; } # NAME TEXT
gone() { ! kill -0 "$1" 2>/dev/null; }
ended() { # PID NAME TEXT: the session ends by itself, and says why
    wait_for 30 "session $2 to end" gone "$1"
    wait "$1" && die "$2: want exit 1"
    said "$2" "$3" || die "$2: want \"$3\": $(cat "$tmp/$2.err")"
}
no_request() {
    [ -z "$("$drover" get vmi vm1 -o 'jsonpath={.metadata.annotations.drover\.io/console-request}')" ]
}
again() { # KEY OF THE DAEMON IN cluster.json, NSENTER OPTIONS...: kills it, and starts one like it
    local pid args
    pid=$(jq -r "$1.pid" "$dir/cluster.json")
    shift
    mapfile -d '' -t args <"/proc/$pid/cmdline"
    kill -KILL "$pid"
    wait_for 10 "process $pid to go" gone "$pid"
    "$@" setsid "${args[@]}" </dev/null >>"$tmp/daemon.log" 2>&1 &
    disown
}

# --- it waits for the VM to run, and shows what the guest prints ---
ok apply -f "$tmp/vm.yaml"
open_console one
first=$session
beats_on one
said one 'Waiting for VM default/vm1 to run' || die "want that it waited"

# --- one user at a time; who takes over says so ---
wrong 'its console is in use; --take-over' console vm1 --for 5s
open_console two --take-over
second=$session
beats_on two
ended "$first" one 'another user has taken the console over'

# --- what a script gets within a second ---
ok console vm1 --take-over --for 1s
says '^HB [0-9]+ '
ended "$second" two 'another user'
wait_for 10 "the request to go" no_request

# --- a pause is seen, and its end ---
open_console three
third=$session
beats_on three
ok pause vm1
says '^VM default/vm1 is paused$'
before=$(beats three)
wrong 'already paused' pause vm1
ok get vm vm1
says 'Paused'
[ "$(beats three)" -le $((before + 1)) ] || die "a paused guest goes on"
ok unpause vm1
beats_on three

# --- the reset button: it counts from 1 again ---
firsts() { [ "$(grep -ac '^HB 1 ' "$tmp/three")" -gt "$1" ]; } # THAN
before=$(grep -ac '^HB 1 ' "$tmp/three")
ok reset vm1
says '^VM default/vm1 was reset$'
wait_for 30 "the guest to begin again" firsts "$before"

# --- a migration: the session goes on where the VM is ---
from=$("$drover" get vmi vm1 -o 'jsonpath={.status.nodeName}')
ok migrate vm1 --wait --timeout 60s
to=$("$drover" get vmi vm1 -o 'jsonpath={.status.nodeName}')
[ "$from" != "$to" ] || die "want another node"
wait_for 30 "the session to move" said three "the VM has moved to node $to: connecting again"
beats_on three
grep -a '^HB ' "$tmp/three" | grep -qv ' bad=0 ' && die "bad pages: $(grep -av ' bad=0 ' "$tmp/three")"

# --- a handler that is killed takes its sessions with it, not the guest ---
host=$(jq -r ".nodes[] | select(.name == \"$to\") | .libvirtd.pid" "$dir/cluster.json")
again ".nodes[] | select(.name == \"$to\") | .handler" nsenter -t "$host" -n -m -u
ended "$third" three "node $to has closed the console"
open_console four
fourth=$session
beats_on four

# --- so does a controller, and the next one knows nothing of them ---
again .controller ip netns exec "drover-$id"
ended "$fourth" four 'the connection to the controller was lost'
answers() { "$drover" get nodes >/dev/null 2>&1; }
wait_for 20 "the controller" answers
wait_for 10 "the request of before to go" no_request
open_console five
fifth=$session
beats_on five

# --- the VM stops ---
ok stop vm1
ended "$fifth" five 'the VM has stopped'
