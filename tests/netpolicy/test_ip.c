/* Addresses and prefixes as values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/rng.h"
#include "netpolicy/ip.h"

struct text_case {
    const char *text;
    const char *back; /* NULL: refused */
};

static const struct text_case ip_cases[] = {
    {"10.200.5.1", "10.200.5.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"FD00::1", "fd00::1"},
    {"::", "::"},
    {"", NULL},
    {"10.200.5", NULL},
    {"10.200.5.256", NULL},
    {"10.200.5.1 ", NULL},
    {" 10.200.5.1", NULL},
    {"10.200.5.1/24", NULL},
    {"010.1.1.1", NULL},
    {"10.1.1.1.1", NULL},
    {"0x0a.1.1.1", NULL},
    {"::ffff:10.1.1.1", NULL}, /* it would print as another text than it was written */
    {"fd00::1::2", NULL},
    {"fd00::1%eth0", NULL},
    {"example", NULL},
};

static const struct text_case cidr_cases[] = {
    {"10.200.5.0/24", "10.200.5.0/24"},
    {"10.200.5.7/24", "10.200.5.7/24"}, /* host bits are kept */
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"10.0.0.1/32", "10.0.0.1/32"},
    {"fd00:1::/64", "fd00:1::/64"},
    {"::1/128", "::1/128"},
    {"", NULL},
    {"/", NULL},
    {"/24", NULL},
    {"10.200.5.0", NULL},
    {"10.200.5.0/", NULL},
    {"10.200.5.0/33", NULL},
    {"10.200.5.0/024", NULL},
    {"10.200.5.0/00", NULL},
    {"10.200.5.0/-1", NULL},
    {"10.200.5.0/+1", NULL},
    {"10.200.5.0/24 ", NULL},
    {"10.200.5.0/2x", NULL},
    {"10.200.5.0/255.255.255.0", NULL},
    {"fd00::/129", NULL},
    {"fd00::/1000", NULL},
    {"10.200.5.0/99999999999999999999", NULL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/64", NULL},
};

static void
test_ip_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ip_cases); i++) {
        const struct text_case *c = &ip_cases[i];
        char buf[IP_TEXT_SIZE];
        struct ip a;
        bool v4;
        int rc = ip_parse(c->text, &a, &v4);

        if ((rc == 0) != (c->back != NULL))
            fail_msg("\"%s\": %d", c->text, rc);
        if (rc != 0)
            continue;
        ip_format(&a, buf, sizeof buf);
        assert_string_equal(buf, c->back);
        assert_int_equal(v4, strchr(c->text, ':') == NULL);
    }
}

static void
test_cidr_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cidr_cases); i++) {
        const struct text_case *t = &cidr_cases[i];
        char buf[CIDR_TEXT_SIZE];
        struct err err = {0};
        struct cidr c;
        int rc = cidr_parse(t->text, &c, &err);

        if ((rc == 0) != (t->back != NULL))
            fail_msg("\"%s\": %d", t->text, rc);
        if (rc == 0) {
            cidr_format(&c, buf, sizeof buf);
            assert_string_equal(buf, t->back);
        } else {
            assert_non_null(strstr(err.msg, "want"));
        }
    }
}

struct overlap_case {
    const char *a, *b;
    bool want;
};

static const struct overlap_case overlap_cases[] = {
    {"10.200.5.0/24", "10.200.0.0/16", true}, /* the documents' example: to be refused */
    {"10.200.5.0/24", "10.200.5.0/24", true},
    {"10.200.5.0/24", "10.200.5.128/25", true},
    {"0.0.0.0/0", "10.200.5.0/24", true},
    {"fd00::/64", "fd00::/48", true},
    {"10.200.5.0/24", "10.200.6.0/24", false},
    {"10.200.5.0/24", "10.200.4.0/24", false},
    {"10.200.5.0/25", "10.200.5.128/25", false},
    {"10.0.0.1/32", "10.0.0.2/32", false},
    {"::/0", "10.200.5.0/24", false},
    {"::/64", "0.0.0.0/0", false},
    {"fd00:0:0:1::/64", "fd00:0:0:2::/64", false},
};

static void
test_overlap(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(overlap_cases); i++) {
        const struct overlap_case *c = &overlap_cases[i];
        struct cidr a, b;

        assert_int_equal(cidr_parse(c->a, &a, NULL), 0);
        assert_int_equal(cidr_parse(c->b, &b, NULL), 0);
        if (cidr_overlap(&a, &b) != c->want || cidr_overlap(&b, &a) != c->want)
            fail_msg("%s and %s: want %d", c->a, c->b, c->want);
    }
}

/* first and last bound a prefix: they are in it, their outer neighbours are not. */
static void
check_bounds(uint64_t seed)
{
    struct ip first, last, after, in;
    struct cidr c = {0};
    struct rng r;
    size_t from;

    rng_seed(&r, seed);
    c.v4 = rng_below(&r, 2) != 0;
    from = c.v4 ? 12 : 0;
    if (c.v4)
        memset(c.base.a.s6_addr + 10, 0xff, 2);
    else
        c.base.a.s6_addr[0] = 0xfd;
    for (size_t i = from + !c.v4; i < 16; i++)
        c.base.a.s6_addr[i] = (uint8_t)rng_u64(&r);
    c.prefix = 1 + (unsigned)rng_below(&r, c.v4 ? 32 : 128);
    first = cidr_first(&c);
    last = cidr_last(&c);
    assert_true(cidr_contains(&c, &first) && cidr_contains(&c, &last));
    assert_true(cidr_contains(&c, &c.base));
    assert_true(ip_cmp(&first, &c.base) <= 0 && ip_cmp(&c.base, &last) <= 0);
    after = ip_next(&last);
    assert_false(cidr_contains(&c, &after));
    in = first;
    for (int i = 0; i < 10 && !ip_equal(&in, &last); i++) {
        struct ip next = ip_next(&in);

        assert_true(ip_cmp(&in, &next) < 0 && cidr_contains(&c, &next));
        in = next;
    }
}

static void
test_bounds_property(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5000; seed++)
        check_bounds(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ip_text),
        cmocka_unit_test(test_cidr_text),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_bounds_property),
    };

    return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
