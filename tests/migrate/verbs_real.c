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

#define UNUSED __attribute__((unused))
#define NOTHING(name, ...) \
    void name(__VA_ARGS__) \
    {                      \
    }
NOTHING(verbs_device_add, UNUSED const char *ip)
NOTHING(verbs_device_remove, UNUSED const char *ip)
NOTHING(verbs_set_on_demand, UNUSED bool on)
NOTHING(verbs_set_write_imm, UNUSED bool on)
NOTHING(verbs_set_read_depth, UNUSED int n)
NOTHING(verbs_set_lock_limit, UNUSED uint64_t bytes)
NOTHING(verbs_fail_call, UNUSED const char *function, UNUSED unsigned nth, UNUSED int code)
NOTHING(verbs_fail_work, UNUSED enum ibv_wr_opcode kind, UNUSED unsigned nth,
        UNUSED enum ibv_wc_status status)
NOTHING(verbs_short_read, UNUSED unsigned nth, UNUSED uint32_t bytes)
NOTHING(verbs_corrupt_write, UNUSED unsigned nth)
NOTHING(verbs_black_hole, UNUSED enum ibv_wr_opcode kind, UNUSED unsigned nth, UNUSED unsigned ms)
NOTHING(verbs_remove_at, UNUSED enum ibv_wr_opcode kind, UNUSED unsigned nth)
NOTHING(verbs_drop_disconnects, UNUSED bool on)
NOTHING(verbs_reorder, UNUSED uint64_t seed)
NOTHING(verbs_hold, UNUSED uint32_t qp, UNUSED bool on)
NOTHING(verbs_break, UNUSED uint32_t qp)
