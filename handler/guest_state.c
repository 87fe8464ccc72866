/* Encoding and decoding of the native guest's device state; see guest_state.h.
 * Layout, little-endian:
 *
 *   0  "DRVGUEST"
 *   8  version (u32)
 *  12  length of all (u32)
 *  16  checksum of what follows (u64)
 *  24  memory, set, fill, zero, rate, seed (u64 each)
 *  72  vcpus, workload (u32 each)
 *  80  boot id (16 bytes)
 *  96  a record of six u64 for each vCPU, in the order of struct guest_vcpu_state
 */
#include "handler/guest_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fs.h"
#include "base/rng.h"

#define STATE_MAGIC   "DRVGUEST"
#define STATE_VERSION 1u
#define OFF_VERSION   8
#define OFF_LENGTH    12
#define OFF_SUM       16
#define OFF_CONFIG    24
#define OFF_VCPUS     72
#define OFF_WORKLOAD  76
#define OFF_BOOT_ID   80
#define OFF_RECORDS   96
#define CONFIG_FIELDS 6
#define RECORD_FIELDS 6
#define RECORD_BYTES  (8 * RECORD_FIELDS)
#define MAX_COUNTER   (1ull << 62)
#define MAX_TIME_NS   (1ull << 62)
#define BOOT_ID_FILE  "/proc/sys/kernel/random/boot_id"

_Static_assert(OFF_RECORDS + GUEST_MAX_VCPUS * RECORD_BYTES <= GUEST_MAX_STATE_BYTES,
               "the largest state fits the limit");

static void
put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t
get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Against damage by accident; the peer itself is authenticated elsewhere. */
static uint64_t
checksum(const uint8_t *p, size_t len)
{
    uint64_t h = len;

    for (; len >= 8; p += 8, len -= 8)
        h = rng_mix(h ^ get(p, 8));
    for (; len > 0; p++, len--)
        h = rng_mix(h ^ *p);
    return h;
}

size_t
guest_state_encode(const struct guest_state *st, uint8_t *buf)
{
    const struct guest_config *c = &st->config;
    const uint64_t fields[CONFIG_FIELDS] = {c->memory_bytes, c->set_bytes,        c->fill_bytes,
                                            c->zero_bytes,   c->rate_bytes_per_s, c->seed};
    size_t len = OFF_RECORDS + (size_t)c->vcpus * RECORD_BYTES;

    memset(buf, 0, OFF_RECORDS);
    memcpy(buf, STATE_MAGIC, 8);
    put(buf + OFF_VERSION, STATE_VERSION, 4);
    put(buf + OFF_LENGTH, len, 4);
    for (unsigned i = 0; i < CONFIG_FIELDS; i++)
        put(buf + OFF_CONFIG + 8 * i, fields[i], 8);
    put(buf + OFF_VCPUS, c->vcpus, 4);
    put(buf + OFF_WORKLOAD, c->workload, 4);
    memcpy(buf + OFF_BOOT_ID, st->boot_id, sizeof(st->boot_id));
    for (uint32_t v = 0; v < c->vcpus; v++) {
        const struct guest_vcpu_state *s = &st->vcpus[v];
        const uint64_t rec[RECORD_FIELDS] = {s->steps,           s->written_bytes, s->checked_reads,
                                             s->read_mismatches, s->last_mono_ns,  s->last_real_ns};

        for (unsigned i = 0; i < RECORD_FIELDS; i++)
            put(buf + OFF_RECORDS + v * RECORD_BYTES + 8 * i, rec[i], 8);
    }
    put(buf + OFF_SUM, checksum(buf + OFF_SUM + 8, len - OFF_SUM - 8), 8);
    return len;
}

static int
decode_vcpu(const uint8_t *p, uint32_t v, struct guest_vcpu_state *ret, struct err *err)
{
    *ret = (struct guest_vcpu_state){
        .steps = get(p, 8),
        .written_bytes = get(p + 8, 8),
        .checked_reads = get(p + 16, 8),
        .read_mismatches = get(p + 24, 8),
        .last_mono_ns = get(p + 32, 8),
        .last_real_ns = get(p + 40, 8),
    };
    if (ret->steps > MAX_COUNTER || ret->written_bytes > MAX_COUNTER ||
        ret->checked_reads > MAX_COUNTER || ret->read_mismatches > ret->checked_reads)
        return err_set(err, -EINVAL, "guest state: vCPU %" PRIu32 ": counters out of range", v);
    if (ret->last_mono_ns > MAX_TIME_NS || ret->last_real_ns > MAX_TIME_NS)
        return err_set(err, -EINVAL, "guest state: vCPU %" PRIu32 ": time out of range", v);
    return 0;
}

static int
decode_config(const uint8_t *b, uint64_t memory_bytes, struct guest_config *c, struct err *err)
{
    struct guest_config given;
    uint64_t workload = get(b + OFF_WORKLOAD, 4);
    int r;

    *c = (struct guest_config){
        .memory_bytes = get(b + OFF_CONFIG, 8),
        .set_bytes = get(b + OFF_CONFIG + 8, 8),
        .fill_bytes = get(b + OFF_CONFIG + 16, 8),
        .zero_bytes = get(b + OFF_CONFIG + 24, 8),
        .rate_bytes_per_s = get(b + OFF_CONFIG + 32, 8),
        .seed = get(b + OFF_CONFIG + 40, 8),
        .vcpus = (uint32_t)get(b + OFF_VCPUS, 4),
        .workload =
            workload < GUEST_WORKLOAD_COUNT ? (enum guest_workload)workload : GUEST_WORKLOAD_COUNT,
    };
    if (c->memory_bytes != memory_bytes)
        return err_set(err, -EINVAL,
                       "guest state: memory of %" PRIu64 " bytes, but this guest has %" PRIu64,
                       c->memory_bytes, memory_bytes);
    given = *c;
    r = guest_config_check(c, err);
    if (r < 0)
        return err_prefix(err, r, "guest state");
    /* The sender's was checked, so checking changes nothing; schedules depend on every field. */
    if (c->set_bytes != given.set_bytes || c->fill_bytes != given.fill_bytes ||
        c->zero_bytes != given.zero_bytes)
        return err_set(err, -EINVAL, "guest state: sizes are not whole pages");
    return 0;
}

int
guest_state_decode(const void *buf, size_t len, uint64_t memory_bytes, struct guest_state *ret,
                   struct err *err)
{
    const uint8_t *b = buf;
    struct guest_state st = {0};
    int r;

    if (len < OFF_RECORDS || len > GUEST_MAX_STATE_BYTES)
        return err_set(err, -EINVAL, "guest state: %zu bytes: want %d to %u", len, OFF_RECORDS,
                       GUEST_MAX_STATE_BYTES);
    if (memcmp(b, STATE_MAGIC, 8) != 0)
        return err_set(err, -EINVAL, "guest state: not the state of a native guest");
    if (get(b + OFF_VERSION, 4) != STATE_VERSION)
        return err_set(err, -EINVAL, "guest state: version %" PRIu64 ": want %u",
                       get(b + OFF_VERSION, 4), STATE_VERSION);
    if (get(b + OFF_LENGTH, 4) != len)
        return err_set(err, -EINVAL, "guest state: says %" PRIu64 " bytes, has %zu",
                       get(b + OFF_LENGTH, 4), len);
    if (get(b + OFF_SUM, 8) != checksum(b + OFF_SUM + 8, len - OFF_SUM - 8))
        return err_set(err, -EINVAL, "guest state: damaged: its checksum does not match");
    r = decode_config(b, memory_bytes, &st.config, err);
    if (r < 0)
        return r;
    if (len != OFF_RECORDS + (size_t)st.config.vcpus * RECORD_BYTES)
        return err_set(err, -EINVAL, "guest state: %zu bytes do not fit %" PRIu32 " vCPUs", len,
                       st.config.vcpus);
    memcpy(st.boot_id, b + OFF_BOOT_ID, sizeof(st.boot_id));
    for (uint32_t v = 0; v < st.config.vcpus; v++) {
        r = decode_vcpu(b + OFF_RECORDS + v * RECORD_BYTES, v, &st.vcpus[v], err);
        if (r < 0)
            return r;
    }
    *ret = st;
    return 0;
}

void
guest_state_boot_id(uint8_t ret[16])
{
    AUTO_FREE char *text = NULL;
    size_t len = 0, n = 0;

    memset(ret, 0, 16);
    if (fs_read_all(BOOT_ID_FILE, 256, &text, &len, NULL) < 0)
        return;
    for (size_t i = 0; i < len && n < 32; i++) {
        const char *hex = "0123456789abcdef", *d = text[i] ? strchr(hex, text[i]) : NULL;

        if (!d)
            continue;
        ret[n / 2] |= (uint8_t)((d - hex) << (n % 2 ? 0 : 4));
        n++;
    }
}
