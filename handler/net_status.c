/* See net_status.h. */
#include "handler/net_status.h"

#include <string.h>

#include "api/object.h"
#include "api/quantity.h"

static const struct tree *
condition(const struct tree *list, const char *type)
{
    for (size_t i = 0; i < tree_len(list); i++)
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), type) == 0)
            return tree_at(list, i);
    return NULL;
}

static void
add(struct tree *list, const char *type, const char *status, const char *reason,
    const char *message, const char *now)
{
    struct tree *c = tree_map();

    tree_set(c, "type", tree_string(type));
    tree_set(c, "status", tree_string(status));
    tree_set(c, "reason", tree_string(reason));
    tree_set(c, "message", tree_string(message));
    tree_set(c, "lastHeartbeatTime", tree_string(now));
    tree_set(c, "lastTransitionTime", tree_string(now));
    tree_append(list, c);
}

struct tree *
net_status_enactment(enum net_status s, const char *reason, const char *message, int64_t generation,
                     int64_t wall_us)
{
    struct tree *st = tree_map(), *list = tree_list();
    char now[40];

    time_format(wall_us, false, now, sizeof now);
    switch (s) {
    case NET_STATUS_PROGRESSING:
        reason = "ConfigurationProgressing";
        message = "the desired state is being applied";
        add(list, "Failing", "Unknown", reason, "", now);
        add(list, "Available", "Unknown", reason, "", now);
        add(list, "Progressing", "True", reason, message, now);
        break;
    case NET_STATUS_AVAILABLE:
        reason = "SuccessfullyConfigured";
        message = "the host is as the desired state has it";
        add(list, "Failing", "False", reason, "", now);
        add(list, "Available", "True", reason, message, now);
        add(list, "Progressing", "False", reason, "", now);
        break;
    case NET_STATUS_FAILING:
        add(list, "Failing", "True", reason, message, now);
        add(list, "Available", "False", reason, "", now);
        add(list, "Progressing", "False", reason, "", now);
        break;
    }
    add(list, "Pending", "False", reason, "", now);
    add(list, "Aborted", "False", reason, "", now);
    tree_set(st, "conditions", list);
    tree_set(st, "handledGeneration", tree_int(generation));
    return st;
}

bool
net_status_said(const struct tree *enactment, const struct tree *status)
{
    static const char *const types[] = {"Failing", "Available", "Progressing", "Pending"};
    static const char *const keys[] = {"status", "reason", "message"};
    const struct tree *have = tree_find(enactment, "status", "conditions", NULL);
    const struct tree *want = tree_get(status, "conditions");

    if (tree_get_int(tree_find(enactment, "status", "handledGeneration", NULL), -1) !=
        tree_get_int(tree_get(status, "handledGeneration"), 0))
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            if (strcmp(tree_find_string(condition(have, types[i]), "", keys[k], NULL),
                       tree_find_string(condition(want, types[i]), "", keys[k], NULL)) != 0)
                return false;
    return true;
}

bool
net_status_is(const struct tree *object, const char *type, const char *status)
{
    return strcmp(tree_find_string(object_condition(object, type), "", "status", NULL), status) ==
           0;
}
