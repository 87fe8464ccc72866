/* YAML text -> tree, through libyaml's events: block and flow style, anchors, many documents. Plain
 * scalars mean what YAML 1.2's core schema says (tree_yaml_plain.c), so that `yes` and `on` are
 * strings; merge keys, binary and foreign tags are refused. Aliases are expanded, with the budget of
 * the whole document, so that a small text cannot become a large tree. */
#include "api/tree.h"

#include <errno.h>
#include <string.h>

#include <yaml.h>

#include "api/limits.h"
#include "api/tree_priv.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf" /* editors of Windows begin a text with it */

struct anchor {
    char *name;
    struct tree *node; /* borrowed from the tree that is being built */
};

/* A map or list that is open; a map's pending key waits for its value. */
struct level {
    struct tree *node;
    char *anchor;
    char *key;
    struct tree_pos key_pos;
};

struct reader {
    const char *file;
    const char *buf; /* the whole input, for the positions of bytes that are not UTF-8 */
    size_t len;
    yaml_parser_t parser;
    struct level levels[API_MAX_DEPTH];
    size_t depth;
    struct anchor *anchors;
    size_t anchors_len, anchors_cap;
    struct tree *root; /* of this document, once it is complete */
    size_t nodes, bytes;
    struct err *err;
};

static int read_documents(struct reader *r, struct tree *docs);
static int handle_event(struct reader *r, const yaml_event_t *ev);
static int open_level(struct reader *r, struct tree *node, const yaml_event_t *ev,
                      const yaml_char_t *anchor, const yaml_char_t *tag, const char *want_tag);
static int close_level(struct reader *r);
static int add_scalar(struct reader *r, const yaml_event_t *ev);
static int add_key(struct reader *r, const yaml_event_t *ev);
static int add_alias(struct reader *r, const yaml_event_t *ev);
static int add_node(struct reader *r, struct tree *node);
static int scalar_value(struct reader *r, const yaml_event_t *ev, struct tree **ret);
static int anchor_set(struct reader *r, const char *name, struct tree *node);
static int charge(struct reader *r, size_t nodes, size_t bytes, struct tree_pos pos);
static int fail_at(struct reader *r, struct tree_pos pos, int code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static int fail_parser(struct reader *r);
static void document_reset(struct reader *r);
static struct tree_pos pos_of(yaml_mark_t mark);
static bool wants_key(const struct reader *r);

int
tree_from_yaml(const char *file, const char *buf, size_t len, struct tree **ret_docs,
               struct err *err)
{
    if (len > API_MAX_INPUT_BYTES)
        return err_set(err, -E2BIG, "%s: %zu bytes: at most %u are read", file, len,
                       API_MAX_INPUT_BYTES);
    AUTO_FREE struct reader *r = xcalloc(1, sizeof *r);
    AUTO_TREE struct tree *docs = tree_list();

    if (len >= strlen(BYTE_ORDER_MARK) &&
        memcmp(buf, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
        buf += strlen(BYTE_ORDER_MARK);
        len -= strlen(BYTE_ORDER_MARK);
    }

    r->file = file;
    r->buf = buf;
    r->len = len;
    r->err = err;
    if (!yaml_parser_initialize(&r->parser))
        return err_set(err, -ENOMEM, "%s: out of memory", file);
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)buf, len);
    int rc = read_documents(r, docs);

    document_reset(r);
    free(r->anchors);
    yaml_parser_delete(&r->parser);
    if (rc == 0)
        *ret_docs = TAKE_PTR(docs);
    return rc;
}

static int
read_documents(struct reader *r, struct tree *docs)
{
    for (;;) {
        yaml_event_t ev;

        if (!yaml_parser_parse(&r->parser, &ev))
            return fail_parser(r);
        if (ev.type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&ev);
            return 0;
        }
        int rc = handle_event(r, &ev);

        if (rc == 0 && ev.type == YAML_DOCUMENT_END_EVENT) {
            if (tree_type(r->root) != TREE_NULL) {
                if (tree_len(docs) == API_MAX_DOCUMENTS)
                    rc = fail_at(r, tree_pos(r->root), -E2BIG, "more than %d documents",
                                 API_MAX_DOCUMENTS);
                else
                    tree_append(docs, TAKE_PTR(r->root));
            }
            document_reset(r);
        }
        yaml_event_delete(&ev);
        if (rc != 0)
            return rc;
    }
}

static int
handle_event(struct reader *r, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return add_alias(r, ev);
    case YAML_SCALAR_EVENT:
        return wants_key(r) ? add_key(r, ev) : add_scalar(r, ev);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(r, tree_list(), ev, ev->data.sequence_start.anchor,
                          ev->data.sequence_start.tag, YAML_SEQ_TAG);
    case YAML_MAPPING_START_EVENT:
        return open_level(r, tree_map(), ev, ev->data.mapping_start.anchor,
                          ev->data.mapping_start.tag, YAML_MAP_TAG);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_level(r);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    default:
        return 0;
    }
}

/* Takes node. */
static int
open_level(struct reader *r, struct tree *node, const yaml_event_t *ev, const yaml_char_t *anchor,
           const yaml_char_t *tag, const char *want_tag)
{
    AUTO_TREE struct tree *owned = node;
    struct tree_pos pos = pos_of(ev->start_mark);

    if (wants_key(r))
        return fail_at(r, pos, -EINVAL, "a key must be a plain value, not a %s",
                       tree_type_name(node->type));
    if (tag && strcmp((const char *)tag, want_tag) != 0 && strcmp((const char *)tag, "!") != 0)
        return fail_at(r, pos, -EINVAL, "tag %s is not supported", (const char *)tag);
    if (r->depth == API_MAX_DEPTH)
        return fail_at(r, pos, -E2BIG, "nested deeper than %d levels", API_MAX_DEPTH);
    int rc = charge(r, 1, 1, pos);

    if (rc != 0)
        return rc;
    node->pos = pos;
    r->levels[r->depth++] = (struct level){.node = TAKE_PTR(owned),
                                           .anchor = anchor ? xstrdup((const char *)anchor) : NULL};
    return 0;
}

static int
close_level(struct reader *r)
{
    struct level *l = &r->levels[--r->depth];
    AUTO_TREE struct tree *node = TAKE_PTR(l->node);
    AUTO_FREE char *anchor = TAKE_PTR(l->anchor);

    if (anchor) {
        int rc = anchor_set(r, anchor, node);

        if (rc != 0)
            return rc;
    }
    return add_node(r, TAKE_PTR(node));
}

static int
add_scalar(struct reader *r, const yaml_event_t *ev)
{
    AUTO_TREE struct tree *node = NULL;
    int rc = scalar_value(r, ev, &node);

    if (rc != 0 || !node)
        return rc;
    node->pos = pos_of(ev->start_mark);
    rc = charge(r, 1, ev->data.scalar.length + 1, node->pos);
    if (rc == 0 && ev->data.scalar.anchor)
        rc = anchor_set(r, (const char *)ev->data.scalar.anchor, node);
    if (rc != 0)
        return rc;
    return add_node(r, TAKE_PTR(node));
}

static int
add_key(struct reader *r, const yaml_event_t *ev)
{
    struct level *l = &r->levels[r->depth - 1];
    const char *text = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    struct tree_pos pos = pos_of(ev->start_mark);
    AUTO_TREE struct tree *value = NULL;
    int rc = scalar_value(r, ev, &value);

    if (rc != 0 || !value)
        return rc;
    if (value->type == TREE_NULL)
        return fail_at(r, pos, -EINVAL, "a key is missing before ':' (or is null)");
    if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
        return fail_at(r, pos, -EINVAL, "merge keys (<<) are not supported: write the fields out");
    if (ev->data.scalar.anchor)
        return fail_at(r, pos, -EINVAL, "a key cannot have an anchor");
    ptrdiff_t at = tree_map_find(l->node, text);

    if (at >= 0)
        return fail_at(r, pos, -EINVAL, "duplicate key \"%.100s\" (first at line %u)", text,
                       l->node->map.entries[at].pos.line);
    rc = charge(r, 0, len, pos);
    if (rc != 0)
        return rc;
    l->key = xstrndup(text, len);
    l->key_pos = pos;
    return 0;
}

static int
add_alias(struct reader *r, const yaml_event_t *ev)
{
    const char *name = (const char *)ev->data.alias.anchor;
    struct tree_pos pos = pos_of(ev->start_mark);
    const struct tree *target = NULL;
    struct tree_size size;

    if (wants_key(r))
        return fail_at(r, pos, -EINVAL, "a key cannot be an alias");
    for (size_t i = 0; i < r->anchors_len; i++)
        if (strcmp(r->anchors[i].name, name) == 0)
            target = r->anchors[i].node;
    if (!target)
        return fail_at(r, pos, -EINVAL, "alias *%.100s: no such anchor before it", name);
    tree_measure(target, &size);
    if (r->depth + size.depth > API_MAX_DEPTH)
        return fail_at(r, pos, -E2BIG, "nested deeper than %d levels", API_MAX_DEPTH);
    int rc = charge(r, size.nodes, size.bytes, pos);

    return rc != 0 ? rc : add_node(r, tree_copy(target));
}

/* Hands a complete node to the open map or list, or makes it the document's root. Takes node. */
static int
add_node(struct reader *r, struct tree *node)
{
    if (r->depth == 0) {
        r->root = node;
        return 0;
    }
    struct level *l = &r->levels[r->depth - 1];

    if (l->node->type == TREE_LIST) {
        tree_append(l->node, node);
        return 0;
    }
    tree_map_append(l->node, l->key, l->key_pos, node);
    free(TAKE_PTR(l->key));
    return 0;
}

static int
scalar_value(struct reader *r, const yaml_event_t *ev, struct tree **ret)
{
    const char *text = (const char *)ev->data.scalar.value;
    const char *tag = (const char *)ev->data.scalar.tag;
    size_t len = ev->data.scalar.length;
    struct tree_pos pos = pos_of(ev->start_mark);
    bool string = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

    if (memchr(text, '\0', len))
        return fail_at(r, pos, -EINVAL, "a string cannot contain a NUL character");
    if (len > API_MAX_STRING_BYTES)
        return fail_at(r, pos, -E2BIG, "a string of %zu bytes: at most %u are allowed", len,
                       API_MAX_STRING_BYTES);
    if (tag) {
        string = strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0;
        if (!string && strcmp(tag, YAML_INT_TAG) != 0 && strcmp(tag, YAML_FLOAT_TAG) != 0 &&
            strcmp(tag, YAML_BOOL_TAG) != 0 && strcmp(tag, YAML_NULL_TAG) != 0)
            return fail_at(r, pos, -EINVAL, "tag %.100s is not supported", tag);
    }
    struct tree *value = string ? tree_stringn(text, len) : tree_yaml_plain(text, len);

    if (!value)
        return fail_at(r, pos, -EINVAL, "%.100s: infinity and not-a-number are not supported",
                       text);
    *ret = value;
    return 0;
}

static int
anchor_set(struct reader *r, const char *name, struct tree *node)
{
    if (r->anchors_len == API_MAX_ANCHORS)
        return fail_at(r, node->pos, -E2BIG, "more than %d anchors", API_MAX_ANCHORS);
    if (r->anchors_len == r->anchors_cap) {
        r->anchors_cap = r->anchors_cap ? r->anchors_cap * 2 : 8;
        r->anchors = xreallocarray(r->anchors, r->anchors_cap, sizeof *r->anchors);
    }
    r->anchors[r->anchors_len++] = (struct anchor){.name = xstrdup(name), .node = node};
    return 0;
}

static int
charge(struct reader *r, size_t nodes, size_t bytes, struct tree_pos pos)
{
    r->nodes += nodes;
    r->bytes += bytes;
    if (r->nodes > API_MAX_NODES)
        return fail_at(r, pos, -E2BIG, "more than %d values in one document", API_MAX_NODES);
    if (r->bytes > API_MAX_DOCUMENT_BYTES)
        return fail_at(r, pos, -E2BIG, "the document expands to more than %u bytes",
                       API_MAX_DOCUMENT_BYTES);
    return 0;
}

static int
fail_at(struct reader *r, struct tree_pos pos, int code, const char *fmt, ...)
{
    AUTO_SB struct sb sb = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&sb, fmt, ap);
    va_end(ap);
    tree_one_line(sb.buf);
    return err_set(r->err, code, "%s:%u:%u: %s", r->file, pos.line, pos.column, sb_str(&sb));
}

static int
fail_parser(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return err_set(r->err, -ENOMEM, "%s: out of memory", r->file);
    if (p->error == YAML_READER_ERROR) {
        struct tree_pos pos = {.line = 1, .column = 1};

        for (size_t i = 0; i < p->problem_offset && i < r->len; i++) {
            pos.column++;
            if (r->buf[i] == '\n')
                pos = (struct tree_pos){.line = pos.line + 1, .column = 1};
        }
        return fail_at(r, pos, -EINVAL, "%s", p->problem);
    }
    return fail_at(r, pos_of(p->problem_mark), -EINVAL, "%s%s%s%s", p->problem,
                   p->context ? " (" : "", p->context ? p->context : "", p->context ? ")" : "");
}

static void
document_reset(struct reader *r)
{
    for (size_t i = 0; i < r->depth; i++) {
        tree_free(r->levels[i].node);
        free(r->levels[i].anchor);
        free(r->levels[i].key);
    }
    for (size_t i = 0; i < r->anchors_len; i++)
        free(r->anchors[i].name);
    tree_free(TAKE_PTR(r->root));
    r->depth = r->anchors_len = r->nodes = r->bytes = 0;
}

static struct tree_pos
pos_of(yaml_mark_t mark)
{
    return (struct tree_pos){.line = (unsigned)mark.line + 1, .column = (unsigned)mark.column + 1};
}

static bool
wants_key(const struct reader *r)
{
    return r->depth > 0 && r->levels[r->depth - 1].node->type == TREE_MAP &&
           !r->levels[r->depth - 1].key;
}
