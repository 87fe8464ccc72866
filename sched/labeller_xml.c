/* libexpat's events into a tree; see labeller_xml.h. */
#include "sched/labeller_xml.h"

#include <assert.h>
#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <string.h>

#include "base/sb.h"

struct frame { /* an element that is still open */
    struct xml_element *e;
    struct xml_element *last; /* its last child so far */
    struct sb text;
};

struct parse {
    const struct labeller_text *in;
    XML_Parser parser;
    struct arena *a;
    struct xml_element *root;
    struct frame open[LABELLER_MAX_DEPTH];
    size_t depth, elements, lines_before;
    struct err *err;
    int rc;
};

static void XMLCALL on_start(void *ctx, const char *name, const char **attrs);
static void XMLCALL on_end(void *ctx, const char *name);
static void XMLCALL on_text(void *ctx, const char *s, int len);
static void XMLCALL on_doctype(void *ctx, const char *name, const char *system, const char *public,
                               int internal);
static void refuse(struct parse *p, const char *why);
static const char *trimmed(struct arena *a, const char *s);

int
xml_parse(const struct labeller_text *text, const char *root, struct xml_element **ret,
          struct arena *a, struct err *err)
{
    struct parse p = {.in = text, .a = a, .err = err};
    const char *xml = text->xml;
    size_t len = strlen(xml);

    if (len > LABELLER_MAX_BYTES)
        return err_set(err, -EINVAL, "%s:1:1: more than %u MiB", text->name,
                       LABELLER_MAX_BYTES >> 20);
    /* blank lines before the XML declaration come with a copy from a terminal; XML forbids them */
    for (; *xml == ' ' || *xml == '\t' || *xml == '\r' || *xml == '\n'; xml++, len--)
        p.lines_before += *xml == '\n';
    if (len == 0)
        return err_set(err, -EINVAL, "%s:1:1: no XML: want <%s>", text->name, root);
    p.parser = XML_ParserCreate(NULL);
    if (!p.parser)
        abort();
    XML_SetUserData(p.parser, &p);
    XML_SetElementHandler(p.parser, on_start, on_end);
    XML_SetCharacterDataHandler(p.parser, on_text);
    XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
    if (XML_Parse(p.parser, xml, (int)len, 1) != XML_STATUS_OK && p.rc == 0) {
        refuse(&p, XML_ErrorString(XML_GetErrorCode(p.parser)));
        if (!p.root && err) /* perhaps another file altogether */
            snprintf(err->msg + strlen(err->msg), sizeof err->msg - strlen(err->msg), ": want <%s>",
                     root);
    }
    for (size_t i = 0; i < p.depth; i++)
        sb_done(&p.open[i].text);
    XML_ParserFree(p.parser);
    if (p.rc != 0)
        return p.rc;
    assert(p.root); /* expat takes no document without an element */
    if (strcmp(p.root->name, root) != 0)
        return err_set(err, -EINVAL, "%s:%zu:%zu: <%.64s>: want <%s>", text->name, p.root->line,
                       p.root->column, p.root->name, root);
    *ret = p.root;
    return 0;
}

const struct xml_element *
xml_child(const struct xml_element *e, const char *name)
{
    const struct xml_element *c = e ? e->first : NULL;

    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    return c;
}

const struct xml_element *
xml_again(const struct xml_element *e)
{
    const struct xml_element *c = e->next;

    while (c && strcmp(c->name, e->name) != 0)
        c = c->next;
    return c;
}

const char *
xml_attr(const struct xml_element *e, const char *name)
{
    for (size_t i = 0; e && i < e->attrs.len; i++)
        if (strcmp(e->attrs.items[i].key, name) == 0)
            return e->attrs.items[i].value;
    return "";
}

static void XMLCALL
on_start(void *ctx, const char *name, const char **attrs)
{
    struct parse *p = ctx;
    struct xml_element *e;
    struct frame *up;
    size_t n = 0;

    if (p->rc != 0)
        return;
    if (p->depth == LABELLER_MAX_DEPTH) {
        refuse(p, "too many elements within elements");
        return;
    }
    if (++p->elements > LABELLER_MAX_ELEMENTS) {
        refuse(p, "too many elements");
        return;
    }
    e = arena_alloc(p->a, sizeof(*e));
    e->name = arena_strdup(p->a, name);
    e->text = "";
    e->line = XML_GetCurrentLineNumber(p->parser) + p->lines_before;
    e->column = XML_GetCurrentColumnNumber(p->parser) + 1;
    while (attrs[2 * n])
        n++;
    e->attrs.items = arena_calloc(p->a, n, sizeof(*e->attrs.items));
    for (; e->attrs.len < n; e->attrs.len++)
        e->attrs.items[e->attrs.len] = (struct kv){arena_strdup(p->a, attrs[2 * e->attrs.len]),
                                                   arena_strdup(p->a, attrs[2 * e->attrs.len + 1])};
    if (p->depth == 0) {
        p->root = e;
    } else {
        up = &p->open[p->depth - 1];
        if (up->last)
            up->last->next = e;
        else
            up->e->first = e;
        up->last = e;
    }
    p->open[p->depth++] = (struct frame){.e = e};
}

static void XMLCALL
on_end(void *ctx, const char *name)
{
    struct parse *p = ctx;
    struct frame *f;

    (void)name;
    if (p->rc != 0)
        return;
    f = &p->open[--p->depth];
    f->e->text = trimmed(p->a, sb_str(&f->text));
    sb_done(&f->text);
}

static void XMLCALL
on_text(void *ctx, const char *s, int len)
{
    struct parse *p = ctx;

    if (p->rc == 0 && p->depth > 0)
        sb_add(&p->open[p->depth - 1].text, s, (size_t)len);
}

static void XMLCALL
on_doctype(void *ctx, const char *name, const char *system, const char *public, int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    refuse(ctx, "a document type is not allowed");
}

/* The first one counts; the parser stops at it. */
static void
refuse(struct parse *p, const char *why)
{
    if (p->rc != 0)
        return;
    p->rc = err_set(p->err, -EINVAL, "%s:%zu:%zu: %s", p->in->name,
                    (size_t)XML_GetCurrentLineNumber(p->parser) + p->lines_before,
                    (size_t)XML_GetCurrentColumnNumber(p->parser) + 1, why);
    XML_StopParser(p->parser, XML_FALSE);
}

static const char *
trimmed(struct arena *a, const char *s)
{
    size_t len;

    s += strspn(s, " \t\r\n");
    len = strlen(s);
    while (len > 0 && strchr(" \t\r\n", s[len - 1]))
        len--;
    return len > 0 ? arena_strndup(a, s, len) : "";
}
