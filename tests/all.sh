#!/usr/bin/env bash
# Every test there is: builds release and sanitizer flavours, then runs layer checks, unit, scenario and
# fuzz-corpus tests under ASan and UBSan, threaded ones under TSan, and the system tests on the real
# daemons. In CI also the linters, beside tests that mostly wait. Ends with "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc)
export TEST_COUNTS=$(mktemp) TEST_LOST=$(mktemp) TEST_JOBS=$jobs
trap 'rm -f "$TEST_COUNTS" "$TEST_LOST"' EXIT
failed_build=0

step() { # name command...: one test that passes when the command does
    local name=$1 out; shift
    out=$(mktemp)
    if "$@" >"$out" 2>&1; then
        echo "ok   $name"; echo "1 0 0" >>"$TEST_COUNTS"
    else
        echo "FAIL $name"; tail -n 60 "$out" | sed 's/^/     /'; echo "0 1 0" >>"$TEST_COUNTS"; echo "failed $name" >>"$TEST_LOST"; rm -f "$out"; return 1
    fi
    rm -f "$out"
}

step "build release" make --no-print-directory -j"$jobs" WERROR=1 all systest-build || failed_build=1
step "build asan" make --no-print-directory -j"$jobs" BUILD=asan WERROR=1 tests-build || failed_build=1
step "layers" tools/layers.sh
if [ "$failed_build" -eq 0 ] && [ -n "${CI:-}" ]; then
    tests/run --beside "build clang" "make --no-print-directory -j$jobs BUILD=debug CC=clang WERROR=1 all" build/asan
    tests/tsan.sh
    tests/run --beside lint "make --no-print-directory lint" --system
elif [ "$failed_build" -eq 0 ]; then
    tests/run build/asan
    tests/tsan.sh
    tests/run --system
fi
sed 's/^again/passed only the second time:/; s/^failed/failed:/' "$TEST_LOST"
awk '{p += $1; f += $2; s += $3} END {printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0}' \
    "$TEST_COUNTS"
