/* The store without a disk, for tests; see store.h. */
#include "control/store_impl.h"

static void
mem_commit(void *impl, const struct store_write *writes, size_t len, uint64_t rv)
{
    (void)writes;
    (void)len;
    (void)rv;
    store_committed(impl, 0, NULL);
}

static void
mem_wait(void *impl)
{
    (void)impl;
}

static void
mem_close(void *impl)
{
    (void)impl;
}

struct store *
store_open_mem(struct loop *loop)
{
    static const struct store_backend backend = {mem_commit, mem_wait, mem_close};
    struct store *st = store_new(loop, &backend, 1); /* the same uids and names in every run */

    st->impl = st;
    return st;
}
