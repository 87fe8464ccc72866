/* Names of network interfaces, as Linux allows them. Pure. */
#ifndef API_IFNAME_H
#define API_IFNAME_H

#include <stdbool.h>

#define IFNAME_BYTES_MAX 15 /* the kernel's IFNAMSIZ without its NUL */
/* What is allowed, for errors. */
#define IFNAME_TEXT                                                                              \
    "want an interface's name: 1 to 15 bytes without blanks, '/', ':' and '%', and not \"all\" " \
    "or \"default\""

bool ifname_valid(const char *name);

#endif
