/* The shared part of the verbs that read manifests instead of asking a controller. Loading and
 * checking is api/'s; this file only keeps the typed objects together and prints. */
#include "cli/offline.h"

#include <stdarg.h>
#include <string.h>

#include "base/sb.h"

#define OFFLINE_COLUMNS 80

const char *const offline_outputs[] = {"table", "json", "yaml", NULL};

static int load(struct offline *o, struct err *err);
static void take_in(struct offline *o);
static int decode(struct offline *o, struct offline_item *it, const struct tree *t);
static void find_hco(struct offline *o);
static int split_vm(struct offline *o);
static bool is_named(const struct offline_item *it, enum kind kind, const char *ns,
                     const char *name);
static void complain(const char *prefix, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

struct offline *
offline_begin(const struct options_program *p, int argc, char **argv, int *ret_exit)
{
    AUTO_OFFLINE struct offline *o = xcalloc(1, sizeof(*o));
    struct err err = {0};

    *ret_exit = EXIT_ERROR;
    o->arena = arena_new();
    if (options_parse(p, argc, argv, &o->options, &err) != 0) {
        fprintf(stderr, "%s\n", err_msg(&err)); /* it begins with the program's name */
        return NULL;
    }
    if (options_help_wanted(o->options)) {
        AUTO_SB struct sb help = SB_INIT;

        options_help(p, &help);
        fputs(sb_str(&help), stdout);
        *ret_exit = EXIT_DONE;
        return NULL;
    }
    for (const struct options_def *d = p->defs; d->name; d++)
        if (strcmp(d->name, "vm") == 0 && split_vm(o) != 0)
            return NULL;
    if (load(o, &err) != 0) {
        offline_errorf("%s", err_msg(&err));
        return NULL;
    }
    return TAKE_PTR(o);
}

struct offline *
offline_of(struct tree *objects, const char *ns, const char *vm)
{
    struct offline *o = xcalloc(1, sizeof(*o));

    o->arena = arena_new();
    o->trees = objects;
    o->vm_ns = ns;
    o->vm_name = vm;
    take_in(o);
    return o;
}

void
offline_free(struct offline *o)
{
    if (!o)
        return;
    options_free(o->options);
    tree_free(o->trees);
    arena_free(o->arena);
    free(o->items);
    free(o);
}

void
offline_auto(struct offline **o)
{
    offline_free(*o);
}

const struct vmi *
offline_vmi(struct offline *o, const char *ns, const char *name)
{
    for (size_t i = 0; i < o->len; i++)
        if (is_named(&o->items[i], KIND_VMI, ns, name))
            return o->items[i].vmi;
    for (size_t i = 0; i < o->len; i++)
        if (is_named(&o->items[i], KIND_VM, ns, name))
            return offline_vmi_of(o, o->items[i].vm);
    return NULL;
}

const struct vmi *
offline_vmi_of(struct offline *o, const struct vm *vm)
{
    struct vmi *v = arena_alloc(o->arena, sizeof(*v));

    v->meta.name = vm->meta.name;
    v->meta.namespace_ = vm->meta.namespace_;
    v->meta.labels = vm->template_labels;
    v->meta.annotations = vm->template_annotations;
    v->spec = vm->spec;
    return v;
}

const struct node *
offline_node(const struct offline *o, const char *name)
{
    for (size_t i = 0; i < o->len; i++)
        if (is_named(&o->items[i], KIND_NODE, NULL, name))
            return o->items[i].node;
    return NULL;
}

size_t
offline_claims(struct offline *o, const char *ns, const struct pvc *const **ret)
{
    const struct pvc **list = arena_calloc(o->arena, o->len + 1, sizeof(*list));
    size_t len = 0;

    for (size_t i = 0; i < o->len; i++)
        if (is_named(&o->items[i], KIND_PVC, ns, NULL))
            list[len++] = o->items[i].pvc;
    *ret = list;
    return len;
}

const struct vmim *
offline_migration(const struct offline *o, const char *ns, const char *vmi)
{
    for (size_t i = 0; i < o->len; i++) {
        const struct vmim *m = o->items[i].vmim;

        if (!is_named(&o->items[i], KIND_VMIM, ns, NULL) || !m->vmi_name ||
            strcmp(m->vmi_name, vmi) != 0)
            continue;
        if (!m->phase || (strcmp(m->phase, "Succeeded") != 0 && strcmp(m->phase, "Failed") != 0))
            return m;
    }
    return NULL;
}

bool
offline_print(const struct offline *o, const struct tree *answer)
{
    const char *how = options_string(o->options, "output");
    AUTO_SB struct sb text = SB_INIT;

    if (strcmp(how, "table") == 0)
        return false;
    if (strcmp(how, "json") == 0)
        tree_to_json(answer, 2, &text);
    else
        tree_to_yaml(answer, &text);
    if (text.len == 0 || text.buf[text.len - 1] != '\n')
        sb_putc(&text, '\n');
    fputs(sb_str(&text), stdout);
    return true;
}

bool
offline_is_table(const struct offline *o)
{
    return strcmp(options_string(o->options, "output"), "table") == 0;
}

void
offline_print_item(const struct offline *o, struct tree *item, size_t index)
{
    AUTO_TREE struct tree *list = tree_list();
    AUTO_SB struct sb text = SB_INIT;

    tree_append(list, item);
    if (strcmp(options_string(o->options, "output"), "json") != 0) {
        tree_to_yaml(list, &text);
        fputs(sb_str(&text), stdout);
        return;
    }
    /* a list of one without its "[" and "]" */
    tree_to_json(list, 2, &text);
    printf("%s%.*s", index == 0 ? "[" : ",", (int)(text.len - strlen("[\n]")), text.buf + 1);
}

void
offline_print_items_end(const struct offline *o, size_t len)
{
    bool json = strcmp(options_string(o->options, "output"), "json") == 0;

    if (len == 0)
        puts("[]");
    else if (json)
        puts("\n]");
}

void
offline_wrap(struct sb *out, int indent, const char *text)
{
    int margin = indent;

    while (*text) {
        size_t len = strlen(text), width = (size_t)(OFFLINE_COLUMNS - margin), next;

        if (len > width) {
            len = width;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0) /* one long word: it sticks out rather than break */
                len = strcspn(text, " ");
        }
        next = len + strspn(text + len, " ");
        sb_printf(out, "%*s", margin, "");
        for (size_t i = 0; i < len; i++)
            sb_putc(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
        sb_putc(out, '\n');
        text += next;
        margin = indent + 2;
    }
}

int
offline_errorf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain("drover: ", fmt, ap);
    va_end(ap);
    return EXIT_ERROR;
}

void
offline_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain("drover: warning: ", fmt, ap);
    va_end(ap);
}

static int
load(struct offline *o, struct err *err)
{
    size_t files = options_count(o->options, "filename");
    const char **paths = arena_calloc(o->arena, files, sizeof(*paths));
    struct warnings warn = {.arena = o->arena};

    for (size_t i = 0; i < files; i++)
        paths[i] = options_nth(o->options, "filename", i);
    if (manifests_load(paths, files, &o->trees, &warn, err) != 0)
        return -1;
    for (size_t i = 0; i < warn.list.len; i++)
        offline_warn("%s", warn.list.items[i]);
    take_in(o);
    return 0;
}

static void
take_in(struct offline *o)
{
    o->items = xcalloc(tree_len(o->trees) + 1, sizeof(*o->items));
    for (size_t i = 0; i < tree_len(o->trees); i++)
        if (decode(o, &o->items[o->len], tree_at(o->trees, i)) == 0)
            o->len++;
    find_hco(o);
}

/* 0, or -1 for an object without a kind that is known (manifests_load lets none through). */
static int
decode(struct offline *o, struct offline_item *it, const struct tree *t)
{
    const struct kind_info *ki = object_kind(t);

    if (!ki)
        return -1;
    it->kind = ki->kind;
    it->tree = t;
    it->meta = meta_decode(t, o->arena);
    switch (ki->kind) {
    case KIND_VM:
        it->vm = vm_decode(t, o->arena);
        break;
    case KIND_VMI:
        it->vmi = vmi_decode(t, o->arena);
        break;
    case KIND_VMIM:
        it->vmim = vmim_decode(t, o->arena);
        break;
    case KIND_NODE:
        it->node = node_decode(t, o->arena);
        break;
    case KIND_NAMESPACE:
        it->ns = namespace_decode(t, o->arena);
        break;
    case KIND_PVC:
        it->pvc = pvc_decode(t, o->arena);
        break;
    case KIND_PV:
        it->pv = pv_decode(t, o->arena);
        break;
    case KIND_STORAGE_CLASS:
        it->storage_class = storage_class_decode(t, o->arena);
        break;
    case KIND_POD:
        it->pod = pod_decode(t, o->arena);
        break;
    case KIND_POLICY:
        it->policy = policy_decode(t, o->arena);
        break;
    case KIND_HCO:
        it->hco = hco_decode(t, o->arena);
        break;
    case KIND_KUBEVIRT:
        it->kubevirt = kubevirt_decode(t, o->arena);
        break;
    case KIND_NAD:
        it->nad = nad_decode(t, o->arena);
        break;
    case KIND_SCHED_CONFIG:
        it->sched_config = sched_config_decode(t, o->arena);
        break;
    case KIND_PRIORITY:
        it->priority_class = priority_class_decode(t, o->arena);
        break;
    case KIND_PDB:
        it->pdb = pdb_decode(t, o->arena);
        break;
    default:
        break;
    }
    return 0;
}

/* A cluster has one HyperConverged; a plain KubeVirt carries the same settings. */
static void
find_hco(struct offline *o)
{
    const struct kubevirt *kubevirt = NULL;
    struct hco *made;

    for (size_t i = 0; i < o->len; i++) {
        if (o->items[i].kind == KIND_HCO && !o->hco)
            o->hco = o->items[i].hco;
        if (o->items[i].kind == KIND_KUBEVIRT && !kubevirt)
            kubevirt = o->items[i].kubevirt;
    }
    if (o->hco || !kubevirt)
        return;
    made = arena_alloc(o->arena, sizeof(*made));
    made->meta = kubevirt->meta;
    made->live_migration = kubevirt->migrations;
    made->eviction_strategy = kubevirt->eviction_strategy;
    made->default_cpu_model = kubevirt->default_cpu_model;
    o->hco = made;
}

static int
split_vm(struct offline *o)
{
    const char *text = options_string(o->options, "vm");
    const char *slash;

    if (!text)
        return 0;
    slash = strchr(text, '/');
    if (!slash) {
        o->vm_ns = options_string(o->options, "namespace");
        o->vm_name = text;
    } else {
        o->vm_ns = arena_strndup(o->arena, text, (size_t)(slash - text));
        o->vm_name = slash + 1;
    }
    if (!*o->vm_ns || !*o->vm_name || strchr(o->vm_name, '/')) {
        offline_errorf("--vm %s: want NAMESPACE/NAME, such as default/vm1", text);
        return -1;
    }
    return 0;
}

/* ns and name NULL: any. */
static bool
is_named(const struct offline_item *it, enum kind kind, const char *ns, const char *name)
{
    if (it->kind != kind)
        return false;
    if (ns && (!it->meta->namespace_ || strcmp(it->meta->namespace_, ns) != 0))
        return false;
    return !name || (it->meta->name && strcmp(it->meta->name, name) == 0);
}

static void
complain(const char *prefix, const char *fmt, va_list ap)
{
    AUTO_SB struct sb line = SB_INIT;

    sb_puts(&line, prefix);
    sb_vprintf(&line, fmt, ap);
    /* one line, and nothing that drives a terminal, whatever stood in a manifest */
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.buf[i] < 0x20 || line.buf[i] == 0x7f)
            line.buf[i] = ' ';
    fflush(stdout);
    fprintf(stderr, "%s\n", sb_str(&line));
}
