/* XML into a small tree, for labeller*.c and the handler's libvirt_*.c. Hostile input: size, depth and count are limited, a
 * document type is refused (so there are no entities but XML's own five), nothing outside the text is
 * ever read. On libexpat. */
#ifndef SCHED_LABELLER_XML_H
#define SCHED_LABELLER_XML_H

#include "sched/labeller.h"

struct xml_element {
    const char *name;
    struct kv_list attrs;
    const char *text; /* between its tags, without the blanks around it; "" when there is none */
    size_t line, column;
    struct xml_element *first, *next; /* child, sibling */
};

/* The root element, which must be of that name. Everything is in the arena. -EINVAL; err begins with
 * NAME:LINE:COLUMN. */
int xml_parse(const struct labeller_text *text, const char *root, struct xml_element **ret,
              struct arena *a, struct err *err);
/* The first child of that name, or NULL; e may be NULL. */
const struct xml_element *xml_child(const struct xml_element *e, const char *name);
/* The next sibling of e with e's own name, or NULL. */
const struct xml_element *xml_again(const struct xml_element *e);
/* An attribute, "" without it; e may be NULL. */
const char *xml_attr(const struct xml_element *e, const char *name);

#endif
