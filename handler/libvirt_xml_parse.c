/* The XML of domains that are there already: whose they are, their CPU, and their paths on another host;
 * see libvirt_xml.h. On libexpat. libvirt's output is trusted no more than a peer's: a document type is
 * refused, so there are no entities but XML's own five. */
#include "handler/libvirt_xml.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handler/libvirt_xml_write.h"

#define LARGEST_XML (16u << 20)

/* Depths count from 1, which is <domain>'s. */
struct scan {
    XML_Parser parser;
    unsigned depth;
    bool in_metadata;
    struct lv_xml_ident *ident; /* to fill in, or NULL */
    bool found;
    long cpu_begin, cpu_end; /* where <cpu> stands; -1: it was not seen */
};

static void XMLCALL on_start(void *ctx, const char *name, const char **attrs);
static void XMLCALL on_end(void *ctx, const char *name);
static void XMLCALL refuse_doctype(void *ctx, const char *name, const char *system,
                                   const char *public, int internal);
static bool run(struct scan *s, const char *xml);
static bool take_ident(const char **attrs, struct lv_xml_ident *ret);

void
lv_xml_relocate(const char *xml, const char *from, const char *to, struct sb *ret)
{
    AUTO_SB struct sb old = SB_INIT, new = SB_INIT;
    const char *start = xml, *hit;

    xw_escape(&old, from);
    sb_putc(&old, '/');
    xw_escape(&new, to);
    sb_putc(&new, '/');
    while ((hit = strstr(xml, sb_str(&old)))) {
        /* a path begins where a text or an attribute's value does */
        bool begins = hit > start && strchr("'\">", hit[-1]);

        sb_add(ret, xml, (size_t)(hit - xml));
        sb_puts(ret, sb_str(begins ? &new : &old));
        xml = hit + old.len;
    }
    sb_puts(ret, xml);
}

bool
lv_xml_ident(const char *xml, struct lv_xml_ident *ret)
{
    struct lv_xml_ident got = {0};
    struct scan s = {.ident = &got};

    if (!run(&s, xml) || !s.found)
        return false;
    *ret = got;
    return true;
}

char *
lv_xml_cpu(const char *xml)
{
    struct scan s = {.ident = NULL};

    if (!run(&s, xml) || s.cpu_end < 0)
        return NULL;
    return xstrndup(xml + s.cpu_begin, (size_t)(s.cpu_end - s.cpu_begin));
}

static bool
run(struct scan *s, const char *xml)
{
    size_t len = strlen(xml);
    bool ok;

    if (len > LARGEST_XML)
        return false;
    s->cpu_begin = s->cpu_end = -1;
    s->parser = XML_ParserCreateNS(NULL, ' ');
    if (!s->parser)
        abort();
    XML_SetUserData(s->parser, s);
    XML_SetElementHandler(s->parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(s->parser, refuse_doctype);
    ok = XML_Parse(s->parser, xml, (int)len, 1) == XML_STATUS_OK;
    XML_ParserFree(s->parser);
    return ok;
}

static void XMLCALL
on_start(void *ctx, const char *name, const char **attrs)
{
    struct scan *s = ctx;

    s->depth++;
    if (s->depth == 2 && strcmp(name, "metadata") == 0)
        s->in_metadata = true;
    else if (s->depth == 2 && strcmp(name, "cpu") == 0 && s->cpu_begin < 0)
        s->cpu_begin = XML_GetCurrentByteIndex(s->parser);
    else if (s->depth == 3 && s->in_metadata && s->ident && !s->found &&
             strcmp(name, LV_METADATA_NS " vmi") == 0)
        s->found = take_ident(attrs, s->ident);
}

static void XMLCALL
on_end(void *ctx, const char *name)
{
    struct scan *s = ctx;

    if (s->depth == 2 && strcmp(name, "metadata") == 0)
        s->in_metadata = false;
    else if (s->depth == 2 && strcmp(name, "cpu") == 0 && s->cpu_end < 0)
        s->cpu_end = XML_GetCurrentByteIndex(s->parser) + XML_GetCurrentByteCount(s->parser);
    s->depth--;
}

static void XMLCALL
refuse_doctype(void *ctx, const char *name, const char *system, const char *public, int internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    XML_StopParser(((struct scan *)ctx)->parser, XML_FALSE);
}

/* False unless all three are there, and fit. */
static bool
take_ident(const char **attrs, struct lv_xml_ident *ret)
{
    struct {
        const char *key;
        char *text;
        size_t size;
    } const want[] = {{"namespace", ret->namespace_, sizeof ret->namespace_},
                      {"name", ret->name, sizeof ret->name},
                      {"uid", ret->uid, sizeof ret->uid}};
    size_t got = 0;

    for (size_t a = 0; attrs[a]; a += 2)
        for (size_t i = 0; i < ARRAY_LEN(want); i++)
            if (strcmp(attrs[a], want[i].key) == 0 && *attrs[a + 1] &&
                strlen(attrs[a + 1]) < want[i].size) {
                snprintf(want[i].text, want[i].size, "%s", attrs[a + 1]);
                got++;
            }
    return got == ARRAY_LEN(want);
}
