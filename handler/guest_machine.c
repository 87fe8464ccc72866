/* The native guest's parts put together; see guest_machine.h. */
#include "handler/guest_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/sb.h"
#include "handler/guest_memory.h"
#include "handler/guest_vcpu.h"
#include "handler/guest_verify.h"

enum verify_phase { VERIFY_IDLE, VERIFY_STOPPING, VERIFY_RUNNING };

struct guest_machine {
    struct guest_memory mem;
    struct guest_config cfg;
    struct guest_vcpus *vcpus; /* NULL while incoming */
    int event_fd, uffd;
    unsigned throttle_percent;
    bool throttle_writers;
    enum verify_phase verify;
    pthread_t verify_thread;
    atomic_bool verify_cancel;
    /* the verify thread's until verify_done */
    struct guest_state verify_state;
    struct guest_verify_result verify_result;
    struct err verify_err;
    int verify_rc;
    atomic_bool verify_done;
};

static void
machine_auto(struct guest_machine **m)
{
    guest_machine_free(*m);
}

int
guest_machine_new(const struct guest_config *cfg, bool incoming, struct guest_machine **ret,
                  struct err *err)
{
    CLEANUP(machine_auto) struct guest_machine *m = xcalloc(1, sizeof(*m));
    struct guest_state st = {.config = *cfg};
    int r;

    m->cfg = *cfg;
    m->mem.fd = m->event_fd = m->uffd = -1;
    m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->event_fd < 0)
        return err_set(err, -errno, "eventfd: %s", strerror(errno));
    r = guest_memory_init(&m->mem, cfg->memory_bytes, err);
    if (r == 0 && !incoming)
        r = guest_memory_fill(&m->mem, cfg, err);
    if (r == 0 && !incoming)
        r = guest_vcpus_new(&st, false, m->mem.map, m->event_fd, &m->vcpus, err);
    if (r < 0)
        return r;
    if (m->vcpus)
        guest_vcpus_release(m->vcpus, GUEST_HOLD_CLIENT);
    *ret = TAKE_PTR(m);
    return 0;
}

bool
guest_machine_free(struct guest_machine *m)
{
    if (!m)
        return true;
    if (m->verify == VERIFY_RUNNING) {
        atomic_store(&m->verify_cancel, true);
        pthread_join(m->verify_thread, NULL);
    }
    if (!guest_vcpus_free(m->vcpus))
        return false;
    guest_machine_userfaultfd_close(m);
    guest_memory_done(&m->mem);
    if (m->event_fd >= 0)
        close(m->event_fd);
    free(m);
    return true;
}

int
guest_machine_eventfd(const struct guest_machine *m)
{
    return m->event_fd;
}

/* --- status, memory, userfaultfd --- */

void
guest_machine_status(struct guest_machine *m, struct guest_wire_status *ret)
{
    struct guest_counters c;
    unsigned holds;

    *ret = (struct guest_wire_status){.state = GUEST_STATE_INCOMING, .memory_bytes = m->mem.size};
    if (!m->vcpus)
        return;
    guest_vcpus_counters(m->vcpus, &c);
    holds = guest_vcpus_holds(m->vcpus);
    ret->state = GUEST_STATE_RUNNING;
    if (holds & GUEST_HOLD_CLIENT && guest_vcpus_stopped(m->vcpus))
        ret->state = GUEST_STATE_PAUSED;
    else if (holds & GUEST_HOLD_CLIENT)
        ret->flags |= GUEST_STATUS_PAUSING;
    if (m->verify != VERIFY_IDLE)
        ret->flags |= GUEST_STATUS_VERIFYING;
    if (c.downtime_known)
        ret->flags |= GUEST_STATUS_DOWNTIME_KNOWN;
    ret->rate_bytes_per_s = m->cfg.rate_bytes_per_s;
    ret->set_bytes = m->cfg.set_bytes;
    ret->fill_bytes = m->cfg.fill_bytes;
    ret->zero_bytes = m->cfg.zero_bytes;
    ret->steps = c.steps;
    ret->written_bytes = c.written_bytes;
    ret->checked_reads = c.checked_reads;
    ret->read_mismatches = c.read_mismatches;
    ret->resumes = c.resumes;
    ret->downtime_us = c.downtime_us;
    ret->last_gap_us = c.last_gap_us;
    ret->throttle_percent = m->throttle_percent;
    ret->throttle_writers = m->throttle_writers;
    ret->throttled_us = c.throttled_us;
    ret->vcpus = m->cfg.vcpus;
    snprintf(ret->workload, sizeof(ret->workload), "%s", guest_workload_names[m->cfg.workload]);
}

void
guest_machine_memory(const struct guest_machine *m, struct guest_wire_memory *ret, int *ret_fd)
{
    *ret = (struct guest_wire_memory){
        .hva = (uintptr_t)m->mem.map, .size = m->mem.size, .page_bytes = GUEST_PAGE_BYTES};
    *ret_fd = m->mem.fd;
}

int
guest_machine_userfaultfd(struct guest_machine *m, int *ret_fd, struct err *err)
{
    int fd;

    guest_machine_userfaultfd_close(m);
    fd = guest_memory_userfaultfd(err);
    if (fd < 0)
        return fd;
    *ret_fd = m->uffd = fd;
    return 0;
}

int
guest_machine_userfaultfd_kept(struct guest_machine *m, int *ret_fd, struct err *err)
{
    if (m->uffd < 0)
        return err_set(err, -ENOENT, "no userfaultfd is kept here");
    *ret_fd = m->uffd;
    return 0;
}

void
guest_machine_userfaultfd_close(struct guest_machine *m)
{
    if (m->uffd >= 0)
        close(m->uffd);
    m->uffd = -1;
}

/* --- pause, resume, state --- */

void
guest_machine_pause(struct guest_machine *m)
{
    if (m->vcpus)
        guest_vcpus_hold(m->vcpus, GUEST_HOLD_CLIENT);
}

bool
guest_machine_paused(struct guest_machine *m)
{
    return !m->vcpus ||
           (guest_vcpus_holds(m->vcpus) & GUEST_HOLD_CLIENT && guest_vcpus_stopped(m->vcpus));
}

int
guest_machine_resume(struct guest_machine *m, struct err *err)
{
    if (!m->vcpus)
        return err_set(err, -EINVAL, "cannot resume: this guest waits for its state");
    guest_vcpus_release(m->vcpus, GUEST_HOLD_CLIENT);
    guest_machine_verify_cancel(m);
    return 0;
}

bool
guest_machine_running(struct guest_machine *m)
{
    return m->vcpus && guest_vcpus_holds(m->vcpus) == 0;
}

int
guest_machine_save(struct guest_machine *m, uint8_t *buf, size_t *ret_len, struct err *err)
{
    struct guest_state st;

    if (!m->vcpus)
        return err_set(err, -EINVAL, "cannot save: this guest waits for its state");
    if (!guest_machine_paused(m))
        return err_set(err, -EBUSY, "cannot save: the guest is not paused");
    guest_vcpus_save(m->vcpus, &st);
    *ret_len = guest_state_encode(&st, buf);
    return 0;
}

int
guest_machine_load(struct guest_machine *m, const void *buf, size_t len, struct err *err)
{
    struct guest_state st;
    int r;

    if (m->vcpus)
        return err_set(err, -EBUSY, "cannot load: the guest has its state already");
    r = guest_state_decode(buf, len, m->mem.size, &st, err);
    if (r == 0)
        r = guest_vcpus_new(&st, true, m->mem.map, m->event_fd, &m->vcpus, err);
    if (r < 0)
        return r;
    m->cfg = st.config;
    return 0;
}

int
guest_machine_set_rate(struct guest_machine *m, uint64_t bytes_per_s, struct err *err)
{
    if (!m->vcpus)
        return err_set(err, -EINVAL, "cannot set the rate: this guest waits for its state");
    if (bytes_per_s > GUEST_MAX_RATE)
        return err_set(err, -EINVAL, "rate of %" PRIu64 " bytes a second: at most %llu",
                       bytes_per_s, GUEST_MAX_RATE);
    m->cfg.rate_bytes_per_s = bytes_per_s;
    guest_vcpus_set_rate(m->vcpus, bytes_per_s);
    return 0;
}

int
guest_machine_throttle(struct guest_machine *m, unsigned percent, bool writers, struct err *err)
{
    if (percent > 99)
        return err_set(err, -EINVAL, "throttle: %u percent: want 0 to 99", percent);
    if (!m->vcpus)
        return percent ? err_set(err, -EINVAL, "throttle: the guest waits for its state") : 0;
    guest_vcpus_throttle(m->vcpus, percent, writers);
    m->throttle_percent = percent;
    m->throttle_writers = writers && percent;
    return 0;
}

/* --- verify --- */

static void *
verify_main(void *arg)
{
    struct guest_machine *m = arg;
    uint64_t steps[GUEST_MAX_VCPUS], one = 1;
    struct guest_verify_input in = {.cfg = &m->verify_state.config,
                                    .steps = steps,
                                    .map = m->mem.map,
                                    .memfd = m->mem.fd,
                                    .cancel = &m->verify_cancel};
    ssize_t n;

    for (uint32_t v = 0; v < m->verify_state.config.vcpus; v++)
        steps[v] = m->verify_state.vcpus[v].steps;
    m->verify_rc = guest_verify_run(&in, &m->verify_result, &m->verify_err);
    atomic_store(&m->verify_done, true);
    n = write(m->event_fd, &one, sizeof(one));
    (void)n; /* full means that the reader has yet to look */
    return NULL;
}

static void
verify_end(struct guest_machine *m)
{
    m->verify = VERIFY_IDLE;
    guest_vcpus_release(m->vcpus, GUEST_HOLD_VERIFY);
}

static void
verify_start(struct guest_machine *m)
{
    int r;

    guest_vcpus_save(m->vcpus, &m->verify_state);
    m->verify_result = (struct guest_verify_result){0};
    m->verify_err = (struct err){0};
    atomic_store(&m->verify_done, false);
    m->verify = VERIFY_RUNNING;
    r = pthread_create(&m->verify_thread, NULL, verify_main, m);
    if (r == 0)
        return;
    m->verify_rc = err_set(&m->verify_err, -r, "cannot start a thread: %s", strerror(r));
    verify_end(m);
}

void
guest_machine_poll(struct guest_machine *m)
{
    uint64_t n;
    ssize_t got = read(m->event_fd, &n, sizeof(n));

    (void)got; /* only a hint */
    if (m->verify == VERIFY_STOPPING && atomic_load(&m->verify_cancel)) {
        m->verify_rc = err_set(&m->verify_err, -ECANCELED, "verify: cut short by another request");
        verify_end(m);
    } else if (m->verify == VERIFY_STOPPING && guest_vcpus_stopped(m->vcpus)) {
        verify_start(m);
    } else if (m->verify == VERIFY_RUNNING && atomic_load(&m->verify_done)) {
        pthread_join(m->verify_thread, NULL);
        verify_end(m);
    }
}

int
guest_machine_verify(struct guest_machine *m, struct err *err)
{
    if (!m->vcpus)
        return err_set(err, -EINVAL, "cannot verify: this guest waits for its state");
    if (m->verify != VERIFY_IDLE)
        return err_set(err, -EBUSY, "a verify is under way already");
    atomic_store(&m->verify_cancel, false);
    m->verify = VERIFY_STOPPING;
    guest_vcpus_hold(m->vcpus, GUEST_HOLD_VERIFY);
    guest_machine_poll(m);
    return 0;
}

bool
guest_machine_verifying(const struct guest_machine *m)
{
    return m->verify != VERIFY_IDLE;
}

void
guest_machine_verify_cancel(struct guest_machine *m)
{
    if (m->verify == VERIFY_IDLE)
        return;
    atomic_store(&m->verify_cancel, true);
    guest_machine_poll(m);
}

int
guest_machine_verify_result(const struct guest_machine *m, struct guest_wire_verify *ret,
                            struct err *err)
{
    struct guest_counters c;
    const struct guest_verify_result *v = &m->verify_result;

    if (m->verify_rc < 0)
        return err_set(err, m->verify_rc, "%s", err_msg(&m->verify_err));
    guest_vcpus_counters(m->vcpus, &c);
    *ret = (struct guest_wire_verify){
        .pages = v->pages, .present_pages = v->present_pages, .bad_pages = v->bad_pages};
    for (uint32_t i = 0; i < m->verify_state.config.vcpus; i++) {
        ret->steps += m->verify_state.vcpus[i].steps;
        ret->read_mismatches += m->verify_state.vcpus[i].read_mismatches;
    }
    ret->ok = v->bad_pages == 0 && ret->read_mismatches == 0;
    if (v->bad_pages > 0)
        snprintf(ret->text, sizeof(ret->text), "%" PRIu64 " bad pages; %s", v->bad_pages, v->text);
    else if (!ret->ok && c.first_mismatch[0])
        snprintf(ret->text, sizeof(ret->text), "%" PRIu64 " bad reads; %s", ret->read_mismatches,
                 c.first_mismatch);
    else if (!ret->ok)
        snprintf(ret->text, sizeof(ret->text), "%" PRIu64 " bad reads on another host",
                 ret->read_mismatches);
    return 0;
}
