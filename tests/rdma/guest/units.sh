# The programs of tests/migrate that are linked with the real libraries, on the real device.
. /mnt/repo/tests/rdma/guest/lib.sh
ulimit -l unlimited
mkdir -p $dir
dummy_device
ulimit -c unlimited
echo "/mnt/share/core.%e" >/proc/sys/kernel/core_pattern
export RDMA_TEST_IP=10.9.0.1 CMOCKA_MESSAGE_OUTPUT=TAP
failed=0
ls "$repo"/build/release/rdmatest/test_* >/dev/null || exit 1 # make rdmatest-build
for program in "$repo"/build/release/rdmatest/test_*; do
    began=$SECONDS
    timeout 300 "$program" >$dir/out 2>&1
    rc=$?
    bad=$(grep -aE '^not ok' $dir/out | grep -avc '# *SKIP')
    say "$(basename "$program"): $(grep -aE '^ok ' $dir/out | grep -avc '# *SKIP') passed, $bad failed," \
        "$(grep -acE '# *SKIP' $dir/out) skipped, $((SECONDS - began)) s"
    if [ $rc -ne 0 ] && [ $rc -ne 77 ] || [ "$bad" -gt 0 ]; then
        failed=1
        echo "exit $rc"
        grep -avE '^ok |^not ok .*# *SKIP|^# SKIP' $dir/out | tail -n 40
        dmesg | tail -n 5 # a signal's
    fi
    [ -z "$(held)" ] || { failed=1; say "held after $(basename "$program"):"; held; }
done
exit $failed
