/* What the server serves, as clients ask for it: /, /version, /api, /apis and the lists of
 * resources below them. All of it follows from the table of kinds. See api_call.h. */
#include <string.h>
#include <sys/utsname.h>

#include "control/api_call.h"
#include "control/api_subresource.h"

/* Clients read features off this number: the Kubernetes release whose conventions we follow. */
#define KUBERNETES_MAJOR   "1"
#define KUBERNETES_MINOR   "31"
#define KUBERNETES_VERSION "v1.31.0+drover"

static int send_root(struct api_call *c);
static int send_version(struct api_call *c);
static int send_core_versions(struct api_call *c);
static int send_groups(struct api_call *c);
static int send_group(struct api_call *c, const char *group);
static int send_resources(struct api_call *c, const char *group, const char *version);
static void add_group(const char *group, struct sb *out);
static void add_resource(const struct kind_info *k, struct sb *out);
static bool group_known(const char *group);

int
api_discovery(struct api_call *c)
{
    const char **seg = c->request->segments;
    size_t n = c->request->segments_len;

    if (n == 0)
        return send_root(c);
    if (n == 1 && strcmp(seg[0], "version") == 0)
        return send_version(c);
    if (n == 1 && strcmp(seg[0], "api") == 0)
        return send_core_versions(c);
    if (n == 2 && strcmp(seg[0], "api") == 0)
        return send_resources(c, "", seg[1]);
    if (n == 1 && strcmp(seg[0], "apis") == 0)
        return send_groups(c);
    if (n == 2 && strcmp(seg[0], "apis") == 0)
        return send_group(c, seg[1]);
    return api_err_no_resource(c);
}

int
api_discovery_gv(struct api_call *c)
{
    return send_resources(c, c->request->segments[1], c->request->segments[2]);
}

static int
send_root(struct api_call *c)
{
    struct sb out = SB_INIT;

    sb_puts(&out, "{\"paths\":[\"/api\",\"/api/v1\",\"/apis\"");
    for (size_t i = 0; api_group_at(i); i++) {
        const char *group = api_group_at(i);

        if (!*group)
            continue;
        sb_printf(&out, ",\"/apis/%s\"", group);
        for (size_t v = 0; api_version_at(group, v); v++)
            sb_printf(&out, ",\"/apis/%s/%s\"", group, api_version_at(group, v));
    }
    sb_puts(&out, ",\"/healthz\",\"/livez\",\"/openapi/v2\",\"/openapi/v3\",\"/readyz\","
                  "\"/version\"]}\n");
    api_send_json(c, 200, &out);
    return 0;
}

static int
send_version(struct api_call *c)
{
    struct sb out = SB_INIT;
    struct utsname u;

    if (uname(&u) != 0)
        u.machine[0] = '\0';
    sb_printf(&out,
              "{\"major\":\"" KUBERNETES_MAJOR "\",\"minor\":\"" KUBERNETES_MINOR
              "\",\"gitVersion\":\"" KUBERNETES_VERSION
              "\",\"gitCommit\":\"\",\"gitTreeState\":\"\",\"buildDate\":\"\",\"goVersion\":\"\","
              "\"compiler\":\"gcc\",\"platform\":\"linux/%s\"}\n",
              strcmp(u.machine, "x86_64") == 0 ? "amd64" : u.machine);
    api_send_json(c, 200, &out);
    return 0;
}

static int
send_core_versions(struct api_call *c)
{
    struct sb out = SB_INIT;

    sb_puts(&out, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                  "\"serverAddressByClientCIDRs\":[]}\n");
    api_send_json(c, 200, &out);
    return 0;
}

static int
send_groups(struct api_call *c)
{
    struct sb out = SB_INIT;
    bool first = true;

    sb_puts(&out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; api_group_at(i); i++) {
        if (!*api_group_at(i))
            continue;
        if (!first)
            sb_putc(&out, ',');
        first = false;
        sb_putc(&out, '{');
        add_group(api_group_at(i), &out);
    }
    sb_puts(&out, "]}\n");
    api_send_json(c, 200, &out);
    return 0;
}

static int
send_group(struct api_call *c, const char *group)
{
    struct sb out = SB_INIT;

    if (!*group || !group_known(group))
        return api_err_no_resource(c);
    sb_puts(&out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    add_group(group, &out);
    sb_putc(&out, '\n');
    api_send_json(c, 200, &out);
    return 0;
}

/* The group's members, after the opening brace; the newest version is the preferred one. */
static void
add_group(const char *group, struct sb *out)
{
    sb_printf(out, "\"name\":\"%s\",\"versions\":[", group);
    for (size_t v = 0; api_version_at(group, v); v++)
        sb_printf(out, "%s{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}", v ? "," : "", group,
                  api_version_at(group, v), api_version_at(group, v));
    sb_printf(out, "],\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}", group,
              api_version_at(group, 0), api_version_at(group, 0));
}

static int
send_resources(struct api_call *c, const char *group, const char *version)
{
    struct sb out = SB_INIT;
    bool known = false;

    for (size_t v = 0; api_version_at(group, v); v++)
        known = known || strcmp(api_version_at(group, v), version) == 0;
    if (!known)
        return api_err_no_resource(c);
    sb_printf(&out,
              "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"%s%s%s\","
              "\"resources\":[",
              group, *group ? "/" : "", version);
    if (strcmp(group, SUBRESOURCE_GROUP) == 0) {
        api_subresource_list(&out);
    } else {
        size_t before = out.len;

        for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
            const struct kind_info *ki = kind_info((enum kind)k);

            if (kind_by_resource(group, version, ki->plural) != ki)
                continue;
            if (out.len > before)
                sb_putc(&out, ',');
            add_resource(ki, &out);
        }
    }
    sb_puts(&out, "]}\n");
    api_send_json(c, 200, &out);
    return 0;
}

static bool
in_all(enum kind k)
{
    return k == KIND_VM || k == KIND_VMI || k == KIND_VMIM || k == KIND_POD;
}

static void
add_resource(const struct kind_info *k, struct sb *out)
{
    sb_printf(out, "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
              k->plural, k->singular, k->namespaced ? "true" : "false", k->name);
    sb_puts(out, k->stored ? "\"verbs\":[\"create\",\"delete\",\"deletecollection\",\"get\","
                             "\"list\",\"patch\",\"update\",\"watch\"]"
                           : "\"verbs\":[\"get\",\"list\",\"watch\"]");
    for (size_t i = 0; k->short_names && k->short_names[i]; i++)
        sb_printf(out, "%s\"%s\"", i ? "," : ",\"shortNames\":[", k->short_names[i]);
    if (k->short_names && k->short_names[0])
        sb_putc(out, ']');
    if (in_all(k->kind))
        sb_puts(out, ",\"categories\":[\"all\"]");
    sb_putc(out, '}');
    if (k->has_status && k->stored)
        sb_printf(
            out,
            ",{\"name\":\"%s/status\",\"singularName\":\"\",\"namespaced\":%s,\"kind\":\"%s\","
            "\"verbs\":[\"get\",\"patch\",\"update\"]}",
            k->plural, k->namespaced ? "true" : "false", k->name);
}

/* --- groups and versions, as the table of kinds has them --- */
static bool
group_known(const char *group)
{
    for (size_t i = 0; api_group_at(i); i++)
        if (strcmp(api_group_at(i), group) == 0)
            return true;
    return false;
}

const char *
api_group_at(size_t i)
{
    size_t found = 0;

    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const char *group = kind_info((enum kind)k)->group;
        bool seen = false;

        for (int b = KIND_NONE + 1; b < k && !seen; b++)
            seen = strcmp(kind_info((enum kind)b)->group, group) == 0;
        if (!seen && !kind_info((enum kind)k)->unserved && found++ == i)
            return group;
    }
    return found == i ? SUBRESOURCE_GROUP : NULL;
}

const char *
api_version_at(const char *group, size_t i)
{
    const char *seen[32];
    size_t len = 0;

    if (strcmp(group, SUBRESOURCE_GROUP) == 0)
        group = "kubevirt.io";
    for (int pass = 0; pass < 2; pass++) { /* preferred ones first */
        for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
            const struct kind_info *ki = kind_info((enum kind)k);
            const char *const one[] = {ki->version, NULL};
            const char *const *list = pass ? ki->other_versions : one;

            if (strcmp(ki->group, group) != 0)
                continue;
            for (; list && *list; list++) {
                bool known = false;

                for (size_t n = 0; n < len && !known; n++)
                    known = strcmp(seen[n], *list) == 0;
                if (!known && len < ARRAY_LEN(seen))
                    seen[len++] = *list;
            }
        }
    }
    return i < len ? seen[i] : NULL;
}
