/* Text for people about one object: labelled lines, sections, small tables; and what each kind has
 * to say for itself. Pure: everything that is not in the object is handed in by
 * cli/verb_describe.c. */
#ifndef CLI_PRINT_DESCRIBE_H
#define CLI_PRINT_DESCRIBE_H

#include <stdint.h>

#include "api/object.h"
#include "api/tree.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/sb.h"

struct describe {
    struct sb out;
    struct arena *arena;   /* for what is decoded meanwhile */
    int64_t now_us;        /* wall clock, for ages */
    const struct hco *hco; /* the cluster's settings, or NULL */
};

void describe_init(struct describe *d, int64_t now_us);
void describe_done(struct describe *d);

/* "Label:              text"; label NULL: one more line of the label before. */
void describe_line(struct describe *d, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Text of an object where it stands, its control characters as blanks. */
void describe_text(struct describe *d, const char *text);
/* A heading of its own line; what belongs to it is indented by two. */
void describe_section(struct describe *d, const char *heading);
/* Lines "  key: value" under a label, one each, or "<none>". */
void describe_map(struct describe *d, const char *label, const struct tree *map);
/* "2026-11-21T13:04:05Z (5m ago)" or "<unknown>". */
void describe_time(struct describe *d, const char *label, int64_t us);
/* A part of the object as indented YAML; nothing when it is absent. */
void describe_yaml(struct describe *d, const char *heading, const struct tree *t);

/* Name, namespace, age, labels, deletion: the head of every object. */
void describe_head(struct describe *d, const struct tree *obj);
/* What a Node's labels say of its host, a line for each kind of label that it has; and the labels that
 * it does not say (the caller's). labels may be NULL. */
void describe_host(struct describe *d, const struct tree *labels);
struct tree *describe_host_others(const struct tree *labels);
void describe_conditions(struct describe *d, const struct tree *obj);
/* The guest: its hypervisor and state, disks and interfaces, whether it can move, its console. obj: the
 * VirtualMachine or instance that is described; spec: of the instance, or the template's; annotations:
 * likewise; vmi NULL: there is none. */
void describe_guest(struct describe *d, const struct tree *obj, const struct tree *spec,
                    const struct tree *annotations, const struct tree *vmi);
/* Why this node and why not the others: the body of drover.io/schedule-result under a heading.
 * Nothing without one. */
void describe_placement(struct describe *d, const char *heading, const struct tree *obj);
/* Of a Node: what its handler and the controller say of the migration network. */
void describe_migration_network(struct describe *d, const struct tree *node);
/* The same in a word or two: "migration0 10 Gb/s", "LinkDown", "management"; "-": not known. */
void describe_network_cell(const struct tree *node, struct sb *out);
/* A table of the interfaces of a NodeNetworkState; NULL: that there is none. */
void describe_interfaces(struct describe *d, const struct tree *nns);
/* A table of enactments (a List), a row each; by: the label that the first column shows
 * (LABEL_NMSTATE_NODE or LABEL_NMSTATE_POLICY). */
void describe_enactments(struct describe *d, const struct tree *list, const char *by);
/* Events (a v1 List), oldest first. */
void describe_events(struct describe *d, const struct tree *list);

/* What each kind has to say, after the head. */
void describe_vm(struct describe *d, const struct tree *vm);
void describe_vmi(struct describe *d, const struct tree *vmi);
void describe_vmim(struct describe *d, const struct tree *vmim);
void describe_node(struct describe *d, const struct tree *node);
void describe_nncp(struct describe *d, const struct tree *policy);
void describe_nnce(struct describe *d, const struct tree *enactment);
void describe_nns(struct describe *d, const struct tree *state);
void describe_priority(struct describe *d, const struct tree *priority_class);
void describe_policy(struct describe *d, const struct tree *policy);
void describe_maintenance(struct describe *d, const struct tree *maintenance);

#endif
