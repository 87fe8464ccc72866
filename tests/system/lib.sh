# Sourced by the system tests that make clusters of their own; runs in the repository's root.
# What a test leaves ($dir: a cluster; $tmp: files) is gone when it exits, whichever way it does.
# bash reports a command that is not there and goes on, so every script here ends at the first one.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
command_not_found_handle() {
    echo "$1: command not found"
    kill "$$"
    return 127
}
[ "$(id -u)" -eq 0 ] || { echo "needs root for network namespaces"; exit 77; }
unshare --net true 2>/dev/null || { echo "needs the right to make network namespaces"; exit 77; }

tmp=$(mktemp -d /tmp/drover-test-XXXXXX) || exit 1
dir=$tmp/c out=$tmp/out err=$tmp/err
drover=$PWD/bin/drover
cleanup() {
    [ -e "$dir/cluster.json" ] && "$drover" dev down --dir "$dir" >/dev/null 2>&1
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' TERM

die() { # WORDS...: what went wrong, what was printed last; ends the test, also from a subshell
    {
        echo "$*"
        echo "--- stdout"; cat "$out"
        echo "--- stderr"; cat "$err"
    } >&2 2>/dev/null # not stdout: a subshell's may be a variable
    [ "$BASHPID" = "$$" ] || kill "$$"
    exit 1
}
# run EXIT ARGUMENTS...: runs drover and checks its exit status; what failed said one line, and a "no"
# (exit 2) one line or an answer.
run() {
    local want=$1 rc
    shift
    "$drover" "$@" >"$out" 2>"$err"
    rc=$?
    [ $rc -eq "$want" ] || die "drover $*: exit $rc, want $want"
    [ "$want" -eq 2 ] && [ ! -s "$err" ] && [ -s "$out" ] && return
    [ "$want" -eq 0 ] || [ "$(wc -l <"$err")" -eq 1 ] || die "drover $*: want one line on stderr"
}
ok() { run 0 "$@"; }
says() { grep -qE -- "$1" "${2:-$out}" || die "want \"$1\""; } # PATTERN [FILE]
tick() { read -rt 0.05 <> <(:); }
wait_for() { # SECONDS WHAT COMMAND...
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $until ] || die "waited in vain for $what"
        tick
    done
}
nothing_stays() { # WHEN: of the cluster in $dir; its namespaces begin with drover-$id
    [ ! -e "$dir" ] || die "$1: $dir is still there"
    # the demo's keeper ends right after the demo itself
    for _ in $(seq 40); do pgrep -f -- "$dir" >/dev/null || break; tick; done
    pgrep -f -- "$dir" >/dev/null && die "$1: a process is left: $(pgrep -af -- "$dir")"
    [ -z "${id:-}" ] || ! ls /run/netns 2>/dev/null | grep -q "^drover-$id" || die "$1: a namespace is left"
}
