/* See samples.h. */
#include "tests/proto/samples.h"

#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/sb.h"

static struct control_bad_run bad[] = {{.offset = 4096, .region = 0, .pages = 3},
                                       {.offset = 0, .region = 1, .pages = 512}};
const uint64_t samples_sums[3] = {1, 0x0807060504030201ull, 3};
static uint64_t sums[] = {1, 0x0807060504030201ull, 3};
static uint64_t missing[] = {1, 0x8000000000000001ull};
static struct control_window windows[] = {{512, 512, 0x7f0000200000, 0x1234}, {1024, 3, 0, 0}};
static uint8_t chunk[] = "device state";

void
samples_control(unsigned i, struct control_msg *ret)
{
    struct control_msg m = {.type = (enum control_type)(i + 1), .generation = 7};

    switch (m.type) {
    case CONTROL_HELLO:
        m.hello = (struct control_hello){.version_min = 1,
                                         .version_max = 3,
                                         .capabilities = 5,
                                         .vmi_uid = "4b1c1f6e-0c0e-4a35-9d5e-1a2b3c4d5e6f",
                                         .migration_uid = "m-1",
                                         .regions = {{3u << 20, 4096}, {4096, 4096}},
                                         .regions_len = 2,
                                         .channels = 3,
                                         .stripe_bytes = LAYOUT_STRIPE_BYTES,
                                         .urgent = true,
                                         .resume = true,
                                         .rdma = true,
                                         .epoch = 2,
                                         .round = 5};
        break;
    case CONTROL_ACCEPT:
        m.accept = (struct control_accept){
            .version = 1,
            .channels = 3,
            .token = {1, 2, 3, 0, 255},
            .has_rdma = true,
            .rdma = {.port = 4791, .token = {9, 8}, .window_bytes = 1 << 30, .why = ""}};
        break;
    case CONTROL_ROUND_BEGIN:
        m.round_begin = (struct control_round_begin){.round = 2, .paused = true, .pages = 77};
        break;
    case CONTROL_ROUND_END:
        m.round_end =
            (struct control_round_end){.round = 2, .channels = 2, .totals = {{1, 2, 3}, {4, 5, 6}}};
        break;
    case CONTROL_ROUND_DONE:
        m.round_done = (struct control_round_done){.round = 2, .bad_len = 2, .bad = bad};
        break;
    case CONTROL_STATE:
        m.state = (struct control_state){.offset = 128, .len = sizeof chunk, .data = chunk};
        break;
    case CONTROL_FINISH:
        m.finish = (struct control_finish){.round = 3,
                                           .state_bytes = 141,
                                           .state_sum = 0x1234567890abcdefull,
                                           .post_copy = true,
                                           .missing_pages = 70};
        break;
    case CONTROL_MISSING:
        m.missing = (struct control_missing){
            .first_page = 128, .words = ARRAY_LEN(missing), .bits = missing, .last = true};
        break;
    case CONTROL_QUESTION:
        m.question =
            (struct control_question){.vmi_uid = "v", .migration_uid = "m", .commit = true};
        break;
    case CONTROL_ANSWER:
        m.text =
            (struct control_text){.code = CONTROL_GUEST_NEVER, .missing_pages = 6, .text = "lost"};
        break;
    case CONTROL_ABORT:
        m.text = (struct control_text){.text = "cancelled"};
        break;
    case CONTROL_ERROR:
        m.text = (struct control_text){.code = CONTROL_ERR_BUSY, .text = "busy"};
        break;
    case CONTROL_DIGESTS:
        m.digests = (struct control_digests){
            .round = 2, .first_stripe = 4, .len = ARRAY_LEN(samples_sums), .sums = sums};
        break;
    case CONTROL_COMPARED:
        m.round_done = (struct control_round_done){.round = 2, .bad_len = 1, .bad = bad};
        break;
    case CONTROL_RDMA_OFF:
        m.text = (struct control_text){.text = "no route"};
        break;
    case CONTROL_WINDOWS_WANTED:
        m.windows = (struct control_windows){
            .len = 2, .windows = windows, .release_len = 1, .release = windows};
        break;
    case CONTROL_WINDOWS:
        m.windows = (struct control_windows){.len = 2, .windows = windows};
        break;
    case CONTROL_HEARTBEAT:
        m.heartbeat_seq = 9;
        break;
    default:
        break;
    }
    *ret = m;
}

void
samples_layout(struct layout *ret)
{
    const struct layout_region r[] = {{7u << 20, 4096}, {(4u << 20) + 8192, 4096}};
    struct err err = {0};

    if (layout_init(ret, r, 2, 3, &err) != 0)
        abort();
}

void
samples_batch(struct frame_header *ret, const struct frame_run **ret_runs)
{
    /* stripes 0-3 are region 0's, 4-6 region 1's; channel 1 owns 1 and 4 */
    static const struct frame_run runs[] = {
        {.offset = LAYOUT_STRIPE_BYTES, .pages = 2, .region = 0, .kind = FRAME_RAW},
        {.offset = LAYOUT_STRIPE_BYTES + 3 * 4096, .pages = 500, .region = 0, .kind = FRAME_ZERO},
        {.offset = LAYOUT_STRIPE_BYTES - 4096, .pages = 1, .region = 1, .kind = FRAME_RAW}};

    *ret = (struct frame_header){
        .type = FRAME_BATCH, .round = 4, .runs = 3, .pages = 3, .bytes = 3 * 4096, .seq = 11};
    *ret_runs = runs;
}

static int
put_file(const char *dir, const char *name, const void *buf, size_t len)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return fs_replace(path, buf, len, 0644, NULL);
}

int
samples_write(const char *dir)
{
    char sub[400];
    int rc = 0;

    snprintf(sub, sizeof sub, "%s/control", dir);
    for (unsigned i = 0; i < SAMPLES_CONTROL && rc == 0; i++) {
        AUTO_SB struct sb out = SB_INIT;
        struct control_msg m;

        samples_control(i, &m);
        control_encode(&out, &m);
        rc = put_file(sub, control_type_name(m.type), out.buf, out.len);
    }

    const struct frame_request ask = {.region = 1, .offset = 8192, .pages = 2};
    uint8_t buf[FRAME_MAX_HEAD], small[FRAME_PREAMBLE_SIZE];
    struct frame_header h, end = {.type = FRAME_ROUND_END, .round = 1};
    const struct frame_run *runs;
    static const struct frame_run encoded[] = {
        {.offset = 0, .pages = 2, .kind = FRAME_DELTA, .bytes = 16},
        {.offset = 8192, .pages = 2, .kind = FRAME_LZ4, .bytes = 100},
        {.offset = 32768, .pages = 1, .kind = FRAME_LZ4},
        {.offset = 65536, .pages = 1, .kind = FRAME_ZSTD, .bytes = 50},
    };
    static const struct frame_run placed[] = {
        {.offset = 0, .pages = 2, .kind = FRAME_PLACED},
        {.offset = 8192, .pages = 1, .kind = FRAME_RAW},
    };
    const struct frame_preamble p = {.channel = 1, .epoch = 1, .uid_sum = 5, .token = {9}};
    size_t len;

    snprintf(sub, sizeof sub, "%s/frame", dir);
    samples_batch(&h, &runs);
    len = frame_encode(buf, &h, runs, samples_sums);
    rc = rc ? rc : put_file(sub, "batch", buf, len);
    h = (struct frame_header){
        .type = FRAME_BATCH, .round = 2, .runs = 4, .pages = 6, .bytes = 16 + 100 + 50};
    len = frame_encode(buf, &h, encoded, (const uint64_t[6]){1, 2, 3, 4, 5, 6});
    rc = rc ? rc : put_file(sub, "encoded", buf, len);
    h = (struct frame_header){
        .type = FRAME_BATCH, .round = 2, .runs = 2, .pages = 3, .bytes = 4096};
    len = frame_encode(buf, &h, placed, samples_sums);
    rc = rc ? rc : put_file(sub, "placed", buf, len);
    len = frame_encode(buf, &end, NULL, NULL);
    rc = rc ? rc : put_file(sub, "round_end", buf, len);
    samples_batch(&h, &runs);
    h.type = FRAME_PAGES;
    len = frame_encode(buf, &h, runs, samples_sums);
    rc = rc ? rc : put_file(sub, "pages", buf, len);
    frame_encode_request(small, &ask);
    rc = rc ? rc : put_file(sub, "request", small, FRAME_REQUEST_SIZE);
    frame_encode_preamble(small, &p);
    rc = rc ? rc : put_file(sub, "preamble", small, FRAME_PREAMBLE_SIZE);
    frame_encode_answer(small, FRAME_ANSWER_OK);
    return rc ? rc : put_file(sub, "answer", small, FRAME_ANSWER_SIZE);
}
