/* handler/guest_state: what is saved comes back; what a hostile peer may send instead is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/rng.h"
#include "handler/guest_state.h"

#define MEMORY (1ull << 20)

static void
sample(struct guest_state *st, uint32_t vcpus)
{
    *st = (struct guest_state){.config = {.memory_bytes = MEMORY,
                                          .set_bytes = MEMORY / 2,
                                          .fill_bytes = 4096,
                                          .zero_bytes = 8192,
                                          .rate_bytes_per_s = 12345,
                                          .seed = 0xfedcba9876543210u,
                                          .vcpus = vcpus,
                                          .workload = GUEST_ZIPF}};
    guest_state_boot_id(st->boot_id);
    for (uint32_t v = 0; v < vcpus; v++)
        st->vcpus[v] = (struct guest_vcpu_state){.steps = 1000 + v,
                                                 .written_bytes = 1ull << 40,
                                                 .checked_reads = 200,
                                                 .read_mismatches = v,
                                                 .last_mono_ns = 5000000000u + v,
                                                 .last_real_ns = 1790000000000000000u};
}

static void
test_round_trip(void **state)
{
    static const uint32_t vcpus[] = {1, 2, 77, GUEST_MAX_VCPUS};
    static struct guest_state st, got;
    uint8_t buf[GUEST_MAX_STATE_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vcpus); i++) {
        size_t len;

        sample(&st, vcpus[i]);
        if (vcpus[i] == GUEST_MAX_VCPUS)
            st.config.set_bytes = MEMORY;
        len = guest_state_encode(&st, buf);
        assert_true(len <= GUEST_MAX_STATE_BYTES);
        memset(&got, 0xff, sizeof(got));
        assert_int_equal(guest_state_decode(buf, len, MEMORY, &got, NULL), 0);
        assert_memory_equal(&got.boot_id, &st.boot_id, sizeof(st.boot_id));
        assert_memory_equal(got.vcpus, st.vcpus, vcpus[i] * sizeof(st.vcpus[0]));
        assert_memory_equal(&got.config, &st.config, sizeof(st.config));
    }
}

/* Puts the checksum right, so that what is behind it is looked at. */
static void
seal(uint8_t *buf, size_t len)
{
    uint64_t h = len - 24, w;

    for (size_t i = 24; i + 8 <= len; i += 8) {
        memcpy(&w, buf + i, 8);
        h = rng_mix(h ^ w);
    }
    memcpy(buf + 16, &h, 8);
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name;
        size_t at; /* where 8 bytes are overwritten; 0 = nowhere */
        uint64_t value;
        int cut; /* bytes added to the length */
        int sealed;
        const char *want;
    } rows[] = {
        {"empty", 0, 0, -1000, 0, "0 bytes: want 96 to 32768"},
        {"half a head", 0, 0, -130, 0, "62 bytes: want 96 to 32768"},
        {"far too long", 0, 0, 40000, 0, "bytes: want 96 to 32768"},
        {"cut", 0, 0, -1, 0, "says 192 bytes, has 191"},
        {"longer", 0, 0, 1, 0, "says 192 bytes, has 193"},
        {"magic", 0, 1, 0, 1, NULL}, /* done below: offset 0 */
        {"version", 8, 2 | 192ull << 32, 0, 1, "version 2: want 1"},
        {"length", 8, 1 | 200ull << 32, 0, 1, "says 200 bytes, has 192"},
        {"checksum", 16, 1, 0, 0, "its checksum does not match"},
        {"a flipped field", 64, 1, 0, 0, "its checksum does not match"},
        {"memory of another size", 24, 2 * MEMORY, 0, 1,
         "memory of 2097152 bytes, but this guest has 1048576"},
        {"no memory", 24, 0, 0, 1, "memory of 0 bytes, but this guest has 1048576"},
        {"set", 32, MEMORY + 4096, 0, 1, "working set of 1052672 bytes: at most the memory"},
        {"set of zero", 32, 0, 0, 1, "sizes are not whole pages"},
        {"odd set", 32, 65537, 0, 1, "sizes are not whole pages"},
        {"fill", 40, UINT64_MAX, 0, 1, "fill of 18446744073709551615 bytes: at most the memory"},
        {"odd fill", 40, 1, 0, 1, "sizes are not whole pages"},
        {"zero", 48, MEMORY, 0, 1, "what the fill leaves"},
        {"rate", 56, 1ull << 60, 0, 1, "bytes a second: at most"},
        {"no vCPU", 72, (uint64_t)GUEST_ZIPF << 32, 0, 1, "0 vCPUs: want 1 to 128"},
        {"many vCPUs", 72, 129 | (uint64_t)GUEST_ZIPF << 32, 0, 1, "129 vCPUs: want 1 to 128"},
        {"more vCPUs than records", 72, 3 | (uint64_t)GUEST_ZIPF << 32, 0, 1,
         "192 bytes do not fit 3 vCPUs"},
        {"fewer vCPUs than records", 72, 1 | (uint64_t)GUEST_ZIPF << 32, 0, 1,
         "192 bytes do not fit 1 vCPUs"},
        {"workload", 72, 2 | 6ull << 32, 0, 1, "workload number 6 is not known"},
        {"huge workload", 72, 2 | 0xffffffffull << 32, 0, 1, "workload number 6 is not known"},
        {"steps", 96, UINT64_MAX, 0, 1, "vCPU 0: counters out of range"},
        {"written bytes of the second", 152, UINT64_MAX, 0, 1, "vCPU 1: counters out of range"},
        {"more mismatches than reads", 120, 201, 0, 1, "vCPU 0: counters out of range"},
        {"time", 128, UINT64_MAX, 0, 1, "vCPU 0: time out of range"},
        {"wall clock", 184, UINT64_MAX, 0, 1, "vCPU 1: time out of range"},
    };
    static struct guest_state st, got;
    static uint8_t buf[GUEST_MAX_STATE_BYTES + 65536];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        size_t len;

        sample(&st, 2);
        len = guest_state_encode(&st, buf);
        assert_int_equal(len, 192);
        if (rows[i].at)
            memcpy(buf + rows[i].at, &rows[i].value, 8);
        else if (!rows[i].want)
            buf[0] = 'X';
        if (rows[i].sealed)
            seal(buf, len);
        len = rows[i].cut + (int)len < 0 ? 0 : (size_t)((int)len + rows[i].cut);
        memset(&got, 0x5a, sizeof(got));
        if (guest_state_decode(buf, len, MEMORY, &got, &err) != -EINVAL)
            fail_msg("%s: accepted", rows[i].name);
        if (!strstr(err_msg(&err), rows[i].want ? rows[i].want : "not the state of a native guest"))
            fail_msg("%s: '%s'", rows[i].name, err_msg(&err));
        assert_int_equal(((uint8_t *)&got)[0], 0x5a); /* written only on success */
    }
}

/* Random damage, sealed or not, never crashes and never yields a state out of range. */
static void
test_random_damage(void **state)
{
    static struct guest_state st, got;
    static uint8_t buf[GUEST_MAX_STATE_BYTES];
    struct rng rng;

    (void)state;
    rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        size_t len;

        sample(&st, 1 + (uint32_t)rng_below(&rng, 4));
        len = guest_state_encode(&st, buf);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            buf[rng_below(&rng, len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        if (i % 2)
            seal(buf, len);
        if (i % 7 == 0)
            len = rng_below(&rng, len + 1);
        if (guest_state_decode(buf, len, MEMORY, &got, NULL) < 0)
            continue;
        assert_int_equal(got.config.memory_bytes, MEMORY);
        assert_int_equal(guest_config_check(&got.config, NULL), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random_damage),
    };

    return cmocka_run_group_tests_name("guest_state", tests, NULL, NULL);
}
