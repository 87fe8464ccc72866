/* How a guest is, from libvirt's events and answers: no call of libvirt is made here. See
 * libvirt_guest_int.h; the names are those of virDomainEventType, virDomainState and their details. */
#include <string.h>

#include "handler/libvirt_guest_int.h"

static void set_exit(struct hv_exit *x, enum hv_exit_kind kind, const char *text);
static bool end_locked(struct lv_guest *g, const struct hv_exit *x);
static bool lifecycle_locked(struct lv_guest *g, int event, int detail);
static bool runs_locked(struct lv_guest *g);
static bool stopped_locked(struct lv_guest *g, int detail);

enum hv_pause
lv_pause_of_event(int detail)
{
    switch (detail) {
    case VIR_DOMAIN_EVENT_SUSPENDED_PAUSED:
        return HV_PAUSE_USER;
    case VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED:
    case VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY:
    case VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED:
        return HV_PAUSE_MIGRATION;
    case VIR_DOMAIN_EVENT_SUSPENDED_IOERROR:
        return HV_PAUSE_IO_ERROR;
    default:
        return HV_PAUSE_OTHER;
    }
}

enum hv_pause
lv_pause_of_reason(int reason)
{
    switch (reason) {
    case VIR_DOMAIN_PAUSED_USER:
        return HV_PAUSE_USER;
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
    case VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
        return HV_PAUSE_MIGRATION;
    case VIR_DOMAIN_PAUSED_IOERROR:
        return HV_PAUSE_IO_ERROR;
    default:
        return HV_PAUSE_OTHER;
    }
}

void
lv_exit_of_event(int detail, bool from_host, struct hv_exit *ret)
{
    switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
        if (from_host)
            set_exit(ret, HV_EXIT_KILLED, "QEMU was asked to end by a signal from the host");
        else
            set_exit(ret, HV_EXIT_QUIT, "the guest powered itself off");
        break;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
        set_exit(ret, HV_EXIT_KILLED, "its domain was destroyed");
        break;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
        set_exit(ret, HV_EXIT_CRASHED, "the guest crashed");
        break;
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
        set_exit(ret, HV_EXIT_MIGRATED, "a migration took it to another host");
        break;
    case VIR_DOMAIN_EVENT_STOPPED_SAVED:
        set_exit(ret, HV_EXIT_KILLED, "its state was saved to a file and its domain ended");
        break;
    default:
        set_exit(ret, HV_EXIT_KILLED, "QEMU's process is gone and left no word");
    }
}

void
lv_exit_of_reason(int reason, struct hv_exit *ret)
{
    switch (reason) {
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
        set_exit(ret, HV_EXIT_QUIT, "the guest powered itself off");
        break;
    case VIR_DOMAIN_SHUTOFF_DESTROYED:
        set_exit(ret, HV_EXIT_KILLED, "its domain was destroyed");
        break;
    case VIR_DOMAIN_SHUTOFF_CRASHED:
        set_exit(ret, HV_EXIT_CRASHED, "the guest crashed, or QEMU's process was ended");
        break;
    case VIR_DOMAIN_SHUTOFF_MIGRATED:
        set_exit(ret, HV_EXIT_MIGRATED, "a migration took it to another host");
        break;
    case VIR_DOMAIN_SHUTOFF_FAILED:
        set_exit(ret, HV_EXIT_FAILED, "its domain could not be started");
        break;
    default: /* after a restart of libvirtd, or of the host, it does not know */
        set_exit(ret, HV_EXIT_KILLED, "it was found shut off, and libvirt does not know why");
    }
}

bool
lv_guest_event_locked(struct lv_guest *g, const struct libvirt_event *ev)
{
    g->seq++;
    switch (ev->kind) {
    case LIBVIRT_EVENT_LIFECYCLE:
        return lifecycle_locked(g, ev->event, ev->detail);
    case LIBVIRT_EVENT_AGENT:
        g->agent = ev->detail != 0;
        return false;
    case LIBVIRT_EVENT_REBOOT:
        g->resets++;
        return false;
    case LIBVIRT_EVENT_LOST:
        g->lost = true;
        return false;
    default:
        return false;
    }
}

static bool
lifecycle_locked(struct lv_guest *g, int event, int detail)
{
    struct hv_exit x;

    switch ((virDomainEventType)event) {
    case VIR_DOMAIN_EVENT_STARTED:
        return !g->rec.incoming && runs_locked(g);
    case VIR_DOMAIN_EVENT_RESUMED:
        return runs_locked(g);
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        g->state = HV_PAUSED;
        g->pause = HV_PAUSE_OTHER;
        return false;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        if (g->rec.incoming) /* the migration has it until lv_guest_arrived */
            return false;
        g->state = HV_PAUSED;
        g->pause = lv_pause_of_event(detail);
        if (g->migrating && g->pause == HV_PAUSE_USER)
            g->pause = HV_PAUSE_MIGRATION;
        return false;
    case VIR_DOMAIN_EVENT_SHUTDOWN:
        g->from_host = detail == VIR_DOMAIN_EVENT_SHUTDOWN_HOST;
        return false;
    case VIR_DOMAIN_EVENT_STOPPED:
        return stopped_locked(g, detail);
    case VIR_DOMAIN_EVENT_CRASHED:
        lv_exit_of_event(VIR_DOMAIN_EVENT_STOPPED_CRASHED, false, &x);
        return end_locked(g, &x);
    default:
        return false;
    }
}

/* True: it was incoming, or had ended, and the record says so. */
static bool
runs_locked(struct lv_guest *g)
{
    bool write = g->rec.incoming || g->rec.exit.kind != HV_EXIT_NONE;

    g->state = HV_RUNNING;
    g->pause = HV_PAUSE_NONE;
    g->from_host = g->moved = false;
    g->rec.incoming = false;
    g->rec.exit = (struct hv_exit){.kind = HV_EXIT_NONE};
    return write;
}

static bool
stopped_locked(struct lv_guest *g, int detail)
{
    struct hv_exit x;

    g->agent = false;
    if (g->rec.incoming) { /* the migration failed; it may come again */
        g->state = HV_INCOMING;
        return false;
    }
    if (g->migrating && detail == VIR_DOMAIN_EVENT_STOPPED_MIGRATED) {
        g->moved = true;
        g->state = HV_PAUSED;
        g->pause = HV_PAUSE_MIGRATION;
        return false;
    }
    lv_exit_of_event(detail, g->from_host, &x);
    return end_locked(g, &x);
}

bool
lv_guest_seen_locked(struct lv_guest *g, bool gone, int state, int reason, bool agent)
{
    struct hv_exit x;

    g->lost = false;
    g->agent = agent;
    if (g->rec.incoming && (gone || (state != VIR_DOMAIN_RUNNING && state != VIR_DOMAIN_BLOCKED))) {
        g->state = HV_INCOMING;
        return false;
    }
    if (gone || state == VIR_DOMAIN_SHUTOFF) {
        if (g->rec.exit.kind != HV_EXIT_NONE) { /* known from its event, better than now */
            g->state = HV_ENDED;
            return false;
        }
        if (g->migrating && (gone || reason == VIR_DOMAIN_SHUTOFF_MIGRATED)) {
            g->moved = true;
            g->state = HV_PAUSED;
            g->pause = HV_PAUSE_MIGRATION;
            return false;
        }
        if (gone)
            set_exit(&x, HV_EXIT_KILLED, "libvirt has no such domain any more");
        else
            lv_exit_of_reason(reason, &x);
        return end_locked(g, &x);
    }
    if (state == VIR_DOMAIN_CRASHED) {
        lv_exit_of_reason(VIR_DOMAIN_SHUTOFF_CRASHED, &x);
        return end_locked(g, &x);
    }
    if (state == VIR_DOMAIN_PAUSED || state == VIR_DOMAIN_PMSUSPENDED) {
        bool write = g->rec.exit.kind != HV_EXIT_NONE;

        g->rec.exit.kind = HV_EXIT_NONE;
        g->state = HV_PAUSED;
        g->pause = state == VIR_DOMAIN_PAUSED ? lv_pause_of_reason(reason) : HV_PAUSE_OTHER;
        if (g->migrating && g->pause == HV_PAUSE_USER)
            g->pause = HV_PAUSE_MIGRATION;
        return write;
    }
    return runs_locked(g);
}

static bool
end_locked(struct lv_guest *g, const struct hv_exit *x)
{
    g->state = HV_ENDED;
    g->pause = HV_PAUSE_NONE;
    g->agent = g->moved = g->from_host = false;
    g->rec.exit = *x;
    return true;
}

static void
set_exit(struct hv_exit *x, enum hv_exit_kind kind, const char *text)
{
    *x = (struct hv_exit){.kind = kind};
    snprintf(x->text, sizeof x->text, "%s", text);
}
