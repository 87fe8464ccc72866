/* Manifests that become domains, one a row: what it is about, the instance's spec, and what the domain then
 * has. Used by test_libvirt_xml_fields.c (as text) and test_libvirt_xml_define.c (by libvirt itself). */
#ifndef TESTS_HANDLER_XML_ROWS_H
#define TESTS_HANDLER_XML_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/handler/xml_rig.h"

#define XML_ROW_UID "0b2f1c3e-93d4-4d0c-9d2a-1f6a3c5b7d11"
/* A row's spec begins in the same line: "{domain: ...}". */
#define XML_ROW_HEAD                                                                            \
    "kind: VirtualMachineInstance\nmetadata: {namespace: ns, name: vm, uid: " XML_ROW_UID "}\n" \
    "spec: "
#define XML_ROW_WANTS 6

struct xml_row {
    const char *name, *spec;
    struct {
        const char *path, *value; /* of xml_rig_at; value NULL: must not be there */
    } want[XML_ROW_WANTS];
    const char *nads; /* more documents, or NULL */
    void (*change)(struct lv_xml_config *c);
    bool
        host; /* needs what this machine may not have (huge pages, a second CPU, swtpm): only text */
};

extern const struct xml_row xml_rows[];
extern const size_t xml_rows_len;

void xml_row_run(const struct xml_row *row, struct xml_rig *r);

#endif
