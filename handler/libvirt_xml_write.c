/* XML as text; see libvirt_xml_write.h. */
#include "handler/libvirt_xml_write.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void open_tag(struct xw *w, const char *name, va_list ap);
static void escaped(struct xw *w, const char *what, const char *s);
static size_t utf8_length(const unsigned char *s);

void
xw_begin(struct xw *w, const char *name, ...)
{
    va_list ap;

    va_start(ap, name);
    open_tag(w, name, ap);
    va_end(ap);
    sb_puts(w->out, ">\n");
    w->depth++;
}

void
xw_end(struct xw *w, const char *name)
{
    w->depth--;
    sb_printf(w->out, "%*s</%s>\n", (int)w->depth * 2, "", name);
}

void
xw_leaf(struct xw *w, const char *name, ...)
{
    va_list ap;

    va_start(ap, name);
    open_tag(w, name, ap);
    va_end(ap);
    sb_puts(w->out, "/>\n");
}

void
xw_text(struct xw *w, const char *text, const char *name, ...)
{
    va_list ap;

    va_start(ap, name);
    open_tag(w, name, ap);
    va_end(ap);
    sb_putc(w->out, '>');
    escaped(w, name, text);
    sb_printf(w->out, "</%s>\n", name);
}

void
xw_escape(struct sb *out, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            sb_puts(out, "&lt;");
            break;
        case '>':
            sb_puts(out, "&gt;");
            break;
        case '&':
            sb_puts(out, "&amp;");
            break;
        case '\'':
            sb_puts(out, "&apos;");
            break;
        case '"':
            sb_puts(out, "&quot;");
            break;
        default:
            sb_putc(out, *s);
        }
}

struct xw_number
xw_number(uint64_t v)
{
    struct xw_number n;

    snprintf(n.text, sizeof n.text, "%" PRIu64, v);
    return n;
}

bool
xw_can_hold(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n;

    while (*p && (n = utf8_length(p)) > 0)
        p += n;
    return !*p;
}

static void
open_tag(struct xw *w, const char *name, va_list ap)
{
    const char *key, *value;

    sb_printf(w->out, "%*s<%s", (int)w->depth * 2, "", name);
    while ((key = va_arg(ap, const char *))) {
        value = va_arg(ap, const char *);
        if (!value)
            continue;
        sb_printf(w->out, " %s='", key);
        escaped(w, key, value);
        sb_putc(w->out, '\'');
    }
}

static void
escaped(struct xw *w, const char *what, const char *s)
{
    if (!xw_can_hold(s)) {
        w->bad = w->bad ? w->bad : what;
        return;
    }
    xw_escape(w->out, s);
}

/* Bytes of the character at s; 0: XML 1.0 does not have it (RFC 3629, XML 1.0 2.2). */
static size_t
utf8_length(const unsigned char *s)
{
    uint32_t c = s[0], least;
    size_t n;

    if (c < 0x80)
        return c >= 0x20 && c != 0x7f;
    if (c >= 0xc2 && c <= 0xdf)
        n = 2, c &= 0x1f, least = 0x80;
    else if ((c & 0xf0) == 0xe0)
        n = 3, c &= 0x0f, least = 0x800;
    else if (c >= 0xf0 && c <= 0xf4)
        n = 4, c &= 0x07, least = 0x10000;
    else
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c < least || (c >= 0xd800 && c <= 0xdfff) || c == 0xfffe || c == 0xffff || c > 0x10ffff
               ? 0
               : n;
}
