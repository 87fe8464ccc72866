/* Domains from manifests, for tests: a VirtualMachineInstance as YAML in, XML out, and questions to it. */
#ifndef TESTS_HANDLER_XML_RIG_H
#define TESTS_HANDLER_XML_RIG_H

#include "base/arena.h"
#include "handler/libvirt_xml.h"

struct xml_rig {
    struct arena *arena;
    struct tree *docs;
    struct lv_xml_config config;
    struct hv_want want;
    struct lv_disks disks;
    struct sb xml;
    struct hv_refusal why;
    int rc;
    const struct xml_element *root; /* NULL: refused */
};

/* yaml: any number of documents: the VirtualMachineInstance, NetworkAttachmentDefinitions. Its volumes
 * become raw files /disks/NAME (hostDisk: its path; emptyDisk: qcow2 of ours; containerDisk: overlay;
 * claimName block-*: a block device). Ends the test when the text is no YAML, or what came is no XML. */
void xml_rig_run(struct xml_rig *r, const char *yaml);
void xml_rig_done(struct xml_rig *r);
/* "devices/disk[1]/target@dev": an attribute's value, or an element's text; NULL: not there. [n] counts
 * from 0. "@" alone after an element asks only whether it is there. */
const char *xml_rig_at(const struct xml_rig *r, const char *path);
/* A KVM guest in /g, named ns_vm. */
struct lv_xml_config xml_rig_config(void);

#endif
