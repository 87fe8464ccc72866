/* Kinds and what can be done with any object: look the kind up, check and default a tree against
 * its schema, decode it into a typed struct, and the texts that upstream uses for errors. */
#ifndef API_OBJECT_H
#define API_OBJECT_H

#include <stdbool.h>

#include "api/tree.h"
#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"

struct kind_info {
    enum kind kind;
    const char *group;                 /* "" for core */
    const char *version;               /* the preferred one */
    const char *name;                  /* VirtualMachine */
    const char *plural;                /* virtualmachines */
    const char *singular;              /* virtualmachine */
    const char *const *short_names;    /* NULL-terminated: vm, vms */
    const char *const *other_versions; /* NULL-terminated; accepted and converted (v1alpha3, ...) */
    bool namespaced;
    bool stored;     /* false for Pod: only an input of drover schedule */
    bool unserved;   /* the API server does not know it at all; it has no metadata */
    bool has_status; /* the status subresource exists */
};

const struct kind_info *kind_info(enum kind k);
/* By apiVersion ("kubevirt.io/v1") and kind. NULL when unknown. */
const struct kind_info *kind_by_gvk(const char *api_version, const char *name);
/* By what people type: plural, singular, short name, Kind, in any case, with optional ".group". */
const struct kind_info *kind_by_word(const char *word);
const struct kind_info *kind_by_resource(const char *group, const char *version,
                                         const char *plural);

/* Warnings, one text each: "spec.template.spec.hostname is kept, but not acted on yet". The caller
 * sets arena; at most 200 are collected, the last of which then says how it is. */
struct warnings {
    struct str_list list;
    struct arena *arena;
};

void warnings_add(struct warnings *w, const char *text); /* text is copied; w may be NULL */

enum validate_flags {
    VALIDATE_CREATE = 1, /* rules that hold for new objects only */
    VALIDATE_STATUS = 2, /* the status part is checked, too (handlers and the status subresource) */
    /* A manifest from a file. The namespace defaults to "default" (a HyperConverged's to openshift-cnv); a
     * name is required. What the documents' fragments leave out is a warning instead of an error:
     * a VM's template, a VMI's memory, the volumes of disks, the size of a claim. */
    VALIDATE_OFFLINE = 4
};

/* One problem: where in the object ("spec.template.spec.nodeSelector.a b"), where in the file. */
struct field_error {
    const char *path;    /* an unknown field's is its keys, joined by dots, as they are */
    struct tree_pos pos; /* of the value, or of the map where something is missing */
    const char
        *type; /* upstream's cause: FieldValueInvalid, FieldValueRequired, FieldValueDuplicate,
                           FieldValueNotSupported, FieldValueForbidden, FieldValueTypeInvalid, FieldValueTooLong, FieldValueTooMany, UnknownField */
    const char *message;
};

struct field_errors {
    struct field_error *items;
    size_t len;
    struct arena *arena; /* must be set by the caller */
};

/* Checks obj (a map with apiVersion and kind) against its kind's schema and rules, converts what the documents
 * place elsewhere (seeds P14: nodeSelector, affinity, tolerations and domain of a VirtualMachine's spec move to
 * spec.template.spec, a domain's interfaces and rng under its devices, each with a warning) and older
 * apiVersions, fills in defaults, drops nulls, turns numbers in quantities into text. In place.
 * A template without memory is a warning, as upstream asks for memory when the VMI is made. All problems
 * are collected (at most 100). Returns 0, or -EINVAL when errs is not empty. */
int object_validate(struct tree *obj, unsigned flags, struct field_errors *errs,
                    struct warnings *warn);
/* What an update may not change (spec of a VMIM, nodeName of a NodeMaintenance, ...). */
int object_validate_update(const struct tree *old_obj, const struct tree *new_obj,
                           struct field_errors *errs);

/* "FILE:L:C: VirtualMachine default/vm1: spec.x: message" for the first problem (+ "and N more"). */
void field_errors_text(const struct field_errors *e, const char *file, const struct tree *obj,
                       struct err *err);

/* Typed view of a valid object; the result lives in the arena and does not point into obj. Fields of the wrong
 * type (possible only when obj was not validated) count as absent: never crashes. */
struct vm *vm_decode(const struct tree *obj, struct arena *a);
struct vmi *vmi_decode(const struct tree *obj, struct arena *a);
struct vmim *vmim_decode(const struct tree *obj, struct arena *a);
struct hco *hco_decode(const struct tree *obj, struct arena *a);
struct kubevirt *kubevirt_decode(const struct tree *obj, struct arena *a);
struct migration_policy *policy_decode(const struct tree *obj, struct arena *a);
struct nad *nad_decode(const struct tree *obj, struct arena *a);
struct maintenance *maintenance_decode(const struct tree *obj, struct arena *a);
struct node *node_decode(const struct tree *obj, struct arena *a);
struct namespace_ *namespace_decode(const struct tree *obj, struct arena *a);
struct pvc *pvc_decode(const struct tree *obj, struct arena *a);
struct pv *pv_decode(const struct tree *obj, struct arena *a);
struct storage_class *storage_class_decode(const struct tree *obj, struct arena *a);
struct pod *pod_decode(const struct tree *obj, struct arena *a);
struct priority_class *priority_class_decode(const struct tree *obj, struct arena *a);
struct pdb *pdb_decode(const struct tree *obj, struct arena *a);
struct sched_config *sched_config_decode(const struct tree *obj, struct arena *a);
struct meta *meta_decode(const struct tree *obj, struct arena *a);

/* Shorthands on trees. Borrowed; "" / NULL when absent. */
const char *object_name(const struct tree *obj);
const char *object_namespace(const struct tree *obj); /* "" for cluster scope */
const char *object_uid(const struct tree *obj);
const struct kind_info *object_kind(const struct tree *obj);
const char *object_label(const struct tree *obj, const char *key);
const char *object_annotation(const struct tree *obj, const char *key);
/* An annotation's JSON, parsed; the caller's. NULL: it is not there, or no JSON. obj may be NULL. */
struct tree *object_annotation_json(const struct tree *obj, const char *key);
/* status.conditions[type], or NULL. obj may be NULL. */
const struct tree *object_condition(const struct tree *obj, const char *type);
/* Sets status.conditions[type]; lastTransitionTime changes only when status does. True when
 * anything changed. */
bool object_set_condition(struct tree *obj, const char *type, const char *status,
                          const char *reason, const char *message, int64_t now_us);
/* The VMI that a VirtualMachine makes when it starts (same name, template's labels, annotations and spec, owner
 * reference). The caller's. */
struct tree *vmi_from_vm(const struct tree *vm);

/* Manifests from files and folders (*.yaml, *.yml, *.json; sorted) or "-". Each document is
 * validated (VALIDATE_CREATE | VALIDATE_OFFLINE | VALIDATE_STATUS); `List` kinds are unfolded; two
 * documents of one kind, namespace and name are an error that names both places. On error nothing is
 * returned and err has one line. *ret is a TREE_LIST of objects in input order, the caller's. */
int manifests_load(const char *const *paths, size_t len, struct tree **ret, struct warnings *warn,
                   struct err *err);

#endif
