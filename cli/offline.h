/* What the verbs that need no controller share: their options (-f, -n, --vm, -o), the manifests that
 * they read, typed and in input order, and how they print an answer. A verb declares its table
 * of options with the OFFLINE_OPT_ rows it wants, calls offline_begin, and asks for objects. Called
 * by cli/verb_{schedule,policy,migratable,evict}.c. */
#ifndef CLI_OFFLINE_H
#define CLI_OFFLINE_H

#include "api/object.h"
#include "api/tree.h"
#include "api/types.h"
#include "base/arena.h"
#include "base/options.h"
#include "base/sb.h"
#include "cli/verbs.h"

#define OFFLINE_OPT_FILES                                                                    \
    {                                                                                        \
        .name = "filename", .letter = 'f', .type = OPTIONS_STRING, .required = true,         \
        .repeat = true, .arg = "FILE|DIR|-", .help = "manifests to read; may be given again" \
    }
#define OFFLINE_OPT_NAMESPACE                                                    \
    {                                                                            \
        .name = "namespace", .letter = 'n', .type = OPTIONS_STRING, .arg = "NS", \
        .dflt = "default", .help = "the namespace of a --vm that names none"     \
    }
#define OFFLINE_OPT_VM(is_required, text)                                                    \
    {                                                                                        \
        .name = "vm", .type = OPTIONS_STRING, .required = (is_required), .arg = "[NS/]NAME", \
        .help = (text)                                                                       \
    }
#define OFFLINE_OPT_OUTPUT                                                        \
    {                                                                             \
        .name = "output", .letter = 'o', .type = OPTIONS_STRING, .dflt = "table", \
        .choices = offline_outputs, .help = "how to print the answer"             \
    }
extern const char *const offline_outputs[]; /* table, json, yaml */

struct offline_item {
    enum kind kind;
    const struct meta *meta;
    const struct tree *tree; /* the whole object, as validated and defaulted */
    union {                  /* by kind; NULL for kinds without a typed view */
        const void *any;
        const struct vm *vm;
        const struct vmi *vmi;
        const struct vmim *vmim;
        const struct node *node;
        const struct namespace_ *ns;
        const struct pvc *pvc;
        const struct pv *pv;
        const struct storage_class *storage_class;
        const struct pod *pod;
        const struct migration_policy *policy;
        const struct hco *hco;
        const struct kubevirt *kubevirt;
        const struct nad *nad;
        const struct sched_config *sched_config;
        const struct priority_class *priority_class;
        const struct pdb *pdb;
    };
};

struct offline {
    struct options *options;
    struct offline_item *items; /* in input order */
    size_t len;
    const struct hco
        *hco; /* HyperConverged; made from a KubeVirt when only that is there; or NULL */
    const char *vm_ns, *vm_name; /* of --vm; NULL without one */
    struct arena *arena;         /* lives as long as the offline; for the verb's own use, too */
    struct tree *trees;
};

/* Parses argv by the table (which must hold OFFLINE_OPT_FILES and OFFLINE_OPT_OUTPUT, and with
 * OFFLINE_OPT_VM also OFFLINE_OPT_NAMESPACE), loads the
 * manifests, prints warnings on stderr. NULL: the verb is done and returns *ret_exit (help was
 * printed, or one line of error). Reads files and standard input, so it blocks. */
struct offline *offline_begin(const struct options_program *p, int argc, char **argv,
                              int *ret_exit);
/* The same of objects from elsewhere (taken; a list, valid and defaulted), for the VM ns/vm (borrowed).
 * There are no options. */
struct offline *offline_of(struct tree *objects, const char *ns, const char *vm);
void offline_free(struct offline *o); /* NULL is fine */
void offline_auto(struct offline **o);
#define AUTO_OFFLINE CLEANUP(offline_auto)

/* The VirtualMachineInstance of that name: the one in the input, else the one that the VirtualMachine
 * of that name would make, else NULL. Lives as long as o. */
const struct vmi *offline_vmi(struct offline *o, const char *ns, const char *name);
/* The VMI that a VirtualMachine makes. Lives as long as o; shares the VM's parts. */
const struct vmi *offline_vmi_of(struct offline *o, const struct vm *vm);
const struct node *offline_node(const struct offline *o, const char *name); /* or NULL */
/* The claims of a namespace; *ret lives as long as o. */
size_t offline_claims(struct offline *o, const char *ns, const struct pvc *const **ret);
/* An unfinished VirtualMachineInstanceMigration of that VMI, or NULL. */
const struct vmim *offline_migration(const struct offline *o, const char *ns, const char *vmi);

/* True for -o json and -o yaml: then it prints the answer, and the verb prints no table. */
bool offline_print(const struct offline *o, const struct tree *answer);
/* The same for a list that is too long to be kept: item by item, then the end. */
bool offline_is_table(const struct offline *o);
void offline_print_item(const struct offline *o, struct tree *item, size_t index); /* takes it */
void offline_print_items_end(const struct offline *o, size_t len);
/* Appends text in lines of at most 80 columns, `indent` blanks before the first, two more before the
 * others; breaks at blanks, and ends with a newline. Control characters become blanks. */
void offline_wrap(struct sb *out, int indent, const char *text);
/* One line on stderr, "drover: ..."; returns EXIT_ERROR. */
int offline_errorf(const char *fmt, ...) PRINTF_LIKE(1, 2);
void offline_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
