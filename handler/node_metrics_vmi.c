/* Figures of the guests that run here, as vm_stats.c took them last; see node_metrics.h. */
#include "handler/handler.h"
#include "handler/node_metrics_figures.h"

static void
put(struct metrics *m, const char *const *of, const struct hv_stats *st)
{
    const struct {
        bool known;
        enum figure figure;
        double value;
    } rows[] = {
        {st->has_cpu, VMI_CPU, (double)st->cpu_ns / 1e9},
        {st->has_memory, VMI_RESIDENT, (double)st->memory_rss_bytes},
        {st->has_memory, VMI_DOMAIN_MEMORY, (double)st->memory_bytes},
        {st->available_bytes > 0, VMI_AVAILABLE, (double)st->available_bytes},
        {st->unused_bytes > 0, VMI_UNUSED, (double)st->unused_bytes},
        {st->usable_bytes > 0, VMI_USABLE, (double)st->usable_bytes},
        {st->has_memory, VMI_BALLOON, (double)st->balloon_bytes},
        {st->dirty_bytes_per_s > 0, VMI_DIRTY_RATE, (double)st->dirty_bytes_per_s},
        {st->has_net, VMI_NET_RX, (double)st->net_rx_bytes},
        {st->has_net, VMI_NET_TX, (double)st->net_tx_bytes},
        {st->has_net, VMI_NET_RX_DROPS, (double)st->net_rx_drops},
        {st->has_net, VMI_NET_TX_DROPS, (double)st->net_tx_drops},
        {st->has_block, VMI_READ_BYTES, (double)st->block_read_bytes},
        {st->has_block, VMI_WRITE_BYTES, (double)st->block_write_bytes},
        {st->has_block, VMI_READS, (double)st->block_read_ops},
        {st->has_block, VMI_WRITES, (double)st->block_write_ops},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].known)
            metrics_set(m, rows[i].figure, of, rows[i].value);
}

void
node_metrics_vmis(const struct handler *h, struct metrics *m)
{
    size_t it = 0;
    void *v;

    for (size_t f = FIRST_OF_VMI; f <= LAST_OF_VMI; f++)
        metrics_clear(m, f);
    while (strmap_next(h->vms, &it, NULL, &v)) {
        const struct vm_entry *e = v;

        if (!e->guest || !e->vmi)
            continue;
        const char *of[] = {h->cfg.node_name, object_namespace(e->vmi), object_name(e->vmi)};
        const char *info[] = {of[0], of[1], of[2], hv_kind_name(e->guest->ops->kind)};

        metrics_set(m, VMI_HYPERVISOR, info, 1);
        if (e->has_stats)
            put(m, of, &e->stats);
    }
}
