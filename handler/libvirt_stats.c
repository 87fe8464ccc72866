/* See libvirt_stats.h; the names are in the documentation of virConnectGetAllDomainStats. */
#include "handler/libvirt_stats.h"

#include <inttypes.h>
#include <stdio.h>

#define MAX_DEVICES 1024 /* of a kind that are added up */

struct params {
    const struct libvirt_api *api;
    virTypedParameterPtr items;
    int len;
};

static bool number(const struct params *p, const char *name, uint64_t *ret);
static bool sum(const struct params *p, const char *group, const char *const *names,
                uint64_t *const *into, size_t n);

void
lv_stats_of(const struct libvirt_api *api, virTypedParameterPtr params, int len,
            struct hv_stats *ret)
{
    static const char *const block[] = {"rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs"};
    static const char *const net[] = {"rx.bytes", "tx.bytes", "rx.drop", "tx.drop"};
    const struct params p = {api, params, len};
    struct hv_stats s = {0};
    uint64_t n;

    s.has_cpu = number(&p, "cpu.time", &s.cpu_ns);
    if (number(&p, "vcpu.current", &n))
        s.vcpus = (unsigned)n;
    s.has_memory = number(&p, "balloon.maximum", &s.memory_bytes); /* KiB, all of them */
    if (number(&p, "balloon.current", &s.balloon_bytes))
        s.balloon_bytes *= 1024;
    if (number(&p, "balloon.rss", &s.memory_rss_bytes))
        s.memory_rss_bytes *= 1024;
    if (number(&p, "balloon.available", &n))
        s.available_bytes = n * 1024;
    if (number(&p, "balloon.unused", &n))
        s.unused_bytes = n * 1024;
    if (number(&p, "balloon.usable", &n))
        s.usable_bytes = n * 1024;
    s.memory_bytes *= 1024;
    if (number(&p, "dirtyrate.megabytes_per_second", &n))
        s.dirty_bytes_per_s = n << 20;
    s.has_block = sum(&p, "block", block,
                      (uint64_t *const[]){&s.block_read_bytes, &s.block_write_bytes,
                                          &s.block_read_ops, &s.block_write_ops},
                      ARRAY_LEN(block));
    s.has_net =
        sum(&p, "net", net,
            (uint64_t *const[]){&s.net_rx_bytes, &s.net_tx_bytes, &s.net_rx_drops, &s.net_tx_drops},
            ARRAY_LEN(net));
    *ret = s;
}

/* Whatever number type libvirt chose for it. */
static bool
number(const struct params *p, const char *name, uint64_t *ret)
{
    unsigned long long ull;
    unsigned int u;
    long long ll;

    if (p->api->virTypedParamsGetULLong(p->items, p->len, name, &ull) == 1)
        *ret = ull;
    else if (p->api->virTypedParamsGetUInt(p->items, p->len, name, &u) == 1)
        *ret = u;
    else if (p->api->virTypedParamsGetLLong(p->items, p->len, name, &ll) == 1 && ll >= 0)
        *ret = (uint64_t)ll;
    else
        return false;
    return true;
}

/* GROUP.count devices, GROUP.N.NAME each. False: libvirt says nothing of the group. */
static bool
sum(const struct params *p, const char *group, const char *const *names, uint64_t *const *into,
    size_t n)
{
    uint64_t count = 0, v;
    char name[VIR_TYPED_PARAM_FIELD_LENGTH];

    snprintf(name, sizeof name, "%s.count", group);
    if (!number(p, name, &count))
        return false;
    for (uint64_t i = 0; i < count && i < MAX_DEVICES; i++)
        for (size_t k = 0; k < n; k++) {
            snprintf(name, sizeof name, "%s.%" PRIu64 ".%s", group, i, names[k]);
            if (number(p, name, &v))
                *into[k] += v;
        }
    return true;
}
