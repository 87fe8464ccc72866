/* Writes XML, an element a line: escaped, indented, and never ill-formed. A text with a byte that XML
 * cannot hold (a control character, broken UTF-8) is remembered, and the whole is then not to be used.
 * Internal to handler/libvirt_xml*.c. Not thread-safe; never blocks. */
#ifndef HANDLER_LIBVIRT_XML_WRITE_H
#define HANDLER_LIBVIRT_XML_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sb.h"

struct xw {
    struct sb *out;
    unsigned depth;
    const char *bad; /* element or attribute whose text XML cannot hold; NULL: all is well */
};

/* Attributes are pairs of name and value, ended by NULL; one whose value is NULL is left out. Names are
 * ours and constant; values are anybody's. */
void xw_begin(struct xw *w, const char *name, ...) __attribute__((sentinel));
void xw_end(struct xw *w, const char *name);
void xw_leaf(struct xw *w, const char *name, ...) __attribute__((sentinel));
void xw_text(struct xw *w, const char *text, const char *name, ...) __attribute__((sentinel));

/* Adds s as the text of an element or attribute. */
void xw_escape(struct sb *out, const char *s);

/* A number as an attribute's value: XW_NUM(4) lives until the end of the full expression. */
struct xw_number {
    char text[24];
};
struct xw_number xw_number(uint64_t v);
#define XW_NUM(v) (xw_number(v).text)

/* Whether XML 1.0 can hold it: UTF-8 without control characters (tab and newline neither: an attribute
 * would not keep them). */
bool xw_can_hold(const char *s);

#endif
