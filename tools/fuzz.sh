#!/usr/bin/env bash
# libFuzzer on each target for FUZZ_SECONDS (30) each, from its seed corpus; findings stay in build/.
set -u
cd "$(dirname "$0")/.." || exit 1
rc=0
for f in build/fuzz/tests/fuzz/fuzz_*; do
    case $f in *.o | *.d) continue ;; esac
    name=${f##*/fuzz_} work=build/fuzz/work/${f##*/fuzz_}
    mkdir -p "$work"
    echo "fuzz $name"
    dict=()
    [ -f "tests/fuzz/$name.dict" ] && dict=(-dict="tests/fuzz/$name.dict")
    "$f" "${dict[@]}" -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=0 \
        -artifact_prefix="$work/crash-" "$work" "tests/fuzz/corpus/$name" >"$work.log" 2>&1 ||
        { rc=1; tail -n 30 "$work.log"; }
    tail -n 1 "$work.log"
done
exit $rc
