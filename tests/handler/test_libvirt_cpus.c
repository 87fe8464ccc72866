/* Host CPUs for guests that want their own, and what is read of libvirt's XML for it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sb.h"
#include "handler/libvirt_domxml.h"

static void
test_lists(void **state)
{
    static const struct {
        const char *list;
        int rc;
        const char *want; /* what is in it, of CPUs 0 to 9 */
    } rows[] = {
        {"0", 0, "0"},        {"0-3", 0, "0123"},     {"0-3,^2,8", 0, "0138"}, {"4,4", 0, "4"},
        {"9-9", 0, "9"},      {"", -EINVAL, ""},      {"a", -EINVAL, ""},      {"1,", -EINVAL, ""},
        {",1", -EINVAL, ""},  {"3-1", -EINVAL, ""},   {"1-", -EINVAL, ""},     {"-1", -EINVAL, ""},
        {"1 2", -EINVAL, ""}, {"4096", -EINVAL, ""},  {"0-4096", -EINVAL, ""}, {"1;2", -EINVAL, ""},
        {"^", -EINVAL, ""},   {"1-2-3", -EINVAL, ""}, {"0x1", -EINVAL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lv_cpuset s = {0};
        char got[16] = "";

        print_message("\"%s\"\n", rows[i].list);
        assert_int_equal(lv_cpuset_parse(&s, rows[i].list), rows[i].rc);
        for (unsigned c = 0; c < 10; c++)
            if (lv_cpuset_has(&s, c))
                snprintf(got + strlen(got), sizeof got - strlen(got), "%u", c);
        assert_string_equal(got, rows[i].want);
    }
}

/* "node.socket.core ..." for CPUs 0, 1, 2, ... */
static struct lv_cpus_host
host(const char *text, struct lv_cpu *items)
{
    struct lv_cpus_host h = {.items = items};
    unsigned node, socket, core;
    int n;

    for (; sscanf(text, " %u.%u.%u%n", &node, &socket, &core, &n) == 3; text += n) {
        items[h.len] = (struct lv_cpu){(unsigned)h.len, node, socket, core};
        h.len++;
    }
    return h;
}

#define FOUR     "0.0.0 0.0.1 0.0.2 0.0.3"
#define SIBLINGS "0.0.0 0.0.1 0.0.2 0.0.3 0.0.0 0.0.1 0.0.2 0.0.3" /* 0 and 4, 1 and 5, ... */
#define NODES    "0.0.0 0.0.1 0.0.2 1.1.0 1.1.1 1.1.2 1.1.3"

static void
test_pick(void **state)
{
    static const struct {
        const char *name, *host, *taken;
        size_t n;
        const char *want; /* NULL: there are not as many */
    } rows[] = {
        {"the first one stays", FOUR, "", 1, "1"},
        {"all but the first", FOUR, "", 3, "1 2 3"},
        {"the first one is never given", FOUR, "", 4, NULL},
        {"taken ones are not given again", FOUR, "1,3", 1, "2"},
        {"none left", FOUR, "1-3", 1, NULL},
        {"a host of one CPU", "0.0.0", "", 1, NULL},
        {"no CPU at all", "", "", 1, NULL},
        {"siblings together", SIBLINGS, "", 2, "1 5"},
        {"and the next core", SIBLINGS, "", 4, "1 5 2 6"},
        {"a core with a taken sibling comes last", SIBLINGS, "1", 3, "2 6 3"},
        {"but it comes", SIBLINGS, "1", 6, "2 6 3 7 4 5"},
        {"within one node", NODES, "", 3, "3 4 5"},
        {"the node with less room, when it has enough", NODES, "", 2, "1 2"},
        {"over nodes when no one has enough", NODES, "", 6, "1 2 3 4 5 6"},
        {"more than all", NODES, "", 7, NULL},
        {"CPUs that the host does not have change nothing", FOUR, "9,100", 2, "1 2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lv_cpu items[16];
        struct lv_cpus_host h = host(rows[i].host, items);
        struct lv_cpuset taken = {0};
        unsigned got[16];
        char text[64] = "";
        struct err err = {0};
        int rc;

        print_message("%s\n", rows[i].name);
        if (rows[i].taken[0])
            assert_int_equal(lv_cpuset_parse(&taken, rows[i].taken), 0);
        rc = lv_cpus_pick(&h, &taken, rows[i].n, got, &err);
        assert_int_equal(rc, rows[i].want ? 0 : -EBUSY);
        if (!rows[i].want) {
            assert_non_null(strstr(err_msg(&err), "dedicated CPUs wanted"));
            continue;
        }
        for (size_t k = 0; k < rows[i].n; k++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u", k ? " " : "", got[k]);
        assert_string_equal(text, rows[i].want);
    }
}

static void
test_host_xml(void **state)
{
    static const char xml[] =
        "<capabilities><host><topology><cells num='2'>"
        "<cell id='0'><cpus num='2'><cpu id='1' socket_id='0' core_id='1' siblings='1'/>"
        "<cpu id='0' socket_id='0' core_id='0' siblings='0'/></cpus></cell>"
        "<cell id='1'><cpus num='2'><cpu id='2' socket_id='1' core_id='7' siblings='2'/>"
        "<cpu id='3'/></cpus></cell></cells></topology></host></capabilities>";
    struct arena *a = arena_new();
    struct lv_cpus_host h;
    struct err err;

    (void)state;
    assert_int_equal(lv_domxml_host(xml, &h, a, &err), 0);
    assert_int_equal(h.len, 3); /* CPU 3 is offline */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(h.items[i].id, i);
    assert_int_equal(h.items[2].node, 1);
    assert_int_equal(h.items[2].socket, 1);
    assert_int_equal(h.items[2].core, 7);
    assert_int_equal(lv_domxml_host("<capabilities/>", &h, a, &err), 0);
    assert_int_equal(h.len, 0);
    assert_int_equal(lv_domxml_host("<domain/>", &h, a, &err), -EINVAL);
    assert_int_equal(lv_domxml_host("", &h, a, &err), -EINVAL);
    arena_free(a);
}

#define CHANNEL(name, state)                                                                       \
    "<domain type='kvm'><devices><channel type='unix'><target type='virtio' name='" name "'" state \
    "/></channel></devices></domain>"

static void
test_domain_xml(void **state)
{
    static const struct {
        const char *name, *xml;
        uint64_t bytes;
        bool agent, connected;
        const char *pinned;
    } rows[] = {
        {"nothing", "<domain type='kvm'/>", 0, false, false, ""},
        {"KiB without a unit", "<domain><memory>4</memory></domain>", 4096, false, false, ""},
        {"MiB", "<domain><memory unit='MiB'>64</memory></domain>", 64 << 20, false, false, ""},
        {"bytes", "<domain><memory unit='b'>8192</memory></domain>", 8192, false, false, ""},
        {"too much", "<domain><memory unit='TiB'>99999999999</memory></domain>", 0, false, false,
         ""},
        {"no unit of libvirt's", "<domain><memory unit='pages'>4</memory></domain>", 0, false,
         false, ""},
        {"an agent", CHANNEL("org.qemu.guest_agent.0", ""), 0, true, false, ""},
        {"that is there", CHANNEL("org.qemu.guest_agent.0", " state='connected'"), 0, true, true,
         ""},
        {"that is not", CHANNEL("org.qemu.guest_agent.0", " state='disconnected'"), 0, true, false,
         ""},
        {"another channel", CHANNEL("com.redhat.spice.0", " state='connected'"), 0, false, false,
         ""},
        {"pinned",
         "<domain><cputune><vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='5-6'/>"
         "<emulatorpin cpuset='2,8'/></cputune></domain>",
         0, false, false, "2568"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        struct lv_domxml d;
        char got[16] = "";

        print_message("%s\n", rows[i].name);
        assert_int_equal(lv_domxml_read(rows[i].xml, &d, a, NULL), 0);
        assert_true(d.memory_bytes == rows[i].bytes);
        assert_int_equal(d.agent, rows[i].agent);
        assert_int_equal(d.agent_connected, rows[i].connected);
        for (unsigned c = 0; c < 10; c++)
            if (lv_cpuset_has(&d.pinned, c))
                snprintf(got + strlen(got), sizeof got - strlen(got), "%u", c);
        assert_string_equal(got, rows[i].pinned);
        arena_free(a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_pick),
        cmocka_unit_test(test_host_xml),
        cmocka_unit_test(test_domain_xml),
    };

    return cmocka_run_group_tests_name("libvirt cpus", tests, NULL, NULL);
}
