/* Any bytes as what libvirt says: domain capabilities, the same as capabilities, as expanded features and as
 * a CPU map (parts, if there is a byte 0 between them). What comes out is labels that a Node may have,
 * in order and once, all of them the labeller's; and on a Node that has them nothing is stale. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/sb.h"
#include "sched/labeller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void check(const struct labeller_output *out);
static void must(bool holds, const char *what, const char *about);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = xmalloc(size + 1);
    struct arena *a = arena_new();
    const char *parts[4] = {NULL};
    struct labeller_input in = {0};
    struct labeller_output out, again;
    struct node node = {0};
    struct labeller_text map;
    struct err err = {0};
    size_t at = 0;

    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(parts) && at <= size; i++) {
        parts[i] = text + at;
        at += strlen(text + at) + 1;
    }
    in.domcapabilities = (struct labeller_text){"dom", parts[0]};
    in.capabilities = (struct labeller_text){"caps", parts[1]};
    in.supported_features = (struct labeller_text){"features", parts[2]};
    map = (struct labeller_text){"map", parts[3]};
    if (map.xml && labeller_read_map(&map, &in.models, a, &err) != 0)
        must(err.msg[0], "a map refused without a reason", text);
    memset(&err, 0, sizeof err);
    if (labeller_run(&in, &out, a, &err) != 0) {
        must(err.code == -EINVAL && err.msg[0], "refused without a reason", text);
    } else {
        check(&out);
        node.meta.labels = out.labels;
        in.node = &node;
        must(labeller_run(&in, &again, a, &err) == 0, "accepted only once", text);
        must(again.labels.len == out.labels.len, "other labels the second time", text);
        must(again.removed.len == 0, "its own label is stale", text);
    }
    arena_free(a);
    return 0;
}

static void
check(const struct labeller_output *out)
{
    struct err err = {0};

    for (size_t i = 0; i < out->labels.len; i++) {
        const struct kv *kv = &out->labels.items[i];

        must(label_key_check(kv->key, &err) == 0, "no key of a label", kv->key);
        must(label_value_check(kv->value, &err) == 0, "no value of a label", kv->key);
        must(labeller_owns(kv->key), "a label of somebody else", kv->key);
        must(i == 0 || strcmp(kv[-1].key, kv->key) < 0, "not in order", kv->key);
    }
    for (size_t i = 0; i < out->notes.len; i++)
        must(!strchr(out->notes.items[i], '\n'), "a note of two lines", out->notes.items[i]);
}

static void
must(bool holds, const char *what, const char *about)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", what, about);
    abort();
}
