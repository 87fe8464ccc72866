/* Reads a migration from its object. A view, not a check: what is missing or malformed counts as
 * not there, because half of it is written by other processes while we look. */
#include "cli/client_migration.h"

#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "api/quantity.h"

static const char *
text(struct arena *a, const char *s)
{
    return s ? arena_strdup(a, s) : "";
}

static int64_t
number(const struct tree *t, const char *key)
{
    return (int64_t)tree_get_float(tree_get(t, key), 0);
}

/* By pages, the most used first. */
static const char *
read_encodings(const struct tree *t, struct arena *a)
{
    const struct tree *all = tree_get(t, "encodings");
    AUTO_SB struct sb out = SB_INIT;
    int64_t sum = 0, last = INT64_MAX;
    size_t last_at = 0;

    for (size_t i = 0; i < tree_len(all); i++)
        sum += number(tree_at(all, i), "pages");
    for (size_t n = 0; n < tree_len(all) && sum > 0; n++) {
        int64_t best = -1;
        size_t at = 0;

        for (size_t i = 0; i < tree_len(all); i++) {
            int64_t pages = number(tree_at(all, i), "pages");

            if (pages > best && (pages < last || (pages == last && i > last_at))) {
                best = pages;
                at = i;
            }
        }
        if (best <= 0)
            break;
        sb_printf(&out, "%s%s %d%%", out.len ? ", " : "", tree_key_at(all, at),
                  (int)((double)best * 100 / (double)sum + 0.5));
        last = best;
        last_at = at;
    }
    return arena_strdup(a, sb_str(&out));
}

/* TLS on one connection and none on another: the others are queue pairs, now or before. */
static bool
has_clear_part(const struct tree *t)
{
    return tree_find_string(t, "", "tls", NULL)[0] &&
           !tree_get_bool(tree_get(t, "encrypted"), false);
}

static const char *
privacy(const struct tree *t)
{
    if (strcmp(tree_find_string(t, "", "transport", NULL), "rdma") == 0)
        return "RDMA in the clear";
    if (has_clear_part(t))
        return "partly in the clear";
    return tree_get_bool(tree_get(t, "encrypted"), false) ? "encrypted" : "plaintext";
}

/* What progress and result have in common. */
static void
read_common(const struct tree *t, struct arena *a, struct migration *m)
{
    m->mode = text(a, tree_find_string(t, "", "mode", NULL));
    m->encodings = read_encodings(t, a);
    m->transport = text(a, tree_find_string(t, "", "transport", NULL));
    m->transport_reason = text(a, tree_find_string(t, "", "transportReason", NULL));
    m->rdma_device = text(a, tree_find_string(t, "", "rdmaDevice", NULL));
    m->placed_pages = number(t, "placedPages");
    m->registered_peak_bytes = number(t, "registeredPeakBytes");
    m->privacy = privacy(t);
    m->limit_bytes_per_s = number(t, "limitBytesPerSecond");
    m->throttle_percent = number(t, "throttlePercent");
    m->throttle_ms = number(t, "throttleMs");
    m->write_faults = number(t, "writeFaults");
    m->write_fault_ms = number(t, "writeFaultMs");
    m->reconnects = number(t, "reconnects");
    m->missing_bytes = number(t, "missingBytes");
    m->raw_pages = number(t, "rawPages");
    m->zero_pages = number(t, "zeroPages");
    m->absent_pages = number(t, "absentPages");
    m->again_pages = number(t, "againPages");
    m->cpu_ms = number(t, "cpuMs");
}

static void
read_progress(const struct tree *vmim, struct arena *a, struct migration *m)
{
    AUTO_TREE struct tree *t = object_annotation_json(vmim, ANN_MIGRATION_PROGRESS);

    if (!t)
        return;
    m->has_progress = true;
    m->round = number(t, "round");
    m->total_bytes = number(t, "totalBytes");
    m->remaining_bytes = number(t, "remainingBytes");
    m->sent_bytes = number(t, "sentBytes");
    m->rate_bytes_per_s = number(t, "transferBytesPerSecond");
    m->dirty_bytes_per_s = number(t, "dirtyBytesPerSecond");
    m->predicted_downtime_ms = number(t, "predictedDowntimeMs");
    m->elapsed_ms = number(t, "elapsedMs");
    m->predicted_downtime_p90_ms = number(t, "predictedDowntimeP90Ms");
    m->predicted_total_ms = number(t, "predictedTotalMs");
    read_common(t, a, m);
}

static void
add_phases(struct sb *out, const struct tree *t, const char *where)
{
    const struct tree *d = tree_get(t, "downtime");

    for (size_t i = 0; i < tree_len(d); i++) {
        const char *key = tree_key_at(d, i);
        size_t len = strlen(key);

        if (len < 3 || strcmp(key + len - 2, "Ms") != 0)
            continue;
        sb_printf(out, "%s%s%.*s %.2f ms", out->len ? ", " : "", where, (int)len - 2, key,
                  tree_get_float(tree_at(d, i), 0));
    }
}

static void
read_decisions(const struct tree *vmim, struct arena *a, struct migration *m)
{
    AUTO_TREE struct tree *t = object_annotation_json(vmim, ANN_MIGRATION_DECISIONS);

    if (!t || tree_type(t) != TREE_LIST)
        return;
    m->decisions = arena_calloc(a, tree_len(t) + 1, sizeof(*m->decisions));
    for (size_t i = 0; i < tree_len(t); i++) {
        const struct tree *one = tree_at(t, i);

        if (tree_type(tree_get(one, "text")) == TREE_STRING)
            m->decisions[m->decisions_len++] = (struct migration_decision){
                .at = text(a, tree_find_string(one, "", "at", NULL)),
                .text = text(a, tree_find_string(one, "", "text", NULL)),
                .round = number(one, "round"),
            };
    }
}

/* In the clear only because somebody said so: the cluster, or else the nodes. */
static const char *
encryption(const struct tree *vmim, const struct tree *result, struct arena *a)
{
    const char *tls = tree_find_string(result, NULL, "tls", NULL);

    if (!tls)
        return NULL;
    if (has_clear_part(result))
        return arena_printf(
            a,
            strcmp(tree_find_string(result, "", "transport", NULL), "rdma") == 0
                ? "no: its memory went over RDMA in the clear; the control connection "
                  "was encrypted (%s)"
                : "in part: some of its memory went over RDMA in the clear, the rest "
                  "and the control connection were encrypted (%s)",
            tls);
    if (*tls)
        return arena_printf(a, "yes (%s)", tls);
    return tree_get_bool(tree_find(vmim, "status", "migrationState", "migrationConfiguration",
                                   "disableTLS", NULL),
                         false)
               ? "no (disableTLS)"
               : "no (--insecure-plaintext)";
}

static void
read_result(const struct tree *vmim, struct arena *a, struct migration *m)
{
    AUTO_TREE struct tree *t = object_annotation_json(vmim, ANN_MIGRATION_RESULT);
    AUTO_TREE struct tree *guest = object_annotation_json(vmim, ANN_GUEST_RESULT);
    AUTO_TREE struct tree *target = object_annotation_json(vmim, ANN_TARGET_RESULT);
    AUTO_SB struct sb phases = SB_INIT;

    m->guest_downtime_ms = tree_get(guest, "downtimeMs") ? number(guest, "downtimeMs") : -1;
    m->has_target = target != NULL;
    m->target_cpu_ms = number(target, "cpuMs");
    m->postcopy_ms = number(target, "postCopyMs");
    m->faults = number(target, "faults");
    m->fault_p50_us = number(target, "faultP50Us");
    m->fault_p99_us = number(target, "faultP99Us");
    m->read_faults = number(target, "readFaults");
    if (!t)
        return;
    m->has_result = true;
    m->cause = text(a, tree_find_string(t, "", "cause", NULL));
    m->method = text(a, tree_find_string(t, "", "method", NULL));
    m->result_rounds = number(t, "rounds");
    m->result_sent_bytes = number(t, "sentBytes");
    m->result_total_ms = number(t, "totalMs");
    m->result_downtime_ms = tree_get(t, "downtimeMs") ? number(t, "downtimeMs") : -1;
    if (strcmp(m->method, "relay") == 0)
        m->guest_downtime_ms = m->result_downtime_ms;
    m->result_channels = number(t, "channels");
    m->encryption = encryption(vmim, t, a);
    read_common(t, a, m);
    add_phases(&phases, t, "");
    add_phases(&phases, target, "target's ");
    m->downtime_phases = text(a, sb_str(&phases));
}

/* Why it does not go on: the coordinator keeps it in one condition. */
static const char *
waiting_message(const struct vmim *v)
{
    for (size_t i = 0; i < v->conditions.len; i++) {
        const struct condition *c = &v->conditions.items[i];

        if (c->type && strcmp(c->type, "Waiting") == 0 && c->status &&
            strcmp(c->status, "True") == 0 && c->message)
            return c->message;
    }
    return "";
}

void
migration_read(const struct tree *vmim, struct arena *a, struct migration *ret)
{
    const struct vmim *v = vmim_decode(vmim, a);
    struct migration m = {
        .namespace_ = text(a, v->meta.namespace_),
        .name = text(a, v->meta.name),
        .uid = text(a, v->meta.uid),
        .vm = text(a, v->vmi_name),
        .phase = text(a, v->phase),
        .source = text(a, v->state.source_node),
        .target = text(a, v->state.target_node),
        .address = text(a, v->state.target_node_address),
        .policy = text(a, v->state.policy_name),
        .failure = text(a, v->state.failure_reason),
        .created_us = v->meta.creation_us,
        .started_us = v->state.start_us,
        .ended_us = v->state.end_us,
        .cancelling = v->meta.deletion_us != 0,
        .cause = "",
        .waiting = "",
        .mode = "",
        .encodings = "",
        .privacy = "",
        .transport = "",
        .transport_reason = "",
        .rdma_device = "",
        .method = "",
        .downtime_phases = "",
    };

    m.failed = strcmp(m.phase, "Failed") == 0;
    m.final = m.failed || strcmp(m.phase, "Succeeded") == 0;
    if (!m.final && !m.started_us)
        m.waiting = text(a, waiting_message(v));
    read_progress(vmim, a, &m);
    read_result(vmim, a, &m);
    read_decisions(vmim, a, &m);
    *ret = m;
}

static int
by_age(const void *x, const void *y)
{
    const struct migration *a = x, *b = y;

    if (a->created_us != b->created_us)
        return a->created_us < b->created_us ? -1 : 1;
    return strcmp(a->vm, b->vm);
}

void
migration_sort(struct migration *m, size_t len)
{
    qsort(m, len, sizeof(*m), by_age);
}

int
migration_permille(const struct migration *m)
{
    if (m->final && !m->failed)
        return 1000;
    if (!m->has_progress || m->total_bytes <= 0 || m->remaining_bytes < 0)
        return 0;
    if (m->remaining_bytes >= m->total_bytes)
        return 0;
    return (int)((double)(m->total_bytes - m->remaining_bytes) * 1000 / (double)m->total_bytes);
}

#define ETA_MAX_MS 86400000.0 /* a day: nothing is sent, for all that anybody can tell */

int64_t
migration_eta_ms(const struct migration *m)
{
    double net = (double)m->rate_bytes_per_s - (double)m->dirty_bytes_per_s, ms;

    if (!m->has_progress || net <= 0)
        return -1;
    ms = (double)m->remaining_bytes * 1000 / net;
    return ms < ETA_MAX_MS ? (int64_t)ms : -1;
}

void
human_ms(struct sb *out, int64_t ms)
{
    if (ms < 0)
        sb_putc(out, '-');
    else if (ms < 1000)
        sb_printf(out, "%d ms", (int)ms);
    else if (ms < 100000)
        sb_printf(out, "%.1f s", (double)ms / 1000);
    else
        sb_printf(out, "%lldm%llds", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
}

void
human_bytes(struct sb *out, int64_t bytes)
{
    char buf[32];

    quantity_format_human(bytes > 0 ? (uint64_t)bytes : 0, buf, sizeof(buf));
    sb_puts(out, buf);
}

void
human_rate(struct sb *out, int64_t bytes_per_s)
{
    human_bytes(out, bytes_per_s);
    sb_puts(out, "/s");
}
