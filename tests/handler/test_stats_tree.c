/* A migration's figures as JSON: what is there, what is left out, and no cause on what succeeded. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "handler/stats_tree.h"

#define REST ",\"reconnects\":0,\"pathMtuBytes\":0,\"cpuMs\":0"

static const struct mig_stats measured = {
    .round = 3,
    .total_bytes = 64 << 20,
    .remaining_bytes = 4096,
    .sent_bytes = 50000000,
    .raw_pages = 12000,
    .zero_pages = 7,
    .absent_pages = 4000,
    .transfer_bytes_per_s = 1000000,
    .limit_bytes_per_s = 2000000,
    .started_us = 1000000,
    .finished_us = 3500000,
    .downtime_us = 4500,
    .predicted_downtime_us = 5250,
    .cpu_us = 90000,
    .channels = 2,
    .encrypted = true,
    .suite = "TLS 1.3, X",
    .enc_pages = {[MIG_ENC_RAW] = 11000, [MIG_ENC_LZ4] = 1000},
    .enc_bytes = {[MIG_ENC_RAW] = 45056000, [MIG_ENC_LZ4] = 1234567},
    .downtime = {.stop_us = 100, .scan_us = 200, .pages_us = 300, .state_us = 50, .commit_us = 700},
    .throttle_percent = 20,
    .link = MIG_LINK_MAIN,
    .path_mtu_bytes = 9000,
    .shaping_wait_us = 12500,
    .transport = MIG_TRANSPORT_TCP,
};

static void
check_json(struct tree *t, const char *want)
{
    AUTO_TREE struct tree *mine = t;
    AUTO_SB struct sb sb = SB_INIT;

    tree_to_json(mine, 0, &sb);
    assert_string_equal(sb_str(&sb), want);
}

static void
test_progress(void **state)
{
    (void)state;
    check_json(
        stats_tree_progress(&measured, 2000000),
        "{\"round\":3,\"totalBytes\":67108864,\"remainingBytes\":4096,\"sentBytes\":50000000,"
        "\"transferBytesPerSecond\":1000000,\"dirtyBytesPerSecond\":0,\"limitBytesPerSecond\":"
        "2000000,\"predictedDowntimeMs\":5,\"predictedDowntimeP90Ms\":0,\"predictedTotalMs\":0,"
        "\"predictedTotalP90Ms\":0,\"elapsedMs\":1000,\"connected\":true,\"mode\":\"PreCopy\","
        "\"channels\":2,"
        "\"encrypted\":true,\"tls\":\"TLS 1.3, "
        "X\",\"reconnects\":0,\"pathMtuBytes\":9000,\"cpuMs\":90,\"transport\":\"tcp\","
        "\"rawPages\":12000,\"zeroPages\":"
        "7,"
        "\"absentPages\":4000,\"againPages\":0,\"encodings\":{\"raw\":{\"pages\":11000,\"bytes\":"
        "45056000},\"lz4\":{\"pages\":1000,\"bytes\":1234567}},\"throttlePercent\":20,"
        "\"throttleMs\":0.0,\"shapingWaitMs\":12.5,\"writeFaults\":0,\"writeFaultMs\":0.0}");
}

static void
test_transport(void **state)
{
    static const struct {
        struct mig_stats st;
        const char *json;
    } rows[] = {
        {{.encrypted = true, .suite = "TLS"}, "\"encrypted\":true,\"tls\":\"TLS\"" REST "}"},
        {{.transport = MIG_TRANSPORT_TCP},
         "\"encrypted\":false,\"tls\":\"\"" REST ",\"transport\":\"tcp\"}"},
        {{.transport = MIG_TRANSPORT_TCP, .transport_why = "no \"device\""},
         "\"encrypted\":false,\"tls\":\"\"" REST
         ",\"transport\":\"tcp\",\"transportReason\":\"no \\\"device\\\"\"}"},
        {{.transport = MIG_TRANSPORT_RDMA,
          .suite = "TLS",
          .rdma_device = "rxe0",
          .placed_pages = 5,
          .registered_peak_bytes = 1 << 20},
         "\"encrypted\":false,\"tls\":\"TLS\"" REST
         ",\"transport\":\"rdma\",\"rdmaDevice\":\"rxe0\","
         "\"placedPages\":5,\"registeredBytes\":0,\"registeredPeakBytes\":1048576}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_TREE struct tree *t = stats_tree_target(&rows[i].st, "n");
        AUTO_SB struct sb sb = SB_INIT;

        (void)tree_del(t, "downtime");
        tree_to_json(t, 0, &sb);
        assert_non_null(strstr(sb_str(&sb), rows[i].json));
    }
}

/* Succeeded migrations once said cause "peer" and downtime 0: the target had to be asked. */
static void
test_result_after_asking(void **state)
{
    struct mig_stats st = measured;
    AUTO_TREE struct tree *t = NULL;

    (void)state;
    st.downtime_us = 0;
    t = stats_tree_result(&st, true, MIG_CAUSE_PEER, 9000000);
    assert_string_equal(tree_find_string(t, "?", "outcome", NULL), "succeeded");
    assert_string_equal(tree_find_string(t, "?", "cause", NULL), "");
    assert_null(tree_get(t, "downtimeMs"));
    assert_int_equal(tree_get_int(tree_get(t, "sentBytes"), 0), 50000000);
}

static void
test_result(void **state)
{
    AUTO_TREE struct tree *moved = stats_tree_result(&measured, true, MIG_CAUSE_NONE, 9000000);
    AUTO_TREE struct tree *failed =
        stats_tree_result(&measured, false, MIG_CAUSE_PROGRESS_TIMEOUT, 9000000);
    const struct tree *d = tree_get(moved, "downtime");
    AUTO_SB struct sb sb = SB_INIT;

    (void)state;
    assert_int_equal(tree_get_int(tree_get(moved, "totalMs"), 0), 2500);
    assert_true(tree_get_float(tree_get(moved, "downtimeMs"), 0) == 4.5);
    tree_to_json(d, 0, &sb);
    assert_string_equal(sb_str(&sb), "{\"stopMs\":0.1,\"scanMs\":0.2,\"pagesMs\":0.3,"
                                     "\"stateMs\":0.05,\"commitMs\":0.7}");
    assert_string_equal(tree_find_string(failed, "", "outcome", NULL), "failed");
    assert_string_equal(tree_find_string(failed, "", "cause", NULL), "progressTimeout");
}

/* A handler that was restarted knows what became of it, and nothing else. */
static void
test_result_of_an_earlier_life(void **state)
{
    const struct mig_stats nothing = {0};

    (void)state;
    check_json(stats_tree_result(&nothing, true, MIG_CAUSE_NONE, 5),
               "{\"outcome\":\"succeeded\",\"cause\":\"\"}");
}

static void
test_target(void **state)
{
    struct mig_stats st = {.sent_bytes = 99, .channels = 1, .mode = MIG_MODE_POSTCOPY};

    (void)state;
    st.downtime = (struct mig_downtime){.load_us = 10, .commit_us = 20, .resume_us = 30};
    st.postcopy_us = 1500;
    st.read_faults = 90;
    st.faults = 100;
    st.fault_us[5] = 60;
    st.fault_us[6] = 38;
    st.fault_us[12] = 2;
    check_json(
        stats_tree_target(&st, "n2"),
        "{\"node\":\"n2\",\"receivedBytes\":99,\"mode\":\"PostCopy\",\"channels\":1,\"encrypted\":"
        "false,\"tls\":\"\",\"reconnects\":0,\"pathMtuBytes\":0,\"cpuMs\":0,\"downtime\":{"
        "\"loadMs\":0.01,"
        "\"commitMs\":0.02,"
        "\"resumeMs\":0.03},\"postCopyMs\":1.5,\"faults\":100,\"faultP50Us\":32,\"faultP99Us\":"
        "4096,\"faultHistogram\":[{\"belowUs\":32,\"count\":60},{\"belowUs\":64,\"count\":38},"
        "{\"belowUs\":4096,\"count\":2}],\"readFaults\":90}");
}

static void
test_quantiles(void **state)
{
    struct mig_stats st = {0};

    (void)state;
    assert_int_equal(stats_fault_quantile_us(&st, 500), 0);
    st.fault_us[3] = 99;
    st.fault_us[20] = 1;
    assert_int_equal(stats_fault_quantile_us(&st, 500), 8);
    assert_int_equal(stats_fault_quantile_us(&st, 990), 8);
    assert_int_equal(stats_fault_quantile_us(&st, 991), 1 << 20);
    assert_int_equal(stats_fault_quantile_us(&st, 1000), 1 << 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress),  cmocka_unit_test(test_result_after_asking),
        cmocka_unit_test(test_result),    cmocka_unit_test(test_result_of_an_earlier_life),
        cmocka_unit_test(test_target),    cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_transport),
    };

    return cmocka_run_group_tests_name("figures as JSON", tests, NULL, NULL);
}
