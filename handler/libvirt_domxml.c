/* See libvirt_domxml.h. Elements and attributes: libvirt's formatdomain, formatcaps. */
#include "handler/libvirt_domxml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sched/labeller_xml.h"

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

static uint64_t memory_of(const struct xml_element *memory);
static void pinned_of(const struct xml_element *cputune, struct lv_cpuset *ret);
static bool number(const char *text, unsigned *ret);
static int by_id(const void *a, const void *b);

int
lv_domxml_read(const char *xml, struct lv_domxml *ret, struct arena *a, struct err *err)
{
    const struct labeller_text text = {"domain", xml};
    const struct xml_element *type, *uuid;
    struct lv_domxml d = {0};
    struct xml_element *root;
    int rc = xml_parse(&text, "domain", &root, a, err);

    if (rc != 0)
        return rc;
    type = xml_child(xml_child(root, "os"), "type");
    uuid = xml_child(root, "uuid");
    d.type = xml_attr(root, "type");
    d.arch = xml_attr(type, "arch");
    d.machine = xml_attr(type, "machine");
    d.uuid = uuid ? uuid->text : "";
    d.memory_bytes = memory_of(xml_child(root, "memory"));
    d.cpu_mode = xml_attr(xml_child(root, "cpu"), "mode");
    for (const struct xml_element *c = xml_child(xml_child(root, "devices"), "channel"); c;
         c = xml_again(c)) {
        const struct xml_element *target = xml_child(c, "target");

        if (strcmp(xml_attr(target, "name"), AGENT_CHANNEL) != 0)
            continue;
        d.agent = true;
        d.agent_connected = strcmp(xml_attr(target, "state"), "connected") == 0;
    }
    pinned_of(xml_child(root, "cputune"), &d.pinned);
    *ret = d;
    return 0;
}

/* 0 when there is none, or it is no number. */
static uint64_t
memory_of(const struct xml_element *memory)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"", 1024},        {"b", 1},
        {"bytes", 1},      {"KB", 1000},
        {"k", 1024},       {"KiB", 1024},
        {"MB", 1000000},   {"M", 1 << 20},
        {"MiB", 1 << 20},  {"GB", 1000000000},
        {"G", 1 << 30},    {"GiB", 1 << 30},
        {"T", 1ull << 40}, {"TiB", 1ull << 40},
    };
    uint64_t n = memory ? strtoull(memory->text, NULL, 10) : 0, bytes;

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(units[i].name, xml_attr(memory, "unit")) == 0 &&
            !__builtin_mul_overflow(n, units[i].bytes, &bytes))
            return bytes;
    return 0;
}

static void
pinned_of(const struct xml_element *cputune, struct lv_cpuset *ret)
{
    static const char *const names[] = {"vcpupin", "emulatorpin"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (const struct xml_element *e = xml_child(cputune, names[i]); e; e = xml_again(e))
            (void)lv_cpuset_parse(ret, xml_attr(e, "cpuset"));
}

int
lv_domxml_host(const char *capabilities, struct lv_cpus_host *ret, struct arena *a, struct err *err)
{
    const struct labeller_text text = {"capabilities", capabilities};
    struct lv_cpus_host h = {.items = arena_calloc(a, LV_CPUS_MAX, sizeof(*h.items))};
    struct xml_element *root;
    int rc = xml_parse(&text, "capabilities", &root, a, err);

    if (rc != 0)
        return rc;
    for (const struct xml_element *cell =
             xml_child(xml_child(xml_child(xml_child(root, "host"), "topology"), "cells"), "cell");
         cell; cell = xml_again(cell)) {
        unsigned node = 0;

        number(xml_attr(cell, "id"), &node);
        for (const struct xml_element *e = xml_child(xml_child(cell, "cpus"), "cpu"); e;
             e = xml_again(e)) {
            struct lv_cpu cpu = {.node = node};

            /* an offline CPU has an id and nothing else */
            if (h.len < LV_CPUS_MAX && number(xml_attr(e, "id"), &cpu.id) &&
                number(xml_attr(e, "socket_id"), &cpu.socket) &&
                number(xml_attr(e, "core_id"), &cpu.core))
                h.items[h.len++] = cpu;
        }
    }
    qsort(h.items, h.len, sizeof(*h.items), by_id);
    *ret = h;
    return 0;
}

static bool
number(const char *text, unsigned *ret)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || v > UINT32_MAX)
        return false;
    *ret = (unsigned)v;
    return true;
}

static int
by_id(const void *a, const void *b)
{
    const struct lv_cpu *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}
