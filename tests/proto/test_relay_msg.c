/* Messages of a relayed migration: what goes in comes out, and what a hostile peer makes of it does not.
 * With DROVER_SEEDS=DIR set, writes the samples there as fuzz seeds first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/relay_msg.h"
#include "proto/relay_msg.pb-c.h"

static void
sample(enum relay_msg_type t, struct relay_msg *m)
{
    *m = (struct relay_msg){.type = t, .generation = 7};
    switch (t) {
    case RELAY_MSG_CHECK:
        m->cpu_xml = xstrdup("<cpu mode='custom'><model>Haswell</model></cpu>");
        m->memory_bytes = 1u << 30;
        m->post_copy = true;
        m->disks_len = 2;
        snprintf(m->disks[0], sizeof m->disks[0], "vda");
        snprintf(m->disks[1], sizeof m->disks[1], "sdb");
        snprintf(m->data_path, sizeof m->data_path, "/run/drover/migrate/u.sock");
        snprintf(m->machine, sizeof m->machine, "pc-q35-7.2");
        m->libvirt_version = 9000000;
        break;
    case RELAY_MSG_READY:
        snprintf(m->directory, sizeof m->directory, "/var/lib/drover/guests/u");
        snprintf(m->host, sizeof m->host, "n2");
        break;
    case RELAY_MSG_REFUSED:
        snprintf(m->reason, sizeof m->reason, "CPUIncompatible");
        snprintf(m->text, sizeof m->text, "avx512f is missing");
        break;
    case RELAY_MSG_QUESTION:
        m->withdraw = true;
        break;
    case RELAY_MSG_ANSWER:
        m->answer = RELAY_MSG_ANSWER_RUNNING;
        m->incomplete = true;
        m->commit_us = 5;
        break;
    default:
        break;
    }
}

static void
test_there_and_back(void **state)
{
    const char *seeds = getenv("DROVER_SEEDS");

    (void)state;
    for (int t = 1; t < RELAY_MSG_TYPES; t++) {
        AUTO_SB struct sb out = SB_INIT, again = SB_INIT;
        struct relay_msg in, back;
        struct err err = {0};

        sample((enum relay_msg_type)t, &in);
        relay_msg_encode(&in, &out);
        if (seeds) {
            AUTO_FREE char *path = xasprintf("%s/relay_msg/%s", seeds, relay_msg_name(in.type));
            FILE *f = fopen(path, "w");

            assert_non_null(f);
            assert_int_equal(fwrite(out.buf, 1, out.len, f), out.len);
            fclose(f);
        }
        if (relay_msg_decode(out.buf, out.len, &back, &err) != 0)
            fail_msg("%s: %s", relay_msg_name(in.type), err_msg(&err));
        assert_int_equal(back.type, t);
        assert_int_equal(back.generation, 7);
        assert_string_not_equal(relay_msg_name(back.type), "?");
        relay_msg_encode(&back, &again);
        assert_int_equal(again.len, out.len);
        assert_memory_equal(again.buf, out.buf, out.len);
        relay_msg_done(&in);
        relay_msg_done(&back);
    }
}

static void
test_text_is_made_printable(void **state)
{
    AUTO_SB struct sb out = SB_INIT;
    struct relay_msg m = {.type = RELAY_MSG_ERROR, .text = "two\nlines"}, back;

    (void)state;
    relay_msg_encode(&m, &out);
    assert_int_equal(relay_msg_decode(out.buf, out.len, &back, NULL), 0);
    assert_string_equal(back.text, "two lines");
    relay_msg_done(&back);
}

static char long_text[200000];
static char *many[RELAY_MSG_MAX_DISKS + 1];

static void
bad_version(Drover__RelayMessage *p)
{
    p->version = 2;
}
static void
bad_type(Drover__RelayMessage *p)
{
    p->type = RELAY_MSG_TYPES;
}
static void
no_type(Drover__RelayMessage *p)
{
    p->type = 0;
}
static void
no_memory(Drover__RelayMessage *p)
{
    p->memory_bytes = 0;
}
static void
much_memory(Drover__RelayMessage *p)
{
    p->memory_bytes = RELAY_MSG_MAX_MEMORY + 1;
}
static void
long_word(Drover__RelayMessage *p)
{
    p->machine = long_text;
}
static void
long_path(Drover__RelayMessage *p)
{
    p->data_path = long_text;
}
static void
relative(Drover__RelayMessage *p)
{
    static char b[] = "x";
    p->data_path = b;
}
static void
long_xml(Drover__RelayMessage *p)
{
    p->cpu_xml = long_text;
}
static void
many_disks(Drover__RelayMessage *p)
{
    p->disks = many;
    p->n_disks = RELAY_MSG_MAX_DISKS + 1;
}
static void
long_disk(Drover__RelayMessage *p)
{
    static char *one[1];
    one[0] = long_text;
    p->disks = one;
    p->n_disks = 1;
}
static void
bell(Drover__RelayMessage *p)
{
    static char b[] = "\a";
    p->text = b;
}
static void
no_directory(Drover__RelayMessage *p)
{
    static char b[] = "";
    p->type = RELAY_MSG_READY;
    p->directory = b;
}
static void
no_answer(Drover__RelayMessage *p)
{
    p->type = RELAY_MSG_ANSWER;
    p->answer = 0;
}
static void
odd_answer(Drover__RelayMessage *p)
{
    p->type = RELAY_MSG_ANSWER;
    p->answer = 4;
}

static void
test_refused(void **state)
{
    static const struct {
        const char *name, *says;
        void (*spoil)(Drover__RelayMessage *p);
    } rows[] = {
        {"another version", "version 2", bad_version},
        {"an unknown type", "unknown type", bad_type},
        {"no type", "unknown type 0", no_type},
        {"no memory", "memory_bytes", no_memory},
        {"too much memory", "memory_bytes", much_memory},
        {"a long machine", "machine", long_word},
        {"a long path", "data_path", long_path},
        {"a relative path", "not absolute", relative},
        {"a long CPU", "cpu_xml", long_xml},
        {"too many disks", "33 disks", many_disks},
        {"a long disk", "disks", long_disk},
        {"an unprintable text", "not printable", bell},
        {"no directory", "directory", no_directory},
        {"no answer", "answer 0", no_answer},
        {"an unknown answer", "answer 4", odd_answer},
    };
    static char vda[] = "vda", path[] = "/run/x";

    (void)state;
    memset(long_text, 'x', RELAY_MSG_MAX_XML + 1);
    for (size_t i = 0; i <= RELAY_MSG_MAX_DISKS; i++)
        many[i] = vda;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Drover__RelayMessage p;
        struct relay_msg m;
        struct err err = {0};

        drover__relay_message__init(&p);
        p.version = RELAY_MSG_VERSION;
        p.type = RELAY_MSG_CHECK;
        p.memory_bytes = 1;
        p.data_path = path;
        rows[i].spoil(&p);

        size_t size = drover__relay_message__get_packed_size(&p);
        AUTO_FREE uint8_t *buf = xmalloc(size);

        drover__relay_message__pack(&p, buf);
        if (relay_msg_decode(buf, size, &m, &err) != -EPROTO ||
            !strstr(err_msg(&err), rows[i].says))
            fail_msg("%s: %s", rows[i].name, err_msg(&err));
    }
    /* and bytes that are no message at all, or too many */
    struct relay_msg m;
    AUTO_FREE char *big = xcalloc(1, RELAY_MSG_MAX + 1);

    assert_int_equal(relay_msg_decode("\xff\xff\xff", 3, &m, NULL), -EPROTO);
    assert_int_equal(relay_msg_decode("", 0, &m, NULL), -EPROTO);
    assert_int_equal(relay_msg_decode(big, RELAY_MSG_MAX + 1, &m, NULL), -EPROTO);
}

/* Cut at each byte and with each byte changed: an error or a message within the limits. */
static void
test_damaged(void **state)
{
    (void)state;
    for (int t = 1; t < RELAY_MSG_TYPES; t++) {
        AUTO_SB struct sb out = SB_INIT;
        struct relay_msg in, back;

        sample((enum relay_msg_type)t, &in);
        relay_msg_encode(&in, &out);
        relay_msg_done(&in);
        for (size_t i = 0; i < out.len; i++) {
            AUTO_FREE uint8_t *exact = xmalloc(i + 1);

            memcpy(exact, out.buf, i);
            if (relay_msg_decode(exact, i, &back, NULL) == 0)
                relay_msg_done(&back);
            out.buf[i] = (char)(out.buf[i] ^ 0x5a);
            if (relay_msg_decode(out.buf, out.len, &back, NULL) == 0) {
                assert_true(back.disks_len <= RELAY_MSG_MAX_DISKS);
                assert_true(back.type > 0 && back.type < RELAY_MSG_TYPES);
                relay_msg_done(&back);
            }
            out.buf[i] = (char)(out.buf[i] ^ 0x5a);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_text_is_made_printable),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
