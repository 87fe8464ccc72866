/* A Node's labels of what its host can do, in words: there may be hundreds of them (docs/labels.md). */
#include "cli/print_describe.h"

#include <string.h>

#include "api/names.h"

#define TEXT_COLUMNS 72 /* beside describe's labels */

static const struct row {
    const char *label, *prefix;
} rows[] = {
    {"CPU vendor", LABEL_CPU_VENDOR},
    {"Host CPU model", LABEL_HOST_MODEL},
    {"  requires", LABEL_HOST_MODEL_FEATURE},
    {"CPU models", LABEL_CPU_MODEL},
    {"  for migrations", LABEL_CPU_MODEL_MIGRATION},
    {"CPU features", LABEL_CPU_FEATURE},
    {"Hyper-V features", LABEL_HYPERV},
    {"Machine types", LABEL_MACHINE_TYPE},
    {"Guests of", LABEL_VM_ARCH},
};

static bool is_said(const struct tree *labels, size_t i, const struct row *row);
static void describe_row(struct describe *d, const struct row *row, const struct tree *labels);

struct tree *
describe_host_others(const struct tree *labels)
{
    struct tree *others = tree_map();

    for (size_t i = 0; i < tree_len(labels); i++) {
        bool said = false;

        for (size_t k = 0; k < ARRAY_LEN(rows) && !said; k++)
            said = is_said(labels, i, &rows[k]);
        if (!said)
            tree_set(others, tree_key_at(labels, i), tree_copy(tree_at(labels, i)));
    }
    return others;
}

void
describe_host(struct describe *d, const struct tree *labels)
{
    for (size_t k = 0; k < ARRAY_LEN(rows); k++)
        describe_row(d, &rows[k], labels);
}

/* Anything but "true" is odd, and stays with the labels. */
static bool
is_said(const struct tree *labels, size_t i, const struct row *row)
{
    return strncmp(tree_key_at(labels, i), row->prefix, strlen(row->prefix)) == 0 &&
           strcmp(tree_get_string(tree_at(labels, i), ""), "true") == 0;
}

static void
describe_row(struct describe *d, const struct row *row, const struct tree *labels)
{
    const char *label = row->label;
    AUTO_SB struct sb line = SB_INIT;

    for (size_t i = 0; i < tree_len(labels); i++) {
        const char *name;

        if (!is_said(labels, i, row))
            continue;
        name = tree_key_at(labels, i) + strlen(row->prefix);
        if (line.len > 0 && line.len + strlen(name) > TEXT_COLUMNS) {
            describe_line(d, label, "%s", sb_str(&line));
            label = NULL;
            sb_reset(&line);
        }
        sb_printf(&line, "%s%s", line.len > 0 ? " " : "", name);
    }
    if (line.len > 0)
        describe_line(d, label, "%s", sb_str(&line));
}
