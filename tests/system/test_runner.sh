#!/usr/bin/env bash
# tests/run itself: what it counts, what it runs once more, and what it does not.
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
unset TEST_COUNTS TEST_JOBS
export TEST_LOST=$tmp/lost
bad=0

fake() { # NAME FIRST-RUN [LATER-RUNS]: a test program
    printf '#!/bin/bash\nif mkdir "%s.ran" 2>/dev/null; then %s; else %s; fi\n' "$tmp/$1" "$2" "${3:-$2}" >"$tmp/$1"
    chmod +x "$tmp/$1"
}
want() { # SUMS LOST PROGRAM...: the last line, and what tests/run says of each that failed
    local sums=$1 lost=$2 said rc=0
    shift 2
    rm -rf "$tmp"/*.ran "$TEST_LOST"
    touch "$TEST_LOST"
    said=$(cd / && "$OLDPWD"/tests/run "${@/#/$tmp/}" 2>/dev/null) || rc=1
    [ "${said##*$'\n'}" = "$sums" ] && [ "$(sed "s|$tmp/||" "$TEST_LOST" | paste -sd,)" = "$lost" ] &&
        { [[ $sums == *" 0 failed,"* ]] && [ $rc -eq 0 ] || [[ $sums != *" 0 failed,"* && $rc -eq 1 ]]; } ||
        { echo "$*: want '$sums', lost '$lost'; is (exit $rc):"; echo "$said"; cat "$TEST_LOST"; bad=1; }
}
fail='echo "not ok 1 - a"; exit 1'
fake test_ok 'echo "ok 1 - a"; echo "not ok 2 # SKIP b"'
fake test_bad "$fail"
fake test_chance "$fail" 'echo "ok 1 - a"'
fake test_script.sh 'exit 1' 'exit 0'
fake test_missing.sh 'echo "needs x"; exit 77'
fake test_asan "echo 'not ok 1 # SKIP a'; echo 'ERROR: AddressSanitizer: x'; exit 1" 'echo "ok 1 - a"'
fake test_left "echo 'WARNING: ThreadSanitizer: x'; $fail" 'echo "ok 1 - a"'
fake test_signal 'kill -KILL $$' 'echo "ok 1 - a"'
fake test_hung 'exec sleep 1000' 'echo "ok 1 - a"'
fake test_silent 'exit 3'

want '1 passed, 0 failed, 2 skipped' '' test_ok test_missing.sh
want '0 passed, 1 failed, 0 skipped' 'failed test_bad' test_bad
want '0 passed, 1 failed, 0 skipped' 'failed test_silent' test_silent
want '3 passed, 0 failed, 0 skipped' 'again test_chance,again test_script.sh,again test_left' \
    test_chance test_script.sh test_left
want '0 passed, 2 failed, 1 skipped' 'failed test_asan,failed test_signal' test_asan test_signal
TEST_TIMEOUT=1 want '0 passed, 1 failed, 0 skipped' 'failed test_hung' test_hung
# four failures are no chance
want '0 passed, 4 failed, 0 skipped' 'failed test_chance,failed test_script.sh,failed test_bad,failed test_silent' \
    test_chance test_script.sh test_bad test_silent
TEST_JOBS=2 want '2 passed, 1 failed, 1 skipped' 'failed test_bad,again test_chance' test_ok test_bad test_chance
exit $bad
