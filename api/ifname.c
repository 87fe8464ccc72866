/* Names of network interfaces; see ifname.h. */
#include "api/ifname.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

bool
ifname_valid(const char *name)
{
    /* The kernel has settings under "all" and "default", and makes a name of its own of "eth%d". */
    static const char *const reserved[] = {".", "..", "all", "default"};

    if (*name == '\0' || strlen(name) > IFNAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (strcmp(name, reserved[i]) == 0)
            return false;
    for (; *name; name++)
        if (strchr("/:%", *name) || !isgraph((unsigned char)*name))
            return false;
    return true;
}
