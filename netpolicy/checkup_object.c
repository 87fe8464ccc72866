/* Parameters and results of a network checkup; see checkup_object.h. */
#include "netpolicy/checkup_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "api/object.h"
#include "api/quantity.h"
#include "netpolicy/limits.h"

#define DEFAULT_SAMPLE_S 5
#define DEFAULT_TIMEOUT  "5m"
#define MANAGEMENT       "management"

static const char *param(const struct tree *cm, const char *key);
static int read_number(const struct tree *cm, const char *key, uint64_t min, uint64_t max,
                       uint64_t dflt, uint64_t *ret, struct err *err);
static int read_node(const struct tree *cm, const char *key, char *buf, size_t size,
                     struct err *err);
static int read_network(const struct tree *cm, struct checkup_params *p, struct err *err);
static int read_timeout(const struct tree *cm, uint64_t *ret_us, struct err *err);
static bool to_number(const char *text, uint64_t *ret);

bool
checkup_object_is(const struct tree *cm)
{
    const char *type = object_label(cm, LABEL_CHECKUP);

    return type && strcmp(type, CHECKUP_TYPE_LATENCY) == 0;
}

bool
checkup_object_finished(const struct tree *cm)
{
    return *checkup_object_get(cm, CHECKUP_SUCCEEDED) != '\0';
}

const char *
checkup_object_get(const struct tree *cm, const char *key)
{
    return tree_find_string(cm, "", "data", key, NULL);
}

int
checkup_object_params(const struct tree *cm, struct checkup_params *ret, struct err *err)
{
    struct checkup_params p = {0};
    uint64_t ms = 0, seconds = 0, streams = 0;
    int rc = read_node(cm, CHECKUP_SOURCE, p.source, sizeof p.source, err);

    if (rc == 0)
        rc = read_node(cm, CHECKUP_TARGET, p.target, sizeof p.target, err);
    if (rc == 0 && strcmp(p.source, p.target) == 0)
        rc = err_set(err, -EINVAL, CHECKUP_TARGET ": \"%s\" is the source, too: want another node",
                     p.target);
    if (rc == 0)
        rc = read_network(cm, &p, err);
    if (rc == 0)
        rc = read_number(cm, CHECKUP_MAX_LATENCY, 1, CHECKUP_MAX_LATENCY_MS, 0, &ms, err);
    if (rc == 0)
        rc = read_number(cm, CHECKUP_SAMPLE, 1, CHECKUP_MAX_SAMPLE_S, DEFAULT_SAMPLE_S, &seconds,
                         err);
    if (rc == 0)
        rc = read_number(cm, CHECKUP_STREAMS, 1, CHECKUP_MAX_STREAMS, 0, &streams, err);
    if (rc == 0)
        rc = read_timeout(cm, &p.timeout_us, err);
    if (rc != 0)
        return rc;
    p.max_latency_ns = ms * 1000000;
    p.sample_us = seconds * 1000000;
    p.streams = (unsigned)streams;
    *ret = p;
    return 0;
}

bool
checkup_object_names_node(const struct tree *cm)
{
    return *param(cm, CHECKUP_SOURCE) || *param(cm, CHECKUP_TARGET);
}

void
checkup_object_judge(const struct checkup_params *p, const struct checkup_result *r, char *buf,
                     size_t size)
{
    *buf = '\0';
    if (p->max_latency_ns && r->max_ns > p->max_latency_ns)
        snprintf(buf, size, "the greatest latency was %.3f ms, and at most %llu ms was wanted",
                 (double)r->max_ns / 1e6, (unsigned long long)(p->max_latency_ns / 1000000));
}

static void
put(struct tree *data, const char *name, uint64_t value)
{
    AUTO_FREE char *key = xasprintf(CHECKUP_RESULT "%s", name);

    if (value)
        tree_set(data, key, tree_stringf("%llu", (unsigned long long)value));
}

struct tree *
checkup_object_outcome(const struct checkup_params *p, const struct checkup_result *r,
                       const char *reason, int64_t start_us, int64_t end_us)
{
    struct tree *data = tree_map();
    char text[40];

    tree_set(data, CHECKUP_SUCCEEDED, tree_string(*reason ? "false" : "true"));
    tree_set(data, CHECKUP_FAILURE, tree_string(reason));
    time_format(start_us, false, text, sizeof text);
    tree_set(data, CHECKUP_STARTED, tree_string(text));
    /* a clock that was set back meanwhile does not make it end before it began */
    time_format(end_us > start_us ? end_us : start_us, false, text, sizeof text);
    tree_set(data, CHECKUP_COMPLETED, tree_string(text));
    tree_set(data, CHECKUP_TARGET_ADDRESS, tree_null());
    tree_set(data, CHECKUP_TARGET_NONCE, tree_null());
    if (!r)
        return data;
    put(data, "avgLatencyNanoSec", r->avg_ns);
    put(data, "maxLatencyNanoSec", r->max_ns);
    put(data, "minLatencyNanoSec", r->min_ns);
    put(data, "p99LatencyNanoSec", r->p99_ns);
    put(data, "latencySamples", r->samples);
    put(data, "measurementDurationSec", (r->measured_us + 500000) / 1000000);
    put(data, "bandwidthBytesPerSecond", r->bandwidth_bytes_per_s);
    put(data, "bandwidthStreams", r->streams);
    put(data, "pathMtuBytes", r->path_mtu_bytes);
    tree_set(data, CHECKUP_RESULT "sourceNode", tree_string(p->source));
    tree_set(data, CHECKUP_RESULT "targetNode", tree_string(p->target));
    tree_set(data, CHECKUP_RESULT "network", tree_string(r->network));
    tree_set(data, CHECKUP_RESULT "sourceInterface", tree_string(r->interface_name));
    return data;
}

static uint64_t
get(const struct tree *cm, const char *key)
{
    uint64_t n;

    return to_number(checkup_object_get(cm, key), &n) ? n : 0;
}

void
checkup_object_result(const struct tree *cm, struct checkup_result *ret)
{
    uint64_t seconds = get(cm, CHECKUP_RESULT "measurementDurationSec");
    uint64_t streams = get(cm, CHECKUP_RESULT "bandwidthStreams");
    uint64_t mtu = get(cm, CHECKUP_RESULT "pathMtuBytes");

    *ret = (struct checkup_result){
        .min_ns = get(cm, CHECKUP_RESULT "minLatencyNanoSec"),
        .avg_ns = get(cm, CHECKUP_RESULT "avgLatencyNanoSec"),
        .p99_ns = get(cm, CHECKUP_RESULT "p99LatencyNanoSec"),
        .max_ns = get(cm, CHECKUP_RESULT "maxLatencyNanoSec"),
        .samples = get(cm, CHECKUP_RESULT "latencySamples"),
        .measured_us = seconds <= CHECKUP_MAX_SAMPLE_S ? seconds * 1000000 : 0,
        .bandwidth_bytes_per_s = get(cm, CHECKUP_RESULT "bandwidthBytesPerSecond"),
        .streams = streams <= CHECKUP_MAX_STREAMS ? (unsigned)streams : 0,
        .path_mtu_bytes = mtu <= UINT16_MAX ? (unsigned)mtu : 0,
    };
    snprintf(ret->network, sizeof ret->network, "%s",
             checkup_object_get(cm, CHECKUP_RESULT "network"));
    snprintf(ret->interface_name, sizeof ret->interface_name, "%s",
             checkup_object_get(cm, CHECKUP_RESULT "sourceInterface"));
}

void
checkup_object_estimate(const struct tree *cm, const struct checkup_link *link, int64_t now_us,
                        struct checkup_estimate *best)
{
    const char *network = *link->network ? link->network : MANAGEMENT;
    struct checkup_result r;
    int64_t at_us;

    if (!checkup_object_is(cm) || strcmp(checkup_object_get(cm, CHECKUP_SUCCEEDED), "true") != 0 ||
        strcmp(checkup_object_get(cm, CHECKUP_RESULT "sourceNode"), link->source) != 0 ||
        time_parse(checkup_object_get(cm, CHECKUP_COMPLETED), &at_us, NULL) != 0)
        return;
    checkup_object_result(cm, &r);
    if (r.bandwidth_bytes_per_s == 0 || strcmp(r.network, network) != 0 ||
        (link->interface_name && strcmp(r.interface_name, link->interface_name) != 0) ||
        now_us - at_us > CHECKUP_ESTIMATE_AGE_US || (best->bytes_per_s && at_us <= best->at_us))
        return;
    best->bytes_per_s = r.bandwidth_bytes_per_s;
    best->at_us = at_us;
    snprintf(best->name, sizeof best->name, "%s/%s", object_namespace(cm), object_name(cm));
}

/* "spec.param.targetNode", else as older releases spell it: "spec.param.target_node". */
static const char *
param(const struct tree *cm, const char *key)
{
    const char *value = checkup_object_get(cm, key), *c = strrchr(key, '.');
    AUTO_SB struct sb old = SB_INIT;

    if (*value || c == key)
        return value;
    sb_add(&old, key, (size_t)(c - key));
    for (; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            sb_printf(&old, "_%c", *c - 'A' + 'a');
        else
            sb_putc(&old, *c);
    }
    value = checkup_object_get(cm, sb_str(&old));
    return value;
}

static int
read_number(const struct tree *cm, const char *key, uint64_t min, uint64_t max, uint64_t dflt,
            uint64_t *ret, struct err *err)
{
    const char *text = param(cm, key);
    uint64_t n = dflt;

    if (*text && (!to_number(text, &n) || n < min || n > max))
        return err_set(err, -EINVAL, "%s: \"%.64s\": want a whole number from %llu to %llu", key,
                       text, (unsigned long long)min, (unsigned long long)max);
    *ret = n;
    return 0;
}

static int
read_node(const struct tree *cm, const char *key, char *buf, size_t size, struct err *err)
{
    const char *text = param(cm, key);

    if (!*text)
        return err_set(err, -EINVAL, "%s: want the name of a node", key);
    if (strlen(text) >= size ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(text))
        return err_set(err, -EINVAL, "%s: \"%.64s\": want the name of a node", key, text);
    snprintf(buf, size, "%s", text);
    return 0;
}

static int
read_network(const struct tree *cm, struct checkup_params *p, struct err *err)
{
    const char *ns = param(cm, CHECKUP_NETWORK_NAMESPACE), *name = param(cm, CHECKUP_NETWORK_NAME);

    if (!*ns && !*name)
        return 0;
    if (!*ns || !*name)
        return err_set(err, -EINVAL, "%s: want it, too, beside %s (or neither of them)",
                       *ns ? CHECKUP_NETWORK_NAME : CHECKUP_NETWORK_NAMESPACE,
                       *ns ? CHECKUP_NETWORK_NAMESPACE : CHECKUP_NETWORK_NAME);
    if (snprintf(p->network, sizeof p->network, "%s/%s", ns, name) >= (int)sizeof p->network)
        return err_set(err, -EINVAL, CHECKUP_NETWORK_NAME ": it is too long");
    return 0;
}

static int
read_timeout(const struct tree *cm, uint64_t *ret_us, struct err *err)
{
    const char *text = checkup_object_get(cm, CHECKUP_TIMEOUT);
    AUTO_SB struct sb tight = SB_INIT;
    int64_t us;

    for (const char *c = *text ? text : DEFAULT_TIMEOUT; *c; c++)
        if (*c != ' ') /* the documents have "5 m" */
            sb_putc(&tight, *c);
    if (duration_parse(sb_str(&tight), &us, NULL) != 0 || us < 1000000 ||
        us > CHECKUP_MAX_TIMEOUT_S * INT64_C(1000000))
        return err_set(err, -EINVAL,
                       CHECKUP_TIMEOUT ": \"%.64s\": want a duration from 1s to 1h, such as 5m",
                       text);
    *ret_us = (uint64_t)us;
    return 0;
}

static bool
to_number(const char *text, uint64_t *ret)
{
    size_t len = strlen(text);

    if (len == 0 || len > 19 || strspn(text, "0123456789") != len)
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}
