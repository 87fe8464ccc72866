/* RDMA or TCP, and the sentence why not: everything that either end may know, as a table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "migrate/rdma_choose.h"

#define AUTO MIG_TRANSPORT_AUTO
#define RDMA MIG_TRANSPORT_RDMA
#define TCP  MIG_TRANSPORT_TCP

static const struct control_rdma listens = {.port = 4711}, refuses = {.why = "no device there"},
                                 says_nothing = {.port = 0};

struct row {
    const char *name;
    struct choose_facts f;
    enum choose expected;
    const char *why; /* part of it; "" = all of it */
};

static const struct row source_rows[] = {
    {"tcp: never a question", {.transport = TCP, .trusted = true}, CHOOSE_TCP, ""},
    {"tcp, though there is a device",
     {.transport = TCP, .trusted = true, .looked = true, .no_device = ""},
     CHOOSE_TCP,
     ""},
    {"auto, trusted: is there a device?", {.transport = AUTO, .trusted = true}, CHOOSE_LOOK, ""},
    {"rdma, trusted: is there a device?", {.transport = RDMA, .trusted = true}, CHOOSE_LOOK, ""},
    {"auto, trusted, a device: ask",
     {.transport = AUTO, .trusted = true, .looked = true, .no_device = ""},
     CHOOSE_ASK,
     ""},
    {"rdma, trusted, a device: ask",
     {.transport = RDMA, .trusted = true, .looked = true, .no_device = ""},
     CHOOSE_ASK,
     ""},
    {"auto, the target listens",
     {.transport = AUTO,
      .trusted = true,
      .looked = true,
      .no_device = "",
      .answered = true,
      .answer = &listens},
     CHOOSE_RDMA,
     ""},
    {"auto, trusted, no device",
     {.transport = AUTO, .trusted = true, .looked = true, .no_device = "nothing at 10.9.0.1"},
     CHOOSE_TCP,
     "nothing at 10.9.0.1"},
    {"rdma, no device",
     {.transport = RDMA, .trusted = true, .looked = true, .no_device = "nothing at 10.9.0.1"},
     CHOOSE_TCP,
     "nothing at 10.9.0.1"},
    {"auto, not trusted: could it have been?", {.transport = AUTO}, CHOOSE_LOOK, "not encrypt"},
    {"auto, not trusted, no device: nothing to say",
     {.transport = AUTO, .looked = true, .no_device = "nothing"},
     CHOOSE_TCP,
     ""},
    {"auto, not trusted, a device",
     {.transport = AUTO, .looked = true, .no_device = ""},
     CHOOSE_TCP,
     "RDMA does not encrypt, and the migration network is not declared trusted"},
    {"rdma, not trusted: no need to look",
     {.transport = RDMA},
     CHOOSE_TCP,
     "RDMA does not encrypt, and the migration network is not declared trusted"},
    {"rdma, not trusted, and even so the target listens",
     {.transport = RDMA, .looked = true, .no_device = "", .answered = true, .answer = &listens},
     CHOOSE_TCP,
     "not declared trusted"},
    {"auto, lz4 is fixed",
     {.transport = AUTO, .trusted = true, .encoding = MIG_ENC_LZ4, .looked = true, .no_device = ""},
     CHOOSE_TCP,
     "the policy fixes the encoding lz4"},
    {"auto, zstd is fixed, no device: nothing to say",
     {.transport = AUTO,
      .trusted = true,
      .encoding = MIG_ENC_ZSTD,
      .looked = true,
      .no_device = "none"},
     CHOOSE_TCP,
     ""},
    {"auto, delta is fixed",
     {.transport = AUTO,
      .trusted = true,
      .encoding = MIG_ENC_DELTA,
      .looked = true,
      .no_device = ""},
     CHOOSE_TCP,
     "the policy fixes the encoding delta"},
    {"auto, raw is fixed: no work for the processor",
     {.transport = AUTO, .trusted = true, .encoding = MIG_ENC_RAW, .looked = true, .no_device = ""},
     CHOOSE_ASK,
     ""},
    {"rdma, zstd is fixed: who asked for RDMA gets it",
     {.transport = RDMA,
      .trusted = true,
      .encoding = MIG_ENC_ZSTD,
      .looked = true,
      .no_device = ""},
     CHOOSE_ASK,
     ""},
    {"rdma, around the network",
     {.transport = RDMA, .trusted = true, .around = true},
     CHOOSE_TCP,
     "the way around the migration network is not declared trusted"},
    {"auto, around the network, a device there",
     {.transport = AUTO, .trusted = true, .around = true, .looked = true, .no_device = ""},
     CHOOSE_TCP,
     "the way around the migration network is not declared trusted"},
    {"auto, around the network, no device there",
     {.transport = AUTO, .trusted = true, .around = true, .looked = true, .no_device = "none"},
     CHOOSE_TCP,
     ""},
    {"it failed once: once more",
     {.transport = RDMA,
      .trusted = true,
      .failures = 1,
      .failure = "retries exceeded",
      .looked = true,
      .no_device = ""},
     CHOOSE_ASK,
     ""},
    {"it failed twice",
     {.transport = RDMA, .trusted = true, .failures = 2, .failure = "retries exceeded"},
     CHOOSE_TCP,
     "RDMA has failed 2 times in this migration, last: retries exceeded"},
    {"auto, it failed three times",
     {.transport = AUTO,
      .trusted = true,
      .failures = 3,
      .failure = "device removed",
      .looked = true,
      .no_device = ""},
     CHOOSE_TCP,
     "RDMA has failed 3 times in this migration, last: device removed"},
    {"the target refuses, with its reason",
     {.transport = AUTO,
      .trusted = true,
      .looked = true,
      .no_device = "",
      .answered = true,
      .answer = &refuses},
     CHOOSE_TCP,
     "the target: no device there"},
    {"the target refuses, and does not say why",
     {.transport = RDMA,
      .trusted = true,
      .looked = true,
      .no_device = "",
      .answered = true,
      .answer = &says_nothing},
     CHOOSE_TCP,
     "the target: no RDMA, without a reason"},
    {"an older target",
     {.transport = RDMA,
      .trusted = true,
      .looked = true,
      .no_device = "",
      .answered = true,
      .answer = NULL},
     CHOOSE_TCP,
     "the target knows nothing of RDMA"},
};

static const struct row target_rows[] = {
    {"trusted: is there a device?", {.transport = RDMA, .trusted = true}, CHOOSE_LOOK, ""},
    {"trusted, a device",
     {.transport = RDMA, .trusted = true, .looked = true, .no_device = ""},
     CHOOSE_RDMA,
     ""},
    {"not trusted",
     {.transport = RDMA},
     CHOOSE_TCP,
     "RDMA does not encrypt, and the migration network is not declared trusted"},
    {"not trusted, a device",
     {.transport = RDMA, .looked = true, .no_device = ""},
     CHOOSE_TCP,
     "RDMA does not encrypt"},
    {"around the network",
     {.transport = RDMA, .trusted = true, .around = true},
     CHOOSE_TCP,
     "the way around the migration network is not declared trusted"},
    {"no device",
     {.transport = RDMA, .trusted = true, .looked = true, .no_device = "nothing at 10.9.0.2"},
     CHOOSE_TCP,
     "nothing at 10.9.0.2"},
};

static void
check(const struct row *r, enum choose got, const char *why)
{
    if (got != r->expected || (r->why[0] ? !strstr(why, r->why) : why[0] != '\0'))
        fail_msg("%d (want %d): '%s' (want '%s')", got, r->expected, why, r->why);
}

static void
test_source(void **state)
{
    const struct row *r = *state;
    char why[CONTROL_TEXT_SIZE];

    check(r, choose_source(&r->f, why), why);
}

static void
test_target(void **state)
{
    const struct row *r = *state;
    char why[CONTROL_TEXT_SIZE];

    check(r, choose_target(&r->f, why), why);
}

/* What the peer and the device say may be as long as it likes. */
static void
test_long_words(void **state)
{
    static char text[2000];
    struct control_rdma answer = {0};
    struct choose_facts f = {.transport = RDMA,
                             .trusted = true,
                             .looked = true,
                             .no_device = "",
                             .answered = true,
                             .answer = &answer};
    char why[CONTROL_TEXT_SIZE];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    memset(answer.why, 'x', sizeof answer.why - 1);
    assert_int_equal(choose_source(&f, why), CHOOSE_TCP);
    assert_true(strlen(why) < sizeof why);
    f.no_device = text;
    assert_int_equal(choose_source(&f, why), CHOOSE_TCP);
    assert_int_equal(choose_target(&f, why), CHOOSE_TCP);
    f.failures = 2;
    f.failure = text;
    assert_int_equal(choose_source(&f, why), CHOOSE_TCP);
    assert_non_null(strstr(why, "failed 2 times"));
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(source_rows) + ARRAY_LEN(target_rows) + 1] = {0};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(source_rows); i++)
        tests[n++] = (struct CMUnitTest){.name = source_rows[i].name,
                                         .test_func = test_source,
                                         .initial_state = (void *)(uintptr_t)&source_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(target_rows); i++)
        tests[n++] = (struct CMUnitTest){.name = target_rows[i].name,
                                         .test_func = test_target,
                                         .initial_state = (void *)(uintptr_t)&target_rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_long_words);
    return _cmocka_run_group_tests("rdma choose", tests, n, NULL, NULL);
}
