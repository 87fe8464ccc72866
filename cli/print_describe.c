/* The pieces of `drover describe` that all kinds share. Text is built in memory; control characters
 * of messages are made blank or visible, so that an object cannot drive the terminal. */
#include "cli/print_describe.h"

#include <inttypes.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "cli/print_table.h"

#define LABEL_WIDTH 20

void
describe_init(struct describe *d, int64_t now_us)
{
    *d = (struct describe){.arena = arena_new(), .now_us = now_us};
}

void
describe_done(struct describe *d)
{
    sb_done(&d->out);
    arena_free(d->arena);
    d->arena = NULL;
}

/* label NULL: one more line of the label before. */
static void
put_line(struct describe *d, const char *label, const char *text)
{
    int pad = LABEL_WIDTH - (label ? (int)strlen(label) + 1 : 0);

    sb_printf(&d->out, "%s%s%*s", label ? label : "", label ? ":" : "", pad > 1 ? pad : 1, "");
    describe_text(d, text);
    sb_putc(&d->out, '\n');
}

void
describe_text(struct describe *d, const char *text)
{
    for (const char *p = text; *p; p++)
        sb_putc(&d->out, (unsigned char)*p < 0x20 || *p == 0x7f ? ' ' : *p);
}

void
describe_line(struct describe *d, const char *label, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    put_line(d, label, sb_str(&text));
}

void
describe_section(struct describe *d, const char *heading)
{
    sb_printf(&d->out, "%s:\n", heading);
}

/* JSON bodies that have a section of their own, and what apply remembers. */
static bool
is_bulky(const char *key)
{
    static const char *const keys[] = {
        ANN_SCHEDULE_RESULT,
        ANN_MIGRATION_PROGRESS,
        ANN_MIGRATION_RESULT,
        ANN_GUEST_RESULT,
        ANN_TARGET_RESULT,
        ANN_MIGRATION_DECISIONS,
        ANN_MIGRATION_ADDRESS,
        ANN_MIGRATION_LINK,
        "kubectl.kubernetes.io/last-applied-configuration",
    };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(key, keys[i]) == 0)
            return true;
    }
    return false;
}

void
describe_map(struct describe *d, const char *label, const struct tree *map)
{
    bool any = false;

    for (size_t i = 0; i < tree_len(map); i++) {
        const struct tree *value = tree_at(map, i);
        AUTO_SB struct sb text = SB_INIT;

        if (is_bulky(tree_key_at(map, i)))
            continue;
        sb_printf(&text, "%s=", tree_key_at(map, i));
        if (tree_type(value) == TREE_STRING)
            sb_puts(&text, tree_get_string(value, ""));
        else
            tree_to_json(value, 0, &text);
        put_line(d, any ? NULL : label, sb_str(&text));
        any = true;
    }
    if (!any)
        put_line(d, label, "<none>");
}

void
describe_time(struct describe *d, const char *label, int64_t us)
{
    char at[32], age[32];

    if (!us) {
        put_line(d, label, "<unknown>");
        return;
    }
    time_format(us, false, at, sizeof(at));
    duration_format_age(d->now_us > us ? d->now_us - us : 0, age, sizeof(age));
    describe_line(d, label, "%s (%s ago)", at, age);
}

void
describe_yaml(struct describe *d, const char *heading, const struct tree *t)
{
    AUTO_SB struct sb yaml = SB_INIT;
    const char *p;

    if (!t || tree_type(t) == TREE_NULL)
        return;
    describe_section(d, heading);
    tree_to_yaml(t, &yaml);
    for (p = sb_str(&yaml); *p;) {
        size_t n = strcspn(p, "\n");

        sb_puts(&d->out, "  ");
        sb_add(&d->out, p, n);
        sb_putc(&d->out, '\n');
        p += n + (p[n] == '\n');
    }
}

void
describe_head(struct describe *d, const struct tree *obj)
{
    const struct meta *m = meta_decode(obj, d->arena);
    const struct kind_info *ki = object_kind(obj);
    const struct tree *labels = tree_find(obj, "metadata", "labels", NULL);
    AUTO_TREE struct tree *others =
        ki && ki->kind == KIND_NODE ? describe_host_others(labels) : NULL;

    describe_line(d, "Name", "%s", object_name(obj));
    if (object_namespace(obj)[0])
        describe_line(d, "Namespace", "%s", object_namespace(obj));
    describe_line(d, "Kind", "%s (%s)", tree_find_string(obj, "", "kind", NULL),
                  tree_find_string(obj, "", "apiVersion", NULL));
    describe_map(d, "Labels", others ? others : labels);
    describe_map(d, "Annotations", tree_find(obj, "metadata", "annotations", NULL));
    describe_time(d, "Created", m->creation_us);
    if (m->deletion_us)
        describe_time(d, "Being deleted", m->deletion_us);
    for (size_t i = 0; i < m->owners_len; i++)
        describe_line(d, "Made by", "%s/%s", m->owners[i].kind, m->owners[i].name);
}

static void
flush(struct describe *d, struct table *t)
{
    if (table_rows(t))
        table_flush(t, 2, &d->out);
    else
        sb_puts(&d->out, "  <none>\n");
}

static void
columns(struct table *t, const char *const *headings, size_t len)
{
    for (size_t i = 0; i < len; i++)
        table_column(t, headings[i], false);
}

void
describe_conditions(struct describe *d, const struct tree *obj)
{
    static const char *const headings[] = {"TYPE", "STATUS", "REASON", "MESSAGE"};
    const struct tree *list = tree_find(obj, "status", "conditions", NULL);
    AUTO_TABLE struct table *t = table_new();

    if (!tree_len(list))
        return;
    describe_section(d, "Conditions");
    columns(t, headings, ARRAY_LEN(headings));
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *c = tree_at(list, i);

        table_cell(t, tree_find_string(c, "", "type", NULL));
        table_cell(t, tree_find_string(c, "", "status", NULL));
        table_cell(t, tree_find_string(c, "", "reason", NULL));
        table_cell(t, tree_find_string(c, "", "message", NULL));
    }
    flush(d, t);
}

/* "NodeAffinity 100, TaintToleration 100", without those that give nothing, or the reasons against the
 * node. */
static void
put_why(const struct tree *node, struct sb *out)
{
    const char *sep = "";
    const struct tree *reasons = tree_get(node, "reasons"), *scores = tree_get(node, "scores");
    const struct tree *whys = tree_get(node, "why");

    for (size_t i = 0; i < tree_len(whys); i++)
        sb_printf(out, "%s%s: wants %s, has %s", i ? "; " : "",
                  tree_find_string(tree_at(whys, i), "", "rule", NULL),
                  tree_find_string(tree_at(whys, i), "", "wanted", NULL),
                  tree_find_string(tree_at(whys, i), "", "has", NULL));
    for (size_t i = 0; !tree_len(whys) && i < tree_len(reasons); i++)
        sb_printf(out, "%s%s", i ? ", " : "", tree_get_string(tree_at(reasons, i), ""));
    for (size_t i = 0; !tree_len(reasons) && i < tree_len(scores); i++) {
        int64_t score = tree_get_int(tree_at(scores, i), 0);

        if (score == 0)
            continue;
        sb_printf(out, "%s%s %" PRId64, sep, tree_key_at(scores, i), score);
        sep = ", ";
    }
}

/* The best first, then by name. */
static int
by_total(const void *x, const void *y)
{
    const struct tree *a = *(const struct tree *const *)x, *b = *(const struct tree *const *)y;
    int64_t ta = tree_get_int(tree_get(a, "total"), -1),
            tb = tree_get_int(tree_get(b, "total"), -1);

    if (ta != tb)
        return ta > tb ? -1 : 1;
    return strcmp(tree_find_string(a, "", "name", NULL), tree_find_string(b, "", "name", NULL));
}

void
describe_placement(struct describe *d, const char *heading, const struct tree *obj)
{
    static const char *const headings[] = {"NODE", "FITS", "SCORE", "WHY"};
    AUTO_TREE struct tree *result = object_annotation_json(obj, ANN_SCHEDULE_RESULT);
    AUTO_TABLE struct table *t = table_new();
    AUTO_FREE const struct tree **sorted = NULL;
    const struct tree *nodes;
    const char *chosen, *message, *nearest;

    if (!result)
        return;
    nodes = tree_get(result, "nodes");
    chosen = tree_find_string(result, "", "node", NULL);
    message = tree_find_string(result, "", "message", NULL);
    nearest = tree_find_string(result, "", "nearest", "change", NULL);
    describe_section(d, chosen[0] || !message[0] ? heading : "No node fits");
    if (chosen[0])
        sb_printf(&d->out, "  Chosen: %s\n", chosen);
    if (message[0])
        sb_printf(&d->out, "  %s\n", message);
    if (nearest[0])
        sb_printf(&d->out, "  Nearest: %s\n", nearest);
    columns(t, headings, ARRAY_LEN(headings));
    sorted = xcalloc(tree_len(nodes) + 1, sizeof(*sorted));
    for (size_t i = 0; i < tree_len(nodes); i++)
        sorted[i] = tree_at(nodes, i);
    qsort(sorted, tree_len(nodes), sizeof(*sorted), by_total);
    for (size_t i = 0; i < tree_len(nodes); i++) {
        const struct tree *n = sorted[i];
        bool fits = tree_get_bool(tree_get(n, "fits"), false);
        AUTO_SB struct sb why = SB_INIT;

        put_why(n, &why);
        table_cell(t, tree_find_string(n, "", "name", NULL));
        table_cell(t, fits ? "yes" : "no");
        if (fits)
            table_cellf(t, "%lld", (long long)tree_get_int(tree_get(n, "score"), 0));
        else
            table_cell(t, "-");
        table_cell(t, sb_str(&why));
    }
    flush(d, t);
}

static int64_t
event_time(const struct tree *event, const char *key)
{
    int64_t us = 0;

    time_parse(tree_find_string(event, "", key, NULL), &us, NULL);
    return us;
}

static int64_t
event_us(const struct tree *event)
{
    return event_time(event, "lastTimestamp");
}

/* "12s", or "12s (x4 over 3m)" as kubectl has it. */
static void
event_age(const struct tree *event, int64_t now_us, struct sb *out)
{
    int64_t us = event_us(event), first_us = event_time(event, "firstTimestamp");
    int64_t count = tree_get_int(tree_get(event, "count"), 1);
    char age[32];

    if (!us)
        return;
    duration_format_age(now_us > us ? now_us - us : 0, age, sizeof(age));
    sb_puts(out, age);
    if (count < 2 || !first_us)
        return;
    duration_format_age(now_us > first_us ? now_us - first_us : 0, age, sizeof(age));
    sb_printf(out, " (x%" PRId64 " over %s)", count, age);
}

static int
by_time(const void *x, const void *y)
{
    int64_t a = event_us(*(const struct tree *const *)x),
            b = event_us(*(const struct tree *const *)y);

    return (a > b) - (a < b);
}

void
describe_events(struct describe *d, const struct tree *list)
{
    static const char *const headings[] = {"AGE", "TYPE", "REASON", "MESSAGE"};
    const struct tree *items = tree_get(list, "items");
    size_t len = tree_len(items);
    AUTO_FREE const struct tree **sorted = xcalloc(len + 1, sizeof(*sorted));
    AUTO_TABLE struct table *t = table_new();

    describe_section(d, "Events");
    for (size_t i = 0; i < len; i++)
        sorted[i] = tree_at(items, i);
    qsort(sorted, len, sizeof(*sorted), by_time);
    columns(t, headings, ARRAY_LEN(headings));
    for (size_t i = 0; i < len; i++) {
        AUTO_SB struct sb age = SB_INIT;

        event_age(sorted[i], d->now_us, &age);
        table_cell(t, sb_str(&age));
        table_cell(t, tree_find_string(sorted[i], "", "type", NULL));
        table_cell(t, tree_find_string(sorted[i], "", "reason", NULL));
        table_cell(t, tree_find_string(sorted[i], "", "message", NULL));
    }
    flush(d, t);
}
