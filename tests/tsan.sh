#!/usr/bin/env bash
# The threaded tests once more under ThreadSanitizer.
set -u
cd "$(dirname "$0")/.." || exit 1
progs=$(ls tests/base/test_loop.c tests/migrate/test_{engine*,decide,encode,verify,tls,postcopy,relay*,rdma_lane*,rdma_onesided}.c \
            tests/handler/test_work.c 2>/dev/null |
        sed 's|^|build/tsan/|; s|\.c$||')
make --no-print-directory -j"$(nproc)" BUILD=tsan $progs >/dev/null || { echo "FAIL build tsan"; echo "0 1 0" >>"${TEST_COUNTS:-/dev/null}"; exit 1; }
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0:exitcode=66:die_after_fork=0}
tests/run $progs
