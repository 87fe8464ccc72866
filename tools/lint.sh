#!/usr/bin/env bash
# Layers, clang-format, clang-tidy and cppcheck over what git knows. Clean or it fails.
set -u
cd "$(dirname "$0")/.." || exit 1
rc=0
tools/layers.sh || rc=1
mapfile -t files < <(git ls-files '*.c' | grep -vE '^tests/')
make --no-print-directory -s BUILD=debug build/debug/.flags proto-gen || rc=1
flags="-std=gnu17 -D_GNU_SOURCE -I. -Ibuild/gen $(pkg-config --cflags libevent jansson yaml-0.1 sqlite3 libnl-3.0 libnl-route-3.0 libprotobuf-c libcurl expat)"
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 6 sh -c \
    'clang-tidy --quiet "$@" -- '"$flags"' 2>/dev/null' sh >build/tidy.log || rc=1
if grep -qE '(warning|error):' build/tidy.log; then
    grep -E '(warning|error):' build/tidy.log | sort -u
    rc=1
fi
cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -D_GNU_SOURCE -I. -Ibuild/gen -j "$(nproc)" \
    --enable=warning,portability --suppress=missingIncludeSystem --suppressions-list=tools/cppcheck.txt \
    "${files[@]}" || rc=1
[ $rc -eq 0 ] && echo "lint: clean (${#files[@]} files)"
exit $rc
