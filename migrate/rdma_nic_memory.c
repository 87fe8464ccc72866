/* What a nic has registered; see rdma_nic.h. Registering populates and pins in the kernel, so it is done
 * outside of the lock. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sb.h"
#include "migrate/rdma_int.h"

static struct ibv_mr *register_once(struct nic *n, void *addr, size_t bytes, int access);
static void unlink_locked(struct nic_mr *m);
static void end(struct nic_mr *m);

int
nic_register(struct nic *n, void *addr, size_t bytes, unsigned access, struct nic_mr **ret,
             struct err *err)
{
    int flags = 0;
    struct ibv_mr *mr;
    struct nic_mr *m;

    /* The kernel wants the first for the second; what is only read by the peer stays read-only. */
    if (access & NIC_PEER_WRITES)
        flags |= IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    if (access & NIC_PEER_READS)
        flags |= IBV_ACCESS_REMOTE_READ;
    if (access == NIC_LOCAL)
        flags |= IBV_ACCESS_LOCAL_WRITE;
    if (access & NIC_ON_DEMAND)
        flags |= IBV_ACCESS_ON_DEMAND;
    mr = register_once(n, addr, bytes, flags);
    if (!mr && errno == ENOMEM)
        return err_set(err, -ENOMEM,
                       "RDMA: %zu bytes cannot be locked: over the limit of locked memory "
                       "(RLIMIT_MEMLOCK; %llu bytes are registered), or no memory is left",
                       bytes, (unsigned long long)nic_registered_bytes(n));
    if (!mr)
        return err_set(err, -errno, "RDMA: register %zu bytes at %s: %s", bytes, n->facts.device,
                       strerror(errno));
    m = xcalloc(1, sizeof *m);
    *m = (struct nic_mr){.nic = n, .mr = mr, .bytes = bytes, .pinned = !(access & NIC_ON_DEMAND)};
    if (m->pinned)
        atomic_fetch_add(&n->pinned_bytes, bytes);
    pthread_mutex_lock(&n->mu);
    m->next = n->mrs;
    if (m->next)
        m->next->prev = m;
    n->mrs = m;
    pthread_mutex_unlock(&n->mu);
    *ret = m;
    return 0;
}

void
nic_unregister(struct nic_mr *m)
{
    struct nic *n;

    if (!m)
        return;
    n = m->nic;
    pthread_mutex_lock(&n->mu);
    unlink_locked(m);
    pthread_mutex_unlock(&n->mu);
    end(m);
}

void
nic_unregister_all(struct nic *n)
{
    struct nic_mr *m;

    while ((m = n->mrs)) {
        n->mrs = m->next;
        end(m);
    }
}

uint64_t
nic_mr_address(const struct nic_mr *m)
{
    return (uint64_t)(uintptr_t)m->mr->addr;
}

uint32_t
nic_mr_key(const struct nic_mr *m)
{
    return m->mr->rkey;
}

uint64_t
nic_registered_bytes(const struct nic *n)
{
    return atomic_load(&n->pinned_bytes);
}

/* Key 0 means "none" between handlers: whoever gets it asks for another while it holds that one. */
static struct ibv_mr *
register_once(struct nic *n, void *addr, size_t bytes, int access)
{
    struct ibv_mr *mr;

    /* A guest's memory has its pages elsewhere already: looked at for reading they are mapped here 16 at a
     * time, and writable; the device's driver would fault for each. */
    if (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ) &&
        !(access & IBV_ACCESS_ON_DEMAND))
        (void)madvise(addr, bytes, MADV_POPULATE_READ);
    mr = ibv_reg_mr(n->pd, addr, bytes, access);

    if (mr && mr->rkey == 0) {
        struct ibv_mr *other = ibv_reg_mr(n->pd, addr, bytes, access);
        int rc = errno;

        ibv_dereg_mr(mr);
        errno = rc;
        mr = other;
    }
    return mr;
}

static void
unlink_locked(struct nic_mr *m)
{
    if (m->next)
        m->next->prev = m->prev;
    if (m->prev)
        m->prev->next = m->next;
    else
        m->nic->mrs = m->next;
}

/* A device that is gone says no, and reaches nothing any more either. */
static void
end(struct nic_mr *m)
{
    ibv_dereg_mr(m->mr);
    if (m->pinned)
        atomic_fetch_sub(&m->nic->pinned_bytes, m->bytes);
    free(m);
}
