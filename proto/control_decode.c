/* Control frames to plain structs. What comes in is hostile until it is decoded: the frame is
 * checked before it is unpacked, and every field afterwards. See control.h and control.proto. */
#include "proto/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "proto/control_wire.h"
#include "proto/wire.h"

typedef int decode_fn(const void *pb, struct control_msg *m, struct err *err);

static decode_fn get_hello, get_accept, get_round_begin, get_round_end, get_round_done, get_state,
    get_finish, get_digests, get_compared, get_nothing, get_abort, get_question, get_answer,
    get_heartbeat, get_error, get_missing, get_rdma_off, get_wanted, get_windows;

static const struct {
    const ProtobufCMessageDescriptor *descriptor;
    decode_fn *decode;
} types[] = {
    [CONTROL_HELLO] = {&drover__hello__descriptor, get_hello},
    [CONTROL_ACCEPT] = {&drover__accept__descriptor, get_accept},
    [CONTROL_ROUND_BEGIN] = {&drover__round_begin__descriptor, get_round_begin},
    [CONTROL_ROUND_END] = {&drover__round_end__descriptor, get_round_end},
    [CONTROL_ROUND_DONE] = {&drover__round_done__descriptor, get_round_done},
    [CONTROL_STATE] = {&drover__state__descriptor, get_state},
    [CONTROL_FINISH] = {&drover__finish__descriptor, get_finish},
    [CONTROL_PREPARED] = {&drover__prepared__descriptor, get_nothing},
    [CONTROL_COMMIT] = {&drover__commit__descriptor, get_nothing},
    [CONTROL_RUNNING] = {&drover__running__descriptor, get_nothing},
    [CONTROL_ABORT] = {&drover__abort__descriptor, get_abort},
    [CONTROL_QUESTION] = {&drover__question__descriptor, get_question},
    [CONTROL_ANSWER] = {&drover__answer__descriptor, get_answer},
    [CONTROL_HEARTBEAT] = {&drover__heartbeat__descriptor, get_heartbeat},
    [CONTROL_ERROR] = {&drover__error__descriptor, get_error},
    [CONTROL_DIGESTS] = {&drover__digests__descriptor, get_digests},
    [CONTROL_COMPARED] = {&drover__compared__descriptor, get_compared},
    [CONTROL_MISSING] = {&drover__missing__descriptor, get_missing},
    [CONTROL_COMPLETE] = {&drover__complete__descriptor, get_nothing},
    [CONTROL_BYE] = {&drover__bye__descriptor, get_nothing},
    [CONTROL_RDMA_OFF] = {&drover__rdma_off__descriptor, get_rdma_off},
    [CONTROL_WINDOWS_WANTED] = {&drover__windows_wanted__descriptor, get_wanted},
    [CONTROL_WINDOWS] = {&drover__windows__descriptor, get_windows},
};

static int get_rdma(const Drover__Rdma *p, struct control_accept *a, struct err *err);
static int get_window_list(Drover__Window *const *from, size_t n, struct control_window **ret,
                           uint32_t *ret_len, struct err *err);
static int get_bad(uint32_t round, size_t n, Drover__BadRun *const *bad, bool more,
                   struct control_round_done *r, struct err *err);
static int get_uid(char out[CONTROL_UID_SIZE], const char *s, const char *field, struct err *err);
static void get_text(char out[CONTROL_TEXT_SIZE], const char *s);

int
control_decode_header(const uint8_t buf[CONTROL_HEADER_SIZE], struct control_header *ret,
                      struct err *err)
{
    struct control_header h = {.version = wire_get16(buf + 4),
                               .type = wire_get16(buf + 6),
                               .length = wire_get32(buf + 8),
                               .sum = wire_get32(buf + 12),
                               .generation = wire_get64(buf + 16)};

    if (!control_is_frame(buf))
        return err_set(err, -EPROTO, "control: not a drover stream (magic %#010x)",
                       wire_get32(buf));
    if (h.version < PROTO_VERSION_MIN || h.version > PROTO_VERSION)
        return err_set(err, -EPROTO, "control: version %u: want %d to %d", h.version,
                       PROTO_VERSION_MIN, PROTO_VERSION);
    if ((unsigned)h.type >= ARRAY_LEN(types) || !types[h.type].descriptor)
        return err_set(err, -EPROTO, "control: unknown message type %d", (int)h.type);
    if (h.length > CONTROL_MAX_PAYLOAD)
        return err_set(err, -EPROTO, "control: message of %u bytes: at most %u", h.length,
                       CONTROL_MAX_PAYLOAD);
    *ret = h;
    return 0;
}

int
control_decode(const struct control_header *h, const uint8_t *payload, struct control_msg *ret,
               struct err *err)
{
    const char *name = control_type_name(h->type);

    if (control_sum(h, payload) != h->sum)
        return err_set(err, -EPROTO, "control: %s: bad checksum", name);

    ProtobufCMessage *pb =
        protobuf_c_message_unpack(types[h->type].descriptor, NULL, h->length, payload);

    if (!pb)
        return err_set(err, -EPROTO, "control: %s: cannot be unpacked", name);

    struct control_msg m = {.type = h->type, .generation = h->generation};
    int rc = types[h->type].decode(pb, &m, err);

    protobuf_c_message_free_unpacked(pb, NULL);
    if (rc != 0)
        return err_prefix(err, rc, "control: %s", name);
    *ret = m;
    return 0;
}

void
control_msg_done(struct control_msg *m)
{
    if (m->type == CONTROL_DIGESTS)
        free(m->digests.sums);
    else if (m->type == CONTROL_ROUND_DONE || m->type == CONTROL_COMPARED)
        free(m->round_done.bad);
    else if (m->type == CONTROL_STATE)
        free(m->state.data);
    else if (m->type == CONTROL_MISSING)
        free(m->missing.bits);
    else if (m->type == CONTROL_WINDOWS || m->type == CONTROL_WINDOWS_WANTED) {
        free(m->windows.windows);
        free(m->windows.release);
    }
    m->type = 0;
}

bool
control_is_frame(const uint8_t magic[4])
{
    return wire_get32(magic) == CONTROL_MAGIC;
}

static int
get_hello(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Hello *p = pb;
    struct control_hello *h = &m->hello;
    struct layout l;
    int rc;

    if (p->n_regions > CONTROL_MAX_REGIONS)
        return err_set(err, -EPROTO, "%zu regions: at most %d", p->n_regions, CONTROL_MAX_REGIONS);
    h->regions_len = (uint32_t)p->n_regions;
    for (size_t i = 0; i < p->n_regions; i++) {
        h->regions[i].size_bytes = p->regions[i]->size_bytes;
        h->regions[i].page_bytes = p->regions[i]->page_bytes;
    }
    h->channels = p->channels;
    rc = layout_init(&l, h->regions, h->regions_len, h->channels, err);
    if (rc != 0) {
        if (err)
            err->code = -EPROTO; /* the peer's mistake, not the caller's */
        return err_prefix(err, -EPROTO, "memory");
    }
    if (p->stripe_bytes != LAYOUT_STRIPE_BYTES)
        return err_set(err, -EPROTO, "stripes of %u bytes: want %u", p->stripe_bytes,
                       LAYOUT_STRIPE_BYTES);
    if (p->version_min > p->version_max)
        return err_set(err, -EPROTO, "versions %u to %u", p->version_min, p->version_max);
    h->version_min = p->version_min;
    h->version_max = p->version_max;
    h->capabilities = p->capabilities;
    h->stripe_bytes = p->stripe_bytes;
    if (p->epoch == 0 || p->resume != (p->epoch > 1) || (p->serve && !(p->resume && p->urgent)))
        return err_set(err, -EPROTO, "connection %u, resume %d, serve %d", p->epoch, p->resume,
                       p->serve);
    h->urgent = p->urgent;
    h->resume = p->resume;
    h->serve = p->serve;
    h->epoch = p->epoch;
    h->round = p->round;
    h->rdma = p->rdma;
    rc = get_uid(h->vmi_uid, p->vmi_uid, "vmi_uid", err);
    return rc ? rc : get_uid(h->migration_uid, p->migration_uid, "migration_uid", err);
}

static int
get_accept(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Accept *p = pb;

    if (p->token.len != CONTROL_TOKEN_SIZE)
        return err_set(err, -EPROTO, "token of %zu bytes: want %d", p->token.len,
                       CONTROL_TOKEN_SIZE);
    if (p->version < PROTO_VERSION_MIN || p->version > PROTO_VERSION)
        return err_set(err, -EPROTO, "version %u: want %d to %d", p->version, PROTO_VERSION_MIN,
                       PROTO_VERSION);
    m->accept.version = p->version;
    m->accept.capabilities = p->capabilities;
    m->accept.channels = p->channels;
    m->accept.urgent = p->urgent;
    memcpy(m->accept.token, p->token.data, CONTROL_TOKEN_SIZE);
    return p->rdma ? get_rdma(p->rdma, &m->accept, err) : 0;
}

static int
get_rdma(const Drover__Rdma *p, struct control_accept *a, struct err *err)
{
    if (p->port > UINT16_MAX)
        return err_set(err, -EPROTO, "rdma: port %u: at most %u", p->port, UINT16_MAX);
    if (p->token.len != CONTROL_TOKEN_SIZE)
        return err_set(err, -EPROTO, "rdma: token of %zu bytes: want %d", p->token.len,
                       CONTROL_TOKEN_SIZE);
    a->has_rdma = true;
    a->rdma.port = (uint16_t)p->port;
    a->rdma.window_bytes = p->window_bytes;
    memcpy(a->rdma.token, p->token.data, CONTROL_TOKEN_SIZE);
    get_text(a->rdma.why, p->why);
    return 0;
}

static int
get_round_begin(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__RoundBegin *p = pb;

    if (p->round == 0)
        return err_set(err, -EPROTO, "round 0");
    m->round_begin.round = p->round;
    m->round_begin.paused = p->paused;
    m->round_begin.pages = p->pages;
    return 0;
}

static int
get_round_end(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__RoundEnd *p = pb;
    struct control_round_end *r = &m->round_end;

    if (p->n_channels < 1 || p->n_channels > CONTROL_MAX_CHANNELS)
        return err_set(err, -EPROTO, "%zu channels: want 1 to %d", p->n_channels,
                       CONTROL_MAX_CHANNELS);
    if (p->round == 0)
        return err_set(err, -EPROTO, "round 0");
    r->round = p->round;
    r->channels = (uint32_t)p->n_channels;
    for (size_t i = 0; i < p->n_channels; i++) {
        r->totals[i].batches = p->channels[i]->batches;
        r->totals[i].raw_pages = p->channels[i]->raw_pages;
        r->totals[i].zero_pages = p->channels[i]->zero_pages;
    }
    return 0;
}

static int
get_round_done(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__RoundDone *p = pb;

    return get_bad(p->round, p->n_bad, p->bad, p->more, &m->round_done, err);
}

static int
get_compared(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Compared *p = pb;

    return get_bad(p->round, p->n_bad, p->bad, p->more, &m->round_done, err);
}

static int
get_bad(uint32_t round, size_t n, Drover__BadRun *const *bad, bool more,
        struct control_round_done *r, struct err *err)
{
    if (n > CONTROL_MAX_BAD_RUNS)
        return err_set(err, -EPROTO, "%zu bad runs: at most %d", n, CONTROL_MAX_BAD_RUNS);
    if (round == 0)
        return err_set(err, -EPROTO, "round 0");
    r->round = round;
    r->more = more;
    r->bad_len = (uint32_t)n;
    r->bad = n ? xcalloc(n, sizeof *r->bad) : NULL;
    for (size_t i = 0; i < n; i++) {
        r->bad[i].region = bad[i]->region;
        r->bad[i].offset = bad[i]->offset_bytes;
        r->bad[i].pages = bad[i]->pages;
    }
    return 0;
}

static int
get_digests(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Digests *p = pb;

    if (p->n_sums > CONTROL_MAX_DIGESTS)
        return err_set(err, -EPROTO, "%zu digests: at most %d", p->n_sums, CONTROL_MAX_DIGESTS);
    if (p->round == 0)
        return err_set(err, -EPROTO, "round 0");
    m->digests.round = p->round;
    m->digests.first_stripe = p->first_stripe;
    m->digests.len = p->n_sums;
    m->digests.sums = xmalloc(p->n_sums * sizeof *m->digests.sums + 1);
    if (p->n_sums)
        memcpy(m->digests.sums, p->sums, p->n_sums * sizeof *p->sums);
    return 0;
}

static int
get_state(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__State *p = pb;

    if (p->data.len < 1 || p->data.len > CONTROL_STATE_CHUNK)
        return err_set(err, -EPROTO, "%zu bytes: want 1 to %u", p->data.len, CONTROL_STATE_CHUNK);
    if (p->offset_bytes > CONTROL_MAX_STATE - p->data.len)
        return err_set(err, -EPROTO, "%zu bytes at %llu: more than %u of device state", p->data.len,
                       (unsigned long long)p->offset_bytes, CONTROL_MAX_STATE);
    m->state.offset = p->offset_bytes;
    m->state.len = p->data.len;
    m->state.data = xmalloc(p->data.len);
    memcpy(m->state.data, p->data.data, p->data.len);
    return 0;
}

static int
get_finish(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Finish *p = pb;

    if (p->round == 0 && !p->post_copy)
        return err_set(err, -EPROTO, "round 0");
    if (p->state_bytes > CONTROL_MAX_STATE)
        return err_set(err, -EPROTO, "%llu bytes of device state: at most %u",
                       (unsigned long long)p->state_bytes, CONTROL_MAX_STATE);
    m->finish.round = p->round;
    m->finish.state_bytes = p->state_bytes;
    m->finish.state_sum = p->state_sum;
    m->finish.post_copy = p->post_copy;
    m->finish.missing_pages = p->missing_pages;
    return 0;
}

static int
get_nothing(const void *pb, struct control_msg *m, struct err *err)
{
    (void)pb, (void)m, (void)err;
    return 0;
}

static int
get_abort(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Abort *p = pb;

    (void)err;
    get_text(m->text.text, p->text);
    return 0;
}

static int
get_question(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Question *p = pb;
    int rc = get_uid(m->question.vmi_uid, p->vmi_uid, "vmi_uid", err);

    m->question.commit = p->commit;
    return rc ? rc : get_uid(m->question.migration_uid, p->migration_uid, "migration_uid", err);
}

static int
get_answer(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Answer *p = pb;

    if (p->state < (int)CONTROL_GUEST_RUNNING || p->state > (int)CONTROL_GUEST_NOT_PREPARED)
        return err_set(err, -EPROTO, "unknown guest state %d", (int)p->state);
    m->text.code = (int)p->state;
    m->text.missing_pages = p->missing_pages;
    get_text(m->text.text, p->text);
    return 0;
}

static int
get_heartbeat(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Heartbeat *p = pb;

    (void)err;
    m->heartbeat_seq = p->seq;
    return 0;
}

static int
get_error(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Error *p = pb;

    if (p->code < (int)CONTROL_ERR_VERSION || p->code > (int)CONTROL_ERR_LOCAL)
        return err_set(err, -EPROTO, "unknown error code %d", (int)p->code);
    m->text.code = (int)p->code;
    get_text(m->text.text, p->text);
    return 0;
}

static int
get_missing(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Missing *p = pb;
    struct control_missing *out = &m->missing;

    if (p->bits.len > CONTROL_MISSING_SIZE || p->bits.len % 8 != 0 ||
        (p->bits.len == 0 && !p->last))
        return err_set(err, -EPROTO, "%zu bytes of bitmap: want a multiple of 8 up to %u",
                       p->bits.len, CONTROL_MISSING_SIZE);
    if (p->first_page % 64 != 0)
        return err_set(err, -EPROTO, "bitmap from page %llu: want a multiple of 64",
                       (unsigned long long)p->first_page);
    out->first_page = p->first_page;
    out->last = p->last;
    out->words = p->bits.len / 8;
    out->bits = out->words ? xcalloc(out->words, 8) : NULL;
    for (size_t i = 0; i < out->words; i++)
        out->bits[i] = wire_get64(p->bits.data + i * 8);
    return 0;
}

static int
get_rdma_off(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__RdmaOff *p = pb;

    (void)err;
    get_text(m->text.text, p->text);
    return 0;
}

static int
get_wanted(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__WindowsWanted *p = pb;
    struct control_windows *w = &m->windows;
    int rc = get_window_list(p->want, p->n_want, &w->windows, &w->len, err);

    if (rc == 0)
        rc = get_window_list(p->release, p->n_release, &w->release, &w->release_len, err);
    if (rc != 0)
        free(w->windows);
    return rc;
}

static int
get_windows(const void *pb, struct control_msg *m, struct err *err)
{
    const Drover__Windows *p = pb;

    return get_window_list(p->windows, p->n_windows, &m->windows.windows, &m->windows.len, err);
}

/* Where they lie in the guest's memory is looked at by who knows its layout. */
static int
get_window_list(Drover__Window *const *from, size_t n, struct control_window **ret,
                uint32_t *ret_len, struct err *err)
{
    if (n > CONTROL_MAX_WINDOWS)
        return err_set(err, -EPROTO, "%zu windows: at most %d", n, CONTROL_MAX_WINDOWS);
    for (size_t i = 0; i < n; i++) {
        if (from[i]->pages == 0 || from[i]->pages > UINT64_MAX - from[i]->first_page)
            return err_set(err, -EPROTO, "a window of %llu pages from page %llu",
                           (unsigned long long)from[i]->pages,
                           (unsigned long long)from[i]->first_page);
    }
    *ret = n ? xcalloc(n, sizeof **ret) : NULL;
    *ret_len = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        (*ret)[i] = (struct control_window){.first_page = from[i]->first_page,
                                            .pages = from[i]->pages,
                                            .address = from[i]->address,
                                            .key = from[i]->key};
    return 0;
}

/* 1 to 63 characters that can stand in a log line or a file name's text without quoting. */
static int
get_uid(char out[CONTROL_UID_SIZE], const char *s, const char *field, struct err *err)
{
    size_t len = strlen(s);

    if (len < 1 || len >= CONTROL_UID_SIZE)
        return err_set(err, -EPROTO, "%s of %zu characters: want 1 to %d", field, len,
                       CONTROL_UID_SIZE - 1);
    for (size_t i = 0; i < len; i++) {
        if (s[i] <= ' ' || s[i] > '~')
            return err_set(err, -EPROTO, "%s: character %#04x", field, (unsigned char)s[i]);
    }
    memcpy(out, s, len + 1);
    return 0;
}

/* Cuts a text for people to size and takes out what could disturb a terminal or a log line. */
static void
get_text(char out[CONTROL_TEXT_SIZE], const char *s)
{
    size_t n = strnlen(s, CONTROL_TEXT_SIZE - 1);

    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s[i] < ' ' || s[i] == 0x7f ? '?' : s[i];
    out[n] = '\0';
}
