/* Plain structs to control frames; see control.h and control.proto. */
#include "proto/control.h"

#include <assert.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "proto/control_wire.h"
#include "proto/sum.h"
#include "proto/wire.h"

static void put_header(uint8_t p[CONTROL_HEADER_SIZE], const struct control_header *h);
static void put_hello(struct sb *out, const struct control_hello *h);
static void put_round_end(struct sb *out, const struct control_round_end *r);
static void put_round_done(struct sb *out, const struct control_round_done *r);
static void put_text(struct sb *out, const struct control_msg *m);
static void put_missing(struct sb *out, const struct control_missing *m);
static void put_windows(struct sb *out, const struct control_msg *m);

static const char *const type_names[] = {
    [CONTROL_HELLO] = "HELLO",
    [CONTROL_ACCEPT] = "ACCEPT",
    [CONTROL_ROUND_BEGIN] = "ROUND_BEGIN",
    [CONTROL_ROUND_END] = "ROUND_END",
    [CONTROL_ROUND_DONE] = "ROUND_DONE",
    [CONTROL_STATE] = "STATE",
    [CONTROL_FINISH] = "FINISH",
    [CONTROL_PREPARED] = "PREPARED",
    [CONTROL_COMMIT] = "COMMIT",
    [CONTROL_RUNNING] = "RUNNING",
    [CONTROL_ABORT] = "ABORT",
    [CONTROL_QUESTION] = "QUESTION",
    [CONTROL_ANSWER] = "ANSWER",
    [CONTROL_HEARTBEAT] = "HEARTBEAT",
    [CONTROL_ERROR] = "ERROR",
    [CONTROL_DIGESTS] = "DIGESTS",
    [CONTROL_COMPARED] = "COMPARED",
    [CONTROL_MISSING] = "MISSING",
    [CONTROL_COMPLETE] = "COMPLETE",
    [CONTROL_BYE] = "BYE",
    [CONTROL_RDMA_OFF] = "RDMA_OFF",
    [CONTROL_WINDOWS_WANTED] = "WINDOWS_WANTED",
    [CONTROL_WINDOWS] = "WINDOWS",
};

const char *
control_type_name(enum control_type t)
{
    if ((unsigned)t >= ARRAY_LEN(type_names) || !type_names[t])
        return "?";
    return type_names[t];
}

/* Packs a protobuf message behind what out holds. */
static void
put(struct sb *out, const ProtobufCMessage *pb)
{
    size_t size = protobuf_c_message_get_packed_size(pb);
    AUTO_FREE uint8_t *buf = xmalloc(size + 1);

    assert(size <= CONTROL_MAX_PAYLOAD);
    protobuf_c_message_pack(pb, buf);
    sb_add(out, buf, size);
}

/* The generated structs take pointers to non-const; packing does not write through them. */
static char *
unconst(const char *s)
{
    return (char *)(uintptr_t)s;
}

void
control_encode(struct sb *out, const struct control_msg *m)
{
    uint8_t head[CONTROL_HEADER_SIZE] = {0};
    size_t at = out->len;

    sb_add(out, head, sizeof head);
    switch (m->type) {
    case CONTROL_HELLO:
        put_hello(out, &m->hello);
        break;
    case CONTROL_ACCEPT: {
        Drover__Accept pb;

        drover__accept__init(&pb);
        pb.version = m->accept.version;
        pb.capabilities = m->accept.capabilities;
        pb.channels = m->accept.channels;
        pb.urgent = m->accept.urgent;
        pb.token.len = CONTROL_TOKEN_SIZE;
        pb.token.data = (uint8_t *)(uintptr_t)m->accept.token;

        Drover__Rdma rdma;

        drover__rdma__init(&rdma);
        rdma.port = m->accept.rdma.port;
        rdma.token.len = CONTROL_TOKEN_SIZE;
        rdma.token.data = (uint8_t *)(uintptr_t)m->accept.rdma.token;
        rdma.window_bytes = m->accept.rdma.window_bytes;
        rdma.why = unconst(m->accept.rdma.why);
        pb.rdma = m->accept.has_rdma ? &rdma : NULL;
        put(out, &pb.base);
        break;
    }
    case CONTROL_ROUND_BEGIN: {
        Drover__RoundBegin pb;

        drover__round_begin__init(&pb);
        pb.round = m->round_begin.round;
        pb.paused = m->round_begin.paused;
        pb.pages = m->round_begin.pages;
        put(out, &pb.base);
        break;
    }
    case CONTROL_ROUND_END:
        put_round_end(out, &m->round_end);
        break;
    case CONTROL_ROUND_DONE:
    case CONTROL_COMPARED: /* the same fields */
        put_round_done(out, &m->round_done);
        break;
    case CONTROL_DIGESTS: {
        Drover__Digests pb;

        drover__digests__init(&pb);
        assert(m->digests.len <= CONTROL_MAX_DIGESTS);
        pb.round = m->digests.round;
        pb.first_stripe = m->digests.first_stripe;
        pb.n_sums = m->digests.len;
        pb.sums = m->digests.sums;
        put(out, &pb.base);
        break;
    }
    case CONTROL_STATE: {
        Drover__State pb;

        drover__state__init(&pb);
        assert(m->state.len <= CONTROL_STATE_CHUNK);
        pb.offset_bytes = m->state.offset;
        pb.data.len = m->state.len;
        pb.data.data = m->state.data;
        put(out, &pb.base);
        break;
    }
    case CONTROL_FINISH: {
        Drover__Finish pb;

        drover__finish__init(&pb);
        pb.round = m->finish.round;
        pb.state_bytes = m->finish.state_bytes;
        pb.state_sum = m->finish.state_sum;
        pb.post_copy = m->finish.post_copy;
        pb.missing_pages = m->finish.missing_pages;
        put(out, &pb.base);
        break;
    }
    case CONTROL_QUESTION: {
        Drover__Question pb;

        drover__question__init(&pb);
        pb.vmi_uid = unconst(m->question.vmi_uid);
        pb.migration_uid = unconst(m->question.migration_uid);
        pb.commit = m->question.commit;
        put(out, &pb.base);
        break;
    }
    case CONTROL_ABORT:
    case CONTROL_ANSWER:
    case CONTROL_ERROR:
    case CONTROL_RDMA_OFF:
        put_text(out, m);
        break;
    case CONTROL_WINDOWS_WANTED:
    case CONTROL_WINDOWS:
        put_windows(out, m);
        break;
    case CONTROL_HEARTBEAT: {
        Drover__Heartbeat pb;

        drover__heartbeat__init(&pb);
        pb.seq = m->heartbeat_seq;
        put(out, &pb.base);
        break;
    }
    case CONTROL_MISSING:
        put_missing(out, &m->missing);
        break;
    case CONTROL_PREPARED:
    case CONTROL_COMMIT:
    case CONTROL_RUNNING:
    case CONTROL_COMPLETE:
    case CONTROL_BYE:
        break; /* no fields */
    }

    uint8_t *p = (uint8_t *)out->buf + at;
    size_t len = out->len - at - CONTROL_HEADER_SIZE;

    const struct control_header h = {.version = PROTO_VERSION,
                                     .type = m->type,
                                     .length = (uint32_t)len,
                                     .generation = m->generation};

    put_header(p, &h);
    wire_put32(p + 12, control_sum(&h, p + CONTROL_HEADER_SIZE));
}

uint32_t
control_sum(const struct control_header *h, const uint8_t *payload)
{
    uint8_t head[CONTROL_HEADER_SIZE];

    put_header(head, h);
    return (uint32_t)sum_bytes(payload, h->length, sum_bytes(head, sizeof head, 0));
}

/* All but the sum. */
static void
put_header(uint8_t p[CONTROL_HEADER_SIZE], const struct control_header *h)
{
    wire_put32(p, CONTROL_MAGIC);
    wire_put16(p + 4, (uint16_t)h->version);
    wire_put16(p + 6, (uint16_t)h->type);
    wire_put32(p + 8, h->length);
    wire_put32(p + 12, 0);
    wire_put64(p + 16, h->generation);
}

static void
put_hello(struct sb *out, const struct control_hello *h)
{
    Drover__Hello pb;
    Drover__Region regions[CONTROL_MAX_REGIONS], *list[CONTROL_MAX_REGIONS];

    drover__hello__init(&pb);
    assert(h->regions_len <= CONTROL_MAX_REGIONS);
    for (uint32_t i = 0; i < h->regions_len; i++) {
        drover__region__init(&regions[i]);
        regions[i].size_bytes = h->regions[i].size_bytes;
        regions[i].page_bytes = h->regions[i].page_bytes;
        list[i] = &regions[i];
    }
    pb.version_min = h->version_min;
    pb.version_max = h->version_max;
    pb.capabilities = h->capabilities;
    pb.vmi_uid = unconst(h->vmi_uid);
    pb.migration_uid = unconst(h->migration_uid);
    pb.n_regions = h->regions_len;
    pb.regions = list;
    pb.channels = h->channels;
    pb.stripe_bytes = h->stripe_bytes;
    pb.urgent = h->urgent;
    pb.resume = h->resume;
    pb.serve = h->serve;
    pb.epoch = h->epoch;
    pb.round = h->round;
    pb.rdma = h->rdma;
    put(out, &pb.base);
}

static void
put_round_end(struct sb *out, const struct control_round_end *r)
{
    Drover__RoundEnd pb;
    Drover__ChannelTotals totals[CONTROL_MAX_CHANNELS], *list[CONTROL_MAX_CHANNELS];

    drover__round_end__init(&pb);
    assert(r->channels <= CONTROL_MAX_CHANNELS);
    for (uint32_t i = 0; i < r->channels; i++) {
        drover__channel_totals__init(&totals[i]);
        totals[i].batches = r->totals[i].batches;
        totals[i].raw_pages = r->totals[i].raw_pages;
        totals[i].zero_pages = r->totals[i].zero_pages;
        list[i] = &totals[i];
    }
    pb.round = r->round;
    pb.n_channels = r->channels;
    pb.channels = list;
    put(out, &pb.base);
}

static void
put_round_done(struct sb *out, const struct control_round_done *r)
{
    Drover__RoundDone pb;
    AUTO_FREE Drover__BadRun *runs = xcalloc(r->bad_len + 1, sizeof *runs);
    AUTO_FREE Drover__BadRun **list = xcalloc(r->bad_len + 1, sizeof *list);

    drover__round_done__init(&pb);
    assert(r->bad_len <= CONTROL_MAX_BAD_RUNS);
    for (uint32_t i = 0; i < r->bad_len; i++) {
        drover__bad_run__init(&runs[i]);
        runs[i].region = r->bad[i].region;
        runs[i].offset_bytes = r->bad[i].offset;
        runs[i].pages = r->bad[i].pages;
        list[i] = &runs[i];
    }
    pb.round = r->round;
    pb.more = r->more;
    pb.n_bad = r->bad_len;
    pb.bad = list;
    put(out, &pb.base);
}

static void
put_text(struct sb *out, const struct control_msg *m)
{
    if (m->type == CONTROL_ABORT) {
        Drover__Abort pb;

        drover__abort__init(&pb);
        pb.text = unconst(m->text.text);
        put(out, &pb.base);
    } else if (m->type == CONTROL_RDMA_OFF) {
        Drover__RdmaOff pb;

        drover__rdma_off__init(&pb);
        pb.text = unconst(m->text.text);
        put(out, &pb.base);
    } else if (m->type == CONTROL_ANSWER) {
        Drover__Answer pb;

        drover__answer__init(&pb);
        pb.state = (Drover__GuestState)m->text.code;
        pb.missing_pages = m->text.missing_pages;
        pb.text = unconst(m->text.text);
        put(out, &pb.base);
    } else {
        Drover__Error pb;

        drover__error__init(&pb);
        pb.code = (Drover__ErrorCode)m->text.code;
        pb.text = unconst(m->text.text);
        put(out, &pb.base);
    }
}

static void
put_missing(struct sb *out, const struct control_missing *m)
{
    Drover__Missing pb;
    AUTO_FREE uint8_t *bits = xmalloc(m->words * 8 + 1);

    drover__missing__init(&pb);
    assert(m->words * 8 <= CONTROL_MISSING_SIZE);
    for (size_t i = 0; i < m->words; i++)
        wire_put64(bits + i * 8, m->bits[i]);
    pb.first_page = m->first_page;
    pb.bits.len = m->words * 8;
    pb.bits.data = bits;
    pb.last = m->last;
    put(out, &pb.base);
}

static void
put_windows(struct sb *out, const struct control_msg *m)
{
    const struct control_windows *w = &m->windows;
    Drover__Window windows[2 * CONTROL_MAX_WINDOWS], *list[2 * CONTROL_MAX_WINDOWS];

    assert(w->len <= CONTROL_MAX_WINDOWS && w->release_len <= CONTROL_MAX_WINDOWS);
    for (uint32_t i = 0; i < w->len + w->release_len; i++) {
        const struct control_window *from = i < w->len ? &w->windows[i] : &w->release[i - w->len];

        drover__window__init(&windows[i]);
        windows[i].first_page = from->first_page;
        windows[i].pages = from->pages;
        windows[i].address = from->address;
        windows[i].key = from->key;
        list[i] = &windows[i];
    }
    if (m->type == CONTROL_WINDOWS) {
        Drover__Windows pb;

        drover__windows__init(&pb);
        pb.n_windows = w->len;
        pb.windows = list;
        put(out, &pb.base);
    } else {
        Drover__WindowsWanted pb;

        drover__windows_wanted__init(&pb);
        pb.n_want = w->len;
        pb.want = list;
        pb.n_release = w->release_len;
        pb.release = list + w->len;
        put(out, &pb.base);
    }
}
