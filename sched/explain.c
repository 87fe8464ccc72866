/* The histogram of reasons; see explain.h. The form is that of kube-scheduler's FitError (1.31). */
#include "sched/explain.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "base/strmap.h"

void
explain_add(struct str_list *reasons, struct arena *a, const char *text)
{
    const char **items = reasons->items;

    /* room for 4, 8, 16, ... */
    if (reasons->len == 0 || (reasons->len >= 4 && (reasons->len & (reasons->len - 1)) == 0)) {
        items = arena_calloc(a, reasons->len < 4 ? 4 : 2 * reasons->len, sizeof(*items));
        if (reasons->len > 0)
            memcpy(items, reasons->items, reasons->len * sizeof(*items));
        reasons->items = items;
    }
    items[reasons->len++] = text;
}

void
explain_addf(struct str_list *reasons, struct arena *a, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    explain_add(reasons, a, arena_strdup(a, sb_str(&text)));
}

const char *
explain_message(size_t total, const struct str_list *const *nodes, size_t nodes_len,
                struct arena *a)
{
    struct strmap *counts = strmap_new();
    AUTO_SB struct sb text = SB_INIT;
    const char **parts, *reason;
    size_t parts_len = 0, it = 0;
    void *value;

    for (size_t i = 0; i < nodes_len; i++) {
        for (size_t j = 0; j < nodes[i]->len; j++) {
            size_t *count = strmap_get(counts, nodes[i]->items[j]);

            if (!count) {
                count = arena_alloc(a, sizeof(*count));
                strmap_put(counts, nodes[i]->items[j], count);
            }
            ++*count;
        }
    }
    parts = arena_calloc(a, strmap_len(counts), sizeof(*parts));
    while (strmap_next(counts, &it, &reason, &value))
        parts[parts_len++] = arena_printf(a, "%zu %s", *(size_t *)value, reason);
    if (parts_len > 0)
        qsort(parts, parts_len, sizeof(*parts), text_compare);
    sb_printf(&text, "0/%zu nodes are available:", total);
    for (size_t i = 0; i < parts_len; i++)
        sb_printf(&text, "%s %s", i > 0 ? "," : "", parts[i]);
    sb_putc(&text, '.');
    strmap_free(counts, NULL);
    return arena_strdup(a, sb_str(&text));
}
