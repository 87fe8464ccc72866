/* What the network agent says: the migration network's state with what its neighbours and waiting
 * migrations add, and the status of enactments, again until the objects show it. See net_impl.h. */
#include "handler/net_impl.h"

#include <string.h>

#include "api/object.h"

static void
on_publish(void *ctx)
{
    struct net_agent *n = ctx;
    size_t it = 0;
    void *v;

    n->publish_timer = NULL;
    while (strmap_next(n->policies, &it, NULL, &v))
        ((struct net_policy *)v)->unsaid = true;
    net_say_policies(n);
}

/* Says of each enactment what is true and not said yet; again later while a write is on its way. */
void
net_say_policies(struct net_agent *n)
{
    bool more = false;
    const char *name;
    size_t it = 0;
    void *v;

    while (strmap_next(n->policies, &it, &name, &v)) {
        struct net_policy *p = v;
        AUTO_TREE struct tree *status = NULL;
        AUTO_FREE char *message = NULL;
        bool own;

        if (p->waiting || !p->desired || p->result_generation != p->generation)
            continue;
        own = strcmp(p->reason, NET_REASON_KIND) == 0 ||
              strcmp(p->reason, NET_REASON_PERMISSION) == 0;
        message = own || strcmp(p->reason, "FailedToConfigure") == 0
                      ? xstrdup(p->message)
                      : xasprintf("%s: %s", p->reason, p->message);
        status = p->rc == 0 ? net_status_enactment(NET_STATUS_AVAILABLE, "", "", p->generation,
                                                   loop_wall_us(n->l))
                            : net_status_enactment(NET_STATUS_FAILING,
                                                   own ? p->reason : "FailedToConfigure", message,
                                                   p->generation, loop_wall_us(n->l));
        for (size_t i = 0; i < tree_len(n->enactments); i++) {
            const struct tree *obj = tree_at(n->enactments, i);

            if (strcmp(object_name(obj), p->enactment) == 0 && !net_status_said(obj, status)) {
                if (p->unsaid)
                    n->hooks.enacted(n->hooks.ctx, p->enactment, status);
                p->unsaid = false;
                more = true;
            }
        }
    }
    if (more && !n->publish_timer)
        n->publish_timer = loop_timer_add(n->l, HANDLER_NET_REPAIR_US, on_publish, n);
}

void
net_say_progressing(struct net_agent *n, struct net_policy *p)
{
    AUTO_TREE struct tree *status =
        net_status_enactment(NET_STATUS_PROGRESSING, "", "", p->generation, loop_wall_us(n->l));

    p->told = true;
    n->hooks.enacted(n->hooks.ctx, p->enactment, status);
}

/* The network's state, with what is not the link's. */
void
net_say_network(struct net_agent *n)
{
    struct mignet m = n->link;
    char peers[160];
    size_t failed = net_peers_failed(&n->peers, peers, sizeof peers);

    if (m.state == MIGNET_UNKNOWN)
        return;
    if (m.state == MIGNET_READY && n->holding) {
        net_mig_broken(
            &m, n->newest.ref, "Reattaching",
            "%u migration(s) still run over %s; it is attached anew when they have ended",
            n->hooks.busy(n->hooks.ctx), n->link.ifname);
    } else if (m.state == MIGNET_READY && failed > 0 && failed == n->peers.len) {
        net_mig_broken(&m, m.ref, "NeighbourUnreachable",
                       "no neighbour on %s that was tried answers: %s", n->link.ifname, peers);
    } else if (m.state == MIGNET_READY && failed > 0) {
        snprintf(m.reason, sizeof m.reason, "%s; does not answer: %s", n->link.reason, peers);
    } else if (m.state == MIGNET_BROKEN && n->attached && n->repairs > 1) {
        size_t at = strlen(m.reason);

        snprintf(m.reason + at, sizeof m.reason - at,
                 "; repaired %u times, something else changes it: next repair after %llu s",
                 n->repairs, (unsigned long long)(n->repair_pause_us / 1000000));
    }
    if (failed > 0)
        net_look_ask_peers(n);
    if (net_mig_equal(&m, &n->now))
        return;
    n->now = m;
    n->hooks.changed(n->hooks.ctx, &n->now);
}
