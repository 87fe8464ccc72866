/* What each kind has to say for itself in `drover describe`, and above all why: why this node, why
 * it waits, which policy and what follows from it, why it failed. */
#include "cli/print_describe.h"

#include <inttypes.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "cli/client_migration.h"
#include "cli/print_table.h"
#include "sched/place.h"

static const char *
or_none(const char *s)
{
    return s && s[0] ? s : "<none>";
}

static void
line_bytes(struct describe *d, const char *label, int64_t bytes)
{
    char text[32];

    quantity_format_human(bytes > 0 ? (uint64_t)bytes : 0, text, sizeof(text));
    describe_line(d, label, "%s", text);
}

static void
describe_tolerations(struct describe *d, const struct vmi_spec *s)
{
    for (size_t i = 0; i < s->tolerations_len; i++) {
        const struct toleration *t = &s->tolerations[i];

        describe_line(d, "Toleration", "%s %s%s%s%s%s", t->key ? t->key : "(any key)",
                      t->operator_ ? t->operator_ : "Equal", t->value ? " " : "",
                      t->value ? t->value : "", t->effect ? ":" : "", t->effect ? t->effect : "");
    }
}

/* What a VM asks of its node; the same for the template and the running instance. */
static void
describe_spec(struct describe *d, const struct vmi_spec *s, const struct tree *spec)
{
    int64_t ratio = d->hco && d->hco->has_cpu_ratio ? d->hco->cpu_allocation_ratio : 0;
    char cpu[32];

    quantity_format_cpu(vmi_cpu_request_milli(s, ratio) + vmi_align_milli(s, d->hco), cpu,
                        sizeof(cpu));
    line_bytes(d, "Guest memory", vmi_guest_memory_bytes(s));
    line_bytes(d, "Memory request", vmi_memory_request_bytes(s));
    describe_line(d, "CPU request", "%s", cpu);
    describe_line(d, "CPU model", "%s", vmi_cpu_model(s, d->hco));
    describe_line(d, "Eviction strategy", "%s", or_none(s->eviction_strategy));
    if (s->priority_class)
        describe_line(d, "Priority class", "%s", s->priority_class);
    if (s->node_selector.len)
        describe_map(d, "Node selector", tree_get(spec, "nodeSelector"));
    describe_tolerations(d, s);
    describe_yaml(d, "Affinity", tree_get(spec, "affinity"));
}

void
describe_vm(struct describe *d, const struct tree *obj)
{
    const struct vm *vm = vm_decode(obj, d->arena);

    describe_line(d, "Run strategy", "%s", or_none(vm->run_strategy));
    describe_line(d, "Status", "%s", or_none(vm->printable_status));
    describe_line(d, "Ready", "%s", vm->ready ? "yes" : "no");
    describe_spec(d, &vm->spec, tree_find(obj, "spec", "template", "spec", NULL));
    describe_conditions(d, obj);
}

static void
describe_configuration(struct describe *d, const struct migration_configuration *c)
{
    char rate[32];

    quantity_format_human((uint64_t)c->bandwidth_bytes_per_s, rate, sizeof(rate));
    if (c->has_bandwidth)
        describe_line(d, "  Bandwidth", "%s%s", c->bandwidth_bytes_per_s > 0 ? rate : "unlimited",
                      c->bandwidth_bytes_per_s > 0 ? "/s" : "");
    if (c->has_completion_timeout)
        describe_line(d, "  Completion", "%lld s per GiB",
                      (long long)c->completion_timeout_s_per_gib);
    if (c->has_progress_timeout)
        describe_line(d, "  Progress", "%lld s without any fails it",
                      (long long)c->progress_timeout_s);
    if (c->has_max_downtime)
        describe_line(d, "  Downtime", "at most %lld ms", (long long)c->max_downtime_ms);
    if (c->has_post_copy)
        describe_line(d, "  Post-copy", "%s", c->allow_post_copy ? "allowed" : "not allowed");
    if (c->has_auto_converge)
        describe_line(d, "  Auto-converge", "%s",
                      c->allow_auto_converge ? "allowed" : "not allowed");
    if (c->network)
        describe_line(d, "  Network", "%s", c->network);
}

/* status.migrationState: of the VMI the newest, of a migration its own. */
static void
describe_state(struct describe *d, const struct migration_state *s)
{
    if (!s->present)
        return;
    describe_section(d, "Migration");
    describe_line(d, "  Route", "%s to %s", or_none(s->source_node), or_none(s->target_node));
    describe_line(d, "  Target address", "%s", or_none(s->target_node_address));
    describe_line(d, "  Policy", "%s", or_none(s->policy_name));
    describe_configuration(d, &s->configuration);
    if (s->start_us)
        describe_time(d, "  Started", s->start_us);
    if (s->end_us)
        describe_time(d, "  Ended", s->end_us);
    describe_line(d, "  Outcome", "%s",
                  s->failed      ? "failed"
                  : s->completed ? "completed"
                                 : "not over");
    if (s->failure_reason)
        describe_line(d, "  Why", "%s", s->failure_reason);
    if (s->abort_requested)
        describe_line(d, "  Abort", "requested%s%s", s->abort_status ? ", " : "",
                      s->abort_status ? s->abort_status : "");
}

static void
describe_verify(struct describe *d, const struct tree *vmi)
{
    AUTO_TREE struct tree *t = object_annotation_json(vmi, ANN_VERIFY_RESULT);

    if (!t)
        return;
    describe_line(d, "Memory verified", "%s: %lld pages, %lld bad",
                  tree_get_bool(tree_get(t, "ok"), false) ? "as written" : "DAMAGED",
                  (long long)tree_get_int(tree_get(t, "pages"), 0),
                  (long long)tree_get_int(tree_get(t, "bad"), 0));
}

void
describe_vmi(struct describe *d, const struct tree *obj)
{
    const struct vmi *v = vmi_decode(obj, d->arena);

    describe_line(d, "Phase", "%s", or_none(v->status.phase));
    if (v->status.reason)
        describe_line(d, "Reason", "%s", v->status.reason);
    describe_line(d, "Node", "%s", or_none(v->status.node_name));
    describe_spec(d, &v->spec, tree_get(obj, "spec"));
    describe_verify(d, obj);
    describe_guest(d, obj, tree_get(obj, "spec"), tree_find(obj, "metadata", "annotations", NULL),
                   obj);
    describe_placement(d, "Placement when it started", obj);
    describe_conditions(d, obj);
    describe_state(d, &v->status.migration);
}

static void
describe_phases(struct describe *d, const struct tree *obj)
{
    const struct tree *list = tree_find(obj, "status", "phaseTransitionTimestamps", NULL);

    if (!tree_len(list))
        return;
    describe_section(d, "Phases");
    for (size_t i = 0; i < tree_len(list); i++)
        sb_printf(&d->out, "  %-16s %s\n", tree_find_string(tree_at(list, i), "", "phase", NULL),
                  tree_find_string(tree_at(list, i), "", "phaseTransitionTimestamp", NULL));
}

/* What carries the memory, and where that is not what could have been, why. */
static void
describe_transport(struct describe *d, const struct migration *m)
{
    AUTO_SB struct sb text = SB_INIT;

    if (!m->transport[0])
        return;
    sb_puts(&text, m->transport);
    if (m->rdma_device[0])
        sb_printf(&text, " through %s", m->rdma_device);
    if (m->transport_reason[0])
        sb_printf(&text, ": %s", m->transport_reason);
    if (m->placed_pages)
        sb_printf(&text, ", %lld pages placed by it", (long long)m->placed_pages);
    if (m->registered_peak_bytes) {
        sb_puts(&text, ", at most ");
        human_bytes(&text, m->registered_peak_bytes);
        sb_puts(&text, " registered");
    }
    describe_line(d, "Transport", "%s", sb_str(&text));
}

/* Mode, encodings, encryption, transport, limit. */
static void
describe_how(struct describe *d, const struct migration *m)
{
    AUTO_SB struct sb limit = SB_INIT;

    describe_line(d, "Mode", "%s, %s%s%s", m->mode[0] ? m->mode : "PreCopy", m->privacy,
                  m->encodings[0] ? ", " : "", m->encodings);
    describe_transport(d, m);
    if (m->limit_bytes_per_s) {
        human_rate(&limit, m->limit_bytes_per_s);
        describe_line(d, "Limit", "%s", sb_str(&limit));
    }
    if (m->throttle_percent)
        describe_line(d, "Throttled", "%lld %%", (long long)m->throttle_percent);
    if (m->reconnects)
        describe_line(d, "Reconnected", "%lld times", (long long)m->reconnects);
}

static void
describe_decisions(struct describe *d, const struct migration *m)
{
    if (!m->decisions_len)
        return;
    describe_section(d, "Decisions");
    for (size_t i = 0; i < m->decisions_len; i++) {
        const struct migration_decision *x = &m->decisions[i];

        sb_puts(&d->out, "  ");
        describe_text(d, x->at);
        sb_printf(&d->out, "  round %-3lld ", (long long)x->round);
        describe_text(d, x->text);
        sb_putc(&d->out, '\n');
    }
}

/* Progress while it runs, the result when it is over. */
static void
describe_transfer(struct describe *d, const struct migration *m)
{
    AUTO_SB struct sb text = SB_INIT, took = SB_INIT;

    if (m->has_result) {
        human_bytes(&text, m->result_sent_bytes);
        human_ms(&took, m->result_total_ms);
        describe_line(d, "Sent", "%s in %lld rounds over %lld channels", sb_str(&text),
                      (long long)m->result_rounds, (long long)m->result_channels);
        describe_line(d, "Pages", "%lld with content, %lld zero, %lld never touched, %lld again",
                      (long long)m->raw_pages, (long long)m->zero_pages, (long long)m->absent_pages,
                      (long long)m->again_pages);
        if (m->encryption)
            describe_line(d, "Encrypted", "%s", m->encryption);
        describe_line(d, "Took", "%s", sb_str(&took));
        if (m->result_downtime_ms >= 0)
            describe_line(d, "Switchover", "%lld ms from pause to running, as the engine saw it",
                          (long long)m->result_downtime_ms);
        if (m->downtime_phases[0])
            describe_line(d, "  of which", "%s", m->downtime_phases);
        describe_line(d, "Guest stalled", "%lld ms by %lld write faults, throttled for %lld ms",
                      (long long)m->write_fault_ms, (long long)m->write_faults,
                      (long long)m->throttle_ms);
        if (m->has_target)
            describe_line(d, "CPU", "source %lld ms, target %lld ms", (long long)m->cpu_ms,
                          (long long)m->target_cpu_ms);
        else
            describe_line(d, "CPU", "source %lld ms", (long long)m->cpu_ms);
    } else if (m->has_progress && !m->final) {
        human_bytes(&text, m->remaining_bytes);
        sb_puts(&text, " left, ");
        human_rate(&text, m->rate_bytes_per_s);
        sb_puts(&text, ", dirty ");
        human_rate(&text, m->dirty_bytes_per_s);
        describe_line(d, "Progress", "round %lld, %d%%, %s", (long long)m->round,
                      migration_permille(m) / 10, sb_str(&text));
        describe_line(d, "Predicted", "downtime %lld ms (P90 %lld ms), %lld ms in all",
                      (long long)m->predicted_downtime_ms, (long long)m->predicted_downtime_p90_ms,
                      (long long)m->predicted_total_ms);
    }
    if (m->has_progress || m->has_result)
        describe_how(d, m);
    if (m->faults)
        describe_line(d, "Post-copy",
                      "%lld ms, %lld faults, half of them within %lld us, 99 %% within %lld us",
                      (long long)m->postcopy_ms, (long long)m->faults, (long long)m->fault_p50_us,
                      (long long)m->fault_p99_us);
    if (m->read_faults)
        describe_line(d, "  of which", "%lld answered by an RDMA READ", (long long)m->read_faults);
    if (m->guest_downtime_ms >= 0)
        describe_line(d, "Downtime", "%lld ms, as the guest saw it",
                      (long long)m->guest_downtime_ms);
}

void
describe_vmim(struct describe *d, const struct tree *obj)
{
    const struct vmim *v = vmim_decode(obj, d->arena);
    struct migration m;

    migration_read(obj, d->arena, &m);
    describe_line(d, "VM", "%s", or_none(m.vm));
    describe_line(d, "Phase", "%s", m.phase[0] ? m.phase : "Pending");
    if (m.waiting[0])
        describe_line(d, "Waits", "%s", m.waiting);
    if (m.failure[0])
        describe_line(d, "Failed", "%s", m.failure);
    describe_transfer(d, &m);
    describe_decisions(d, &m);
    describe_placement(d, "Choice of the target", obj);
    describe_state(d, &v->state);
    describe_phases(d, obj);
    describe_conditions(d, obj);
}

void
describe_node(struct describe *d, const struct tree *obj)
{
    static const char *const headings[] = {"RESOURCE", "CAPACITY", "ALLOCATABLE"};
    const struct node *n = node_decode(obj, d->arena);
    const char *heartbeat = object_annotation(obj, ANN_HEARTBEAT);
    AUTO_TABLE struct table *t = table_new();
    int64_t beat_us = 0;

    if (heartbeat)
        time_parse(heartbeat, &beat_us, NULL);
    describe_time(d, "Heartbeat", beat_us);
    describe_line(d, "Schedulable", "%s", n->unschedulable ? "no (cordoned)" : "yes");
    for (size_t i = 0; i < n->taints_len; i++)
        describe_line(d, "Taint", "%s%s%s:%s", n->taints[i].key, n->taints[i].value ? "=" : "",
                      n->taints[i].value ? n->taints[i].value : "", or_none(n->taints[i].effect));
    for (size_t i = 0; i < n->addresses_len; i++)
        describe_line(d, "Address", "%s (%s)", or_none(n->addresses[i].address),
                      or_none(n->addresses[i].type));
    describe_host(d, tree_find(obj, "metadata", "labels", NULL));
    describe_conditions(d, obj);
    describe_migration_network(d, obj);
    describe_section(d, "Resources");
    for (size_t i = 0; i < ARRAY_LEN(headings); i++)
        table_column(t, headings[i], false);
    for (size_t i = 0; i < tree_len(tree_find(obj, "status", "allocatable", NULL)); i++) {
        const struct tree *map = tree_find(obj, "status", "allocatable", NULL);
        const char *name = tree_key_at(map, i);

        table_cell(t, name);
        table_cell(t, tree_find_string(obj, "", "status", "capacity", name, NULL));
        table_cell(t, tree_get_string(tree_at(map, i), ""));
    }
    if (table_rows(t))
        table_flush(t, 2, &d->out);
}

void
describe_priority(struct describe *d, const struct tree *obj)
{
    const struct priority_class *p = priority_class_decode(obj, d->arena);
    const char *about = tree_find_string(obj, "", "description", NULL);

    describe_line(d, "Value", "%" PRId64, p->value);
    describe_line(d, "Global default", "%s", p->global_default ? "yes" : "no");
    describe_line(d, "Preemption policy", "%s",
                  p->preemption_policy ? p->preemption_policy : "PreemptLowerPriority");
    if (about[0])
        describe_line(d, "Description", "%s", about);
}

void
describe_policy(struct describe *d, const struct tree *obj)
{
    const struct migration_policy *p = policy_decode(obj, d->arena);

    describe_map(d, "Namespace labels",
                 tree_find(obj, "spec", "selectors", "namespaceSelector", NULL));
    describe_map(d, "VM labels",
                 tree_find(obj, "spec", "selectors", "virtualMachineInstanceSelector", NULL));
    if (!p->has_selectors)
        describe_line(d, "Matches", "nothing, as it has no selectors");
    describe_section(d, "Settings");
    describe_configuration(d, &p->options);
}

void
describe_maintenance(struct describe *d, const struct tree *obj)
{
    const struct maintenance *m = maintenance_decode(obj, d->arena);
    const char *why = tree_find_string(obj, "", "status", "lastError", NULL);

    describe_line(d, "Node", "%s", or_none(m->node_name));
    describe_line(d, "Reason", "%s", or_none(m->reason));
    describe_line(d, "Phase", "%s", or_none(m->phase));
    if (why[0])
        describe_line(d, "Blocked", "%s", why);
    describe_yaml(d, "Status", tree_get(obj, "status"));
}
