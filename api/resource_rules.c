/* Rules of resources; see resource_rules.h. */
#include "api/resource_rules.h"

#include <string.h>

#include "api/selector.h"

#define HUGEPAGES "hugepages-"

static void check_resource_name(struct check *c, const struct tree *map, size_t i);
static void check_amount(struct check *c, const char *name, const struct tree *amount);
static void check_divides(struct check *c, const struct tree *amount, const struct quantity *page);
static void check_whole_cpu(struct check *c, const struct tree *resources, const char *kind);
static void check_counts_agree(struct check *c, const struct tree *domain);
static bool is_overcommittable(const char *name);
static int64_t vcpus(const struct tree *cpu);

const char *const resources_page_sizes[] = {"2Mi", "1Gi", NULL};

void
resources_amounts(struct check *c, struct tree *map)
{
    for (size_t i = 0; i < tree_len(map); i++) {
        struct path p;

        check_resource_name(c, map, i);
        check_enter(c, &p, tree_key_at(map, i));
        check_amount(c, tree_key_at(map, i), tree_at(map, i));
        check_leave(c);
    }
}

void
resources_of_node(struct check *c, struct tree *map)
{
    struct err why;

    for (size_t i = 0; i < tree_len(map); i++) {
        const char *name = tree_key_at(map, i);

        if (label_key_check(name, &why) != 0)
            check_invalid_text(c, tree_key_pos_at(map, i), name, "%s", why.msg);
    }
    check_not_negative(c, map);
}

void
resources_within_limits(struct check *c, const struct tree *resources)
{
    const struct tree *requests = tree_get(resources, "requests");
    const struct tree *limits = tree_get(resources, "limits");
    struct path outer, inner;

    if (tree_type(requests) != TREE_MAP || tree_type(limits) != TREE_MAP)
        return;
    check_enter(c, &outer, "requests");
    for (size_t i = 0; i < tree_len(requests); i++) {
        const char *name = tree_key_at(requests, i);
        struct quantity limit = check_quantity(tree_get(limits, name));
        struct quantity request = check_quantity(tree_at(requests, i));

        if (!limit.set || !request.set)
            continue;
        check_enter(c, &inner, name);
        if (!is_overcommittable(name) && request.milli != limit.milli)
            check_invalid(c, tree_at(requests, i), "must be equal to %s limit", name);
        else if (request.milli > limit.milli)
            check_invalid(c, tree_at(requests, i), "must be less than or equal to %s limit", name);
        check_leave(c);
    }
    check_leave(c);
}

void
resources_hugepages(struct check *c, const struct tree *domain)
{
    const struct tree *size = tree_find(domain, "memory", "hugepages", "pageSize", NULL);
    const struct tree *guest = tree_find(domain, "memory", "guest", NULL);
    const struct tree *request = tree_find(domain, "resources", "requests", "memory", NULL);
    struct quantity page = check_quantity(size);
    struct path p[3];

    if (!page.set || page.units <= 0 ||
        !check_is_one_of(tree_get_string(size, ""), resources_page_sizes))
        return;
    check_enter(c, &p[0], "memory");
    check_enter(c, &p[1], "guest");
    check_divides(c, guest, &page);
    check_leave(c);
    check_leave(c);
    check_enter(c, &p[0], "resources");
    check_enter(c, &p[1], "requests");
    check_enter(c, &p[2], "memory");
    check_divides(c, request, &page);
    check_leave(c);
    check_leave(c);
    check_leave(c);
}

void
resources_dedicated(struct check *c, const struct tree *domain)
{
    const struct tree *cpu = tree_get(domain, "cpu"), *resources = tree_get(domain, "resources");
    const struct tree *memory = tree_find(resources, "requests", "memory", NULL);
    struct quantity request = check_quantity(memory);
    struct quantity limit = check_quantity(tree_find(resources, "limits", "memory", NULL));
    struct path p[3];

    if (!tree_get_bool(tree_get(cpu, "dedicatedCpuPlacement"), false))
        return;
    check_enter(c, &p[0], "resources");
    check_whole_cpu(c, resources, "requests");
    check_whole_cpu(c, resources, "limits");
    if (request.set && limit.set && request.milli != limit.milli) {
        check_enter(c, &p[1], "requests");
        check_enter(c, &p[2], "memory");
        check_invalid(c, memory,
                      "must be equal to memory limit when dedicatedCpuPlacement is true");
        check_leave(c);
        check_leave(c);
    }
    check_leave(c);
    check_enter(c, &p[0], "cpu");
    check_counts_agree(c, domain);
    if (tree_get_int(tree_get(cpu, "threads"), 0) > 2)
        check_field_invalid(c, cpu, "threads",
                            "not more than two threads when dedicatedCpuPlacement is true");
    if (tree_find(cpu, "numa", "guestMappingPassthrough", NULL) &&
        !tree_find(domain, "memory", "hugepages", NULL))
        check_field_invalid(c, cpu, "numa",
                            "guestMappingPassthrough can be set only together with "
                            "memory.hugepages");
    check_leave(c);
}

/* Standard names, and names of devices: DOMAIN/NAME. */
static void
check_resource_name(struct check *c, const struct tree *map, size_t i)
{
    static const char *const standard[] = {"cpu", "memory", "ephemeral-storage", NULL};
    const char *name = tree_key_at(map, i);
    struct tree_pos pos = tree_key_pos_at(map, i);
    struct err why;

    if (label_key_check(name, &why) != 0)
        check_invalid_text(c, pos, name, "%s", why.msg);
    else if (!strchr(name, '/') && !check_is_one_of(name, standard) &&
             strncmp(name, HUGEPAGES, strlen(HUGEPAGES)) != 0)
        check_invalid_text(c, pos, name,
                           "must be cpu, memory, ephemeral-storage, hugepages-SIZE or a device's "
                           "name such as example.com/gpu");
}

static void
check_amount(struct check *c, const char *name, const struct tree *amount)
{
    struct quantity q = check_quantity(amount), page = {0};

    if (!q.set)
        return;
    if (q.milli < 0)
        check_invalid(c, amount, "must be greater than or equal to 0");
    else if (!is_overcommittable(name) && q.milli % 1000 != 0 && q.milli != INT64_MAX)
        check_invalid(c, amount, "must be an integer");
    if (strncmp(name, HUGEPAGES, strlen(HUGEPAGES)) != 0)
        return;
    if (quantity_parse(name + strlen(HUGEPAGES), &page, NULL) != 0 || page.units <= 0)
        check_invalid_text(c, tree_pos(amount), name,
                           "want hugepages- and a page size such as 2Mi");
    else if (q.units % page.units != 0)
        check_invalid(c, amount, "must be a multiple of the page size %s",
                      name + strlen(HUGEPAGES));
}

/* The amount at c->at against the page size. */
static void
check_divides(struct check *c, const struct tree *amount, const struct quantity *page)
{
    struct quantity q = check_quantity(amount);

    if (!q.set)
        return;
    if (q.units <= page->units)
        check_invalid(c, amount, "must be larger than the huge page size (%lld bytes)",
                      (long long)page->units);
    else if (q.units % page->units != 0)
        check_invalid(c, amount, "must be divisible by the huge page size (%lld bytes)",
                      (long long)page->units);
}

static void
check_whole_cpu(struct check *c, const struct tree *resources, const char *kind)
{
    const struct tree *amount = tree_find(resources, kind, "cpu", NULL);
    struct quantity q = check_quantity(amount);
    struct path p[2];

    if (!q.set || q.milli % 1000 == 0)
        return;
    check_enter(c, &p[0], kind);
    check_enter(c, &p[1], "cpu");
    check_invalid(c, amount, "must be an integer when dedicatedCpuPlacement is true");
    check_leave(c);
    check_leave(c);
}

/* At cpu: sockets, cores and threads on the one hand, requests and limits on the other say the same. */
static void
check_counts_agree(struct check *c, const struct tree *domain)
{
    const struct tree *cpu = tree_get(domain, "cpu");
    struct quantity request =
        check_quantity(tree_find(domain, "resources", "requests", "cpu", NULL));
    struct quantity limit = check_quantity(tree_find(domain, "resources", "limits", "cpu", NULL));
    int64_t asked = request.set ? request.units : limit.units, count = vcpus(cpu);

    if (request.set && limit.set && request.milli != limit.milli)
        check_field_invalid(c, cpu, "dedicatedCpuPlacement",
                            "resources.requests.cpu and resources.limits.cpu must be equal when "
                            "dedicatedCpuPlacement is true");
    else if (count > 0 && asked > 0 && asked != count)
        check_field_invalid(c, cpu, "dedicatedCpuPlacement",
                            "resources.requests.cpu or resources.limits.cpu must not be another "
                            "number than sockets * cores * threads");
}

static bool
is_overcommittable(const char *name)
{
    return !strchr(name, '/') && strncmp(name, HUGEPAGES, strlen(HUGEPAGES)) != 0;
}

/* 0 when the topology says nothing. */
static int64_t
vcpus(const struct tree *cpu)
{
    static const char *const parts[] = {"sockets", "cores", "threads"};
    int64_t product = 1;
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        int64_t n = tree_get_int(tree_get(cpu, parts[i]), 0);

        any = any || n > 0;
        if (n > 0 && __builtin_mul_overflow(product, n, &product))
            product = INT64_MAX;
    }
    return any ? product : 0;
}
