#!/usr/bin/env bash
# The README's commands, as they stand there: what a newcomer types works, in that order.
. "$(dirname "$0")/lib.sh"
block() { # HEADING N: the lines of the Nth block of code under it, without what follows a #
    awk -v h="## $1" -v n="$2" '
        /^## / { on = $0 == h }
        on && /^```/ { k++; next }
        on && k == 2 * n - 1 { sub(/ +# .*/, ""); print }' README.md
}
typed() { # COMMAND: in a folder of its own instead of /run/drover/dev; drover's "no" is an answer
    local rc
    bash -c "${1/dev up/dev up --dir $dir}" >"$out" 2>"$err"
    rc=$?
    [ $rc -eq 0 ] || [ $rc -eq "${2:-0}" ] || die "$1: exit $rc"
}
export DROVER_SERVER=unix:$dir/api.sock
n=0
while IFS= read -r line; do
    [ -z "$line" ] && continue
    n=$((n + 1))
    case $line in
    *"dev down") "$drover" dev down --dir "$dir" >"$out" 2>"$err" || die "$line" ;;
    *"migrate db"*)
        runs() { "$drover" get vmi db -n shop -o 'jsonpath={.status.phase}' 2>/dev/null | grep -qx Running; }
        wait_for 30 "db to run" runs
        typed "$line" ;;
    *) typed "$line" ;;
    esac
done < <(block "Use it" 1)
[ $n -ge 7 ] || die "README.md: $n commands under Use it"
while IFS= read -r line; do
    [ -z "$line" ] || typed "$line" 2
    n=$((n + 1))
done < <(block "Use it" 2)
[ $n -ge 12 ] || die "README.md: $n commands in all"
echo "$n commands of the README work"
