/* A source that wants windows of the target's memory (WINDOWS_WANTED) and gives them back as it likes,
 * over the double of the device: no more is registered than may be, it writes only where a window is
 * open, each window that is wanted is answered once, and at the end nothing is registered and every page
 * that no frame has vouched for is zero. An input is a list of: what to do (1 byte), stripe (1), more
 * (1). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/bits.h"
#include "migrate/rdma_nic.h"
#include "migrate/target_int.h"
#include "tests/migrate/verbs_double.h"

#define MIB     (1ull << 20)
#define STRIPES 16
#define DEAD_US 60000000
#define DIE()   (fprintf(stderr, "%s:%d\n", __FILE__, __LINE__), abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t region_bytes[] = {5 * MIB, 8 * MIB, MIB + 3 * LAYOUT_PAGE_BYTES};

struct hostile {
    struct mig_target t;
    int peer;                 /* its end of the control connection */
    bool open[STRIPES];       /* it was told so, and has not given it back */
    uint32_t length[STRIPES]; /* stripes of the window that begins here */
    uint64_t budget;
};

static uint8_t *
page_at(const struct hostile *h, uint64_t page)
{
    const struct layout *l = &h->t.layout;
    uint64_t stripe = page / LAYOUT_STRIPE_PAGES, offset;
    uint32_t region, bytes;

    layout_stripe(l, stripe, &region, &offset, &bytes);
    return h->t.regions[region].map + offset + page % LAYOUT_STRIPE_PAGES * LAYOUT_PAGE_BYTES;
}

static uint64_t
pages_of(const struct hostile *h, uint64_t stripe)
{
    uint64_t offset;
    uint32_t region, bytes;

    layout_stripe(&h->t.layout, stripe, &region, &offset, &bytes);
    return bytes / LAYOUT_PAGE_BYTES;
}

static void
up(struct hostile *h)
{
    struct layout_region regions[3];
    struct mig_target *t = &h->t;
    int fd[2];

    for (uint32_t i = 0; i < 3; i++) {
        struct guest_region *r = &t->regions[i];

        regions[i] =
            (struct layout_region){.size_bytes = region_bytes[i], .page_bytes = LAYOUT_PAGE_BYTES};
        r->size = region_bytes[i];
        r->memfd = memfd_create("fuzz", MFD_CLOEXEC);
        if (r->memfd < 0 || ftruncate(r->memfd, (off_t)r->size) != 0)
            DIE();
        r->map = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
    }
    t->regions_len = 3;
    if (layout_init(&t->layout, regions, 3, 1, NULL) != 0 || t->layout.stripes > STRIPES)
        DIE();
    pthread_mutex_init(&t->mu, NULL);
    pthread_mutex_init(&t->write_mu, NULL);
    t->received = xcalloc(t->layout.stripes * LAYOUT_STRIPE_PAGES / 64, sizeof *t->received);
    target_direct_init(t);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0 ||
        ctl_new(conn_plain(fd[0]), 1, DEAD_US, &t->ctl, NULL) != 0 ||
        nic_open(rdma_test_ip(), "", &t->nic, NULL) != 0)
        DIE();
    h->peer = fd[1];
    t->lanes = true;
    t->cfg.rdma_window_bytes = h->budget;
    if (target_rdma_open(t) != 0)
        DIE();
}

static void
down(struct hostile *h)
{
    static uint8_t
        content[2][LAYOUT_PAGE_BYTES]; /* of pages that were never vouched for, and others */
    struct mig_target *t = &h->t;
    struct verbs_counts n;

    memset(content[1], 7, sizeof content[1]);
    target_rdma_free(t);
    verbs_counts(&n);
    if (n.mrs > 0)
        DIE();
    for (uint64_t page = 0; page < t->layout.stripes * LAYOUT_STRIPE_PAGES; page++) {
        if (page % LAYOUT_STRIPE_PAGES >= pages_of(h, page / LAYOUT_STRIPE_PAGES))
            continue;
        if (memcmp(page_at(h, page), content[bits_test(t->received, page)], LAYOUT_PAGE_BYTES) != 0)
            DIE();
    }
    ctl_free(t->ctl);
    nic_close(t->nic);
    close(h->peer);
    for (uint32_t i = 0; i < 3; i++) {
        munmap(t->regions[i].map, t->regions[i].size);
        close(t->regions[i].memfd);
    }
    free(t->received);
    free(t->stripe_state);
    pthread_mutex_destroy(&t->mu);
    pthread_mutex_destroy(&t->write_mu);
    if (verbs_reset())
        DIE();
}

/* --- what the source does --- */

static void
get(int fd, void *buf, size_t len)
{
    if (len > 0 && recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len)
        DIE();
}

static void
take_answer(struct hostile *h, const struct control_window *w)
{
    uint64_t stripe = w->first_page / LAYOUT_STRIPE_PAGES;

    if (w->first_page % LAYOUT_STRIPE_PAGES || stripe >= h->t.layout.stripes || h->open[stripe])
        DIE();
    if (!w->key)
        return;
    if (w->address != (uintptr_t)page_at(h, w->first_page))
        DIE();
    h->open[stripe] = true;
    h->length[stripe] = 0;
    for (uint64_t pages = 0; pages < w->pages; pages += pages_of(h, stripe + h->length[stripe]++))
        ;
}

static void
hear(struct hostile *h, uint32_t answers)
{
    while (answers > 0) {
        uint8_t head[CONTROL_HEADER_SIZE];
        struct control_header c;
        struct control_msg m;

        get(h->peer, head, sizeof head);
        if (control_decode_header(head, &c, NULL) != 0)
            DIE();
        AUTO_FREE uint8_t *payload = xmalloc(c.length + 1);

        get(h->peer, payload, c.length);
        if (control_decode(&c, payload, &m, NULL) != 0)
            DIE();
        if (m.type == CONTROL_WINDOWS) {
            if (m.windows.len > answers)
                DIE();
            for (uint32_t i = 0; i < m.windows.len; i++)
                take_answer(h, &m.windows.windows[i]);
            answers -= m.windows.len;
        }
        control_msg_done(&m);
    }
}

/* more: how many stripes it says (0 to 3), and what is wrong with it. */
static int
say(struct hostile *h, uint64_t stripe, uint8_t more, bool give_back)
{
    struct control_window w = {.first_page = stripe * LAYOUT_STRIPE_PAGES};
    struct control_windows m = {0};
    int rc;

    for (uint64_t i = 0; i < (more & 3u) + 1 && stripe + i < h->t.layout.stripes; i++)
        w.pages += pages_of(h, stripe + i);
    w.first_page += more & 4 ? 1 : 0;
    w.pages += more & 8 ? 1 : 0;
    if (more & 16)
        w.first_page = UINT64_MAX - w.first_page;
    if (more & 32)
        w.pages = UINT64_MAX;
    if (give_back) {
        m.release = &w;
        m.release_len = 1;
    } else {
        m.windows = &w;
        m.len = 1;
    }
    rc = target_rdma_on_wanted(&h->t, &m);
    if (rc != 0 || stripe >= h->t.layout.stripes)
        return rc ? rc : -1;
    if (give_back)
        h->open[stripe] = false;
    else
        hear(h, 1);
    return 0;
}

/* Into a window, and it says so, or keeps it to itself. */
static void
place(struct hostile *h, uint64_t stripe, uint8_t more)
{
    for (uint64_t first = 0; first < h->t.layout.stripes; first++) {
        if (!h->open[first] || stripe < first || stripe >= first + h->length[first])
            continue;
        uint64_t page = stripe * LAYOUT_STRIPE_PAGES + more % pages_of(h, stripe);

        if (!target_rdma_may_place(&h->t, stripe))
            DIE();
        memset(page_at(h, page), 7, LAYOUT_PAGE_BYTES);
        if (more & 1)
            bits_set(h->t.received, page);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hostile *h = xcalloc(1, sizeof *h);
    int rc = 0;

    h->budget = (size > 0 ? 1 + data[0] % 8 : 4) * 2 * MIB;
    up(h);
    for (size_t i = 1; i + 3 <= size && i < 1000 && rc == 0; i += 3) {
        struct verbs_counts n;

        if (data[i] % 8 < 3)
            rc = say(h, data[i + 1] % (STRIPES + 1), data[i + 2], false);
        else if (data[i] % 8 < 5)
            rc = say(h, data[i + 1] % (STRIPES + 1), data[i + 2], true);
        else if (data[i] % 8 < 7)
            place(h, data[i + 1] % STRIPES, data[i + 2]);
        else
            target_rdma_round_done(&h->t);
        verbs_counts(&n);
        if (n.mr_bytes_most > h->budget)
            DIE();
    }
    down(h);
    free(h);
    return 0;
}
