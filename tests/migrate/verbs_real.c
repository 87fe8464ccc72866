/* verbs_double.h for programs that are linked with the real libraries: nothing is injected or counted. */
#include "tests/migrate/verbs_double.h"

#include <stdlib.h>
#include <string.h>

bool
verbs_is_double(void)
{
    return false;
}

const char *
rdma_test_ip(void)
{
    const char *ip = getenv("RDMA_TEST_IP");
    return ip && *ip ? ip : NULL;
}

bool
verbs_reset(void)
{
    return false;
}

void
verbs_counts(struct verbs_counts *ret)
{
    memset(ret, 0, sizeof *ret);
}

size_t
verbs_qps(struct verbs_qp *ret, size_t max)
{
    (void)ret, (void)max;
    return 0;
}

unsigned
verbs_struck(void)
{
    return 0;
}

bool
verbs_wait_work(enum ibv_wr_opcode kind, uint64_t n)
{
    (void)kind, (void)n;
    return true;
}

#define NOTHING(name, ...) \
    void name(__VA_ARGS__) \
    {                      \
    }
NOTHING(verbs_device_add, [[maybe_unused]] const char *ip)
NOTHING(verbs_device_remove, [[maybe_unused]] const char *ip)
NOTHING(verbs_set_on_demand, [[maybe_unused]] bool on)
NOTHING(verbs_set_write_imm, [[maybe_unused]] bool on)
NOTHING(verbs_set_read_depth, [[maybe_unused]] int n)
NOTHING(verbs_set_lock_limit, [[maybe_unused]] uint64_t bytes)
NOTHING(verbs_fail_call, [[maybe_unused]] const char *function, [[maybe_unused]] unsigned nth,
        [[maybe_unused]] int code)
NOTHING(verbs_fail_work, [[maybe_unused]] enum ibv_wr_opcode kind, [[maybe_unused]] unsigned nth,
        [[maybe_unused]] enum ibv_wc_status status)
NOTHING(verbs_short_read, [[maybe_unused]] unsigned nth, [[maybe_unused]] uint32_t bytes)
NOTHING(verbs_corrupt_write, [[maybe_unused]] unsigned nth)
NOTHING(verbs_black_hole, [[maybe_unused]] enum ibv_wr_opcode kind, [[maybe_unused]] unsigned nth,
        [[maybe_unused]] unsigned ms)
NOTHING(verbs_remove_at, [[maybe_unused]] enum ibv_wr_opcode kind, [[maybe_unused]] unsigned nth)
NOTHING(verbs_drop_disconnects, [[maybe_unused]] bool on)
NOTHING(verbs_reorder, [[maybe_unused]] uint64_t seed)
NOTHING(verbs_hold, [[maybe_unused]] uint32_t qp, [[maybe_unused]] bool on)
NOTHING(verbs_break, [[maybe_unused]] uint32_t qp)
