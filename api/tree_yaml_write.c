/* Tree -> YAML text: libyaml's emitter in block style, as kubectl prints it. The decision that is
 * ours: a string stays plain only when every reader, of YAML 1.1 as well, gets the same string back. */
#include "api/tree.h"

#include <math.h>
#include <string.h>

#include <yaml.h>

#include "api/tree_priv.h"

static int collect(void *ctx, unsigned char *buf, size_t size);
static void emit_node(yaml_emitter_t *e, const struct tree *t);
static void emit_scalar(yaml_emitter_t *e, const char *text, yaml_scalar_style_t style);
static void emit_string(yaml_emitter_t *e, const char *text);
static void emit(yaml_emitter_t *e, yaml_event_t *ev);
static bool plain_is_safe(const char *text);
static bool literal_is_safe(const char *text);

void
tree_to_yaml(const struct tree *t, struct sb *out)
{
    yaml_emitter_t e;
    yaml_event_t ev;

    if (!yaml_emitter_initialize(&e))
        abort();
    yaml_emitter_set_output(&e, collect, out);
    yaml_emitter_set_unicode(&e, 1);
    yaml_emitter_set_width(&e, -1);
    yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING);
    emit(&e, &ev);
    yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1);
    emit(&e, &ev);
    emit_node(&e, t);
    yaml_document_end_event_initialize(&ev, 1);
    emit(&e, &ev);
    yaml_stream_end_event_initialize(&ev);
    emit(&e, &ev);
    yaml_emitter_delete(&e);
}

static int
collect(void *ctx, unsigned char *buf, size_t size)
{
    sb_add(ctx, buf, size);
    return 1;
}

static void
emit_node(yaml_emitter_t *e, const struct tree *t)
{
    char num[40];
    yaml_event_t ev;

    switch (tree_type(t)) {
    case TREE_BOOL:
        emit_scalar(e, t->b ? "true" : "false", YAML_PLAIN_SCALAR_STYLE);
        break;
    case TREE_INT:
        snprintf(num, sizeof num, "%lld", (long long)t->i);
        emit_scalar(e, num, YAML_PLAIN_SCALAR_STYLE);
        break;
    case TREE_FLOAT:
        tree_float_text(isfinite(t->f) ? t->f : 0, num, sizeof num); /* as in JSON */
        emit_scalar(e, num, YAML_PLAIN_SCALAR_STYLE);
        break;
    case TREE_STRING:
        emit_string(e, t->text);
        break;
    case TREE_LIST:
        yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
        emit(e, &ev);
        for (size_t i = 0; i < t->list.len; i++)
            emit_node(e, t->list.items[i]);
        yaml_sequence_end_event_initialize(&ev);
        emit(e, &ev);
        break;
    case TREE_MAP:
        yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
        emit(e, &ev);
        for (size_t i = 0; i < t->map.len; i++) {
            emit_string(e, t->map.entries[i].key);
            emit_node(e, t->map.entries[i].value);
        }
        yaml_mapping_end_event_initialize(&ev);
        emit(e, &ev);
        break;
    case TREE_NULL:
    default:
        emit_scalar(e, "null", YAML_PLAIN_SCALAR_STYLE);
        break;
    }
}

static void
emit_string(yaml_emitter_t *e, const char *text)
{
    yaml_scalar_style_t style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;

    if (plain_is_safe(text))
        style = YAML_PLAIN_SCALAR_STYLE;
    else if (literal_is_safe(text))
        style = YAML_LITERAL_SCALAR_STYLE;
    emit_scalar(e, text, style);
}

static void
emit_scalar(yaml_emitter_t *e, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t ev;
    bool plain = style == YAML_PLAIN_SCALAR_STYLE;

    if (!yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text),
                                      plain, 1, style))
        abort(); /* no memory: the text is UTF-8, since readers refuse anything else */
    emit(e, &ev);
}

static void
emit(yaml_emitter_t *e, yaml_event_t *ev)
{
    if (!yaml_emitter_emit(e, ev))
        abort(); /* only for want of memory or a wrong order of events */
}

/* Whether text is a string to YAML 1.2 and to YAML 1.1, which takes some words for booleans and
 * knows dates and numbers in base 60. The emitter itself quotes what has the syntax's characters. */
static bool
plain_is_safe(const char *text)
{
    static const char *const words[] = {"y", "Y", "yes", "Yes", "YES", "on",  "On",  "ON",
                                        "n", "N", "no",  "No",  "NO",  "off", "Off", "OFF"};
    size_t len = strlen(text);

    if (len == 0 || strchr("~=<", text[0]))
        return false;
    for (const char *s = text; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(text, words[i]) == 0)
            return false;
    if (strchr("+-.0123456789", text[0]) &&
        (strspn(text, "-.") > 1 ||
         text[strspn(text, "+-.:_0123456789abcdefABCDEFoxXOTZ ")] == '\0'))
        return false;
    struct tree *t = tree_yaml_plain(text, len);
    bool string = tree_type(t) == TREE_STRING;

    tree_free(t);
    return string;
}

/* Lines of printable ASCII, none empty, none with a blank at its end, the first without one at its
 * start: what a literal block gives back to the byte. */
static bool
literal_is_safe(const char *text)
{
    bool newline = false;

    if (*text == ' ' || *text == '\n')
        return false;
    for (const char *s = text; *s; s++) {
        if (*s == '\n') {
            newline = true;
            if (s[1] == '\n' || s[-1] == ' ')
                return false;
        } else if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f) {
            return false;
        }
    }
    return newline && text[strlen(text) - 1] != ' ';
}
