/* See libvirt_rpc.h. */
#include "tests/handler/libvirt_rpc.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sb.h"

static void
put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

uint32_t
libvirt_rpc_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
libvirt_rpc_make(uint8_t *m, uint32_t proc, uint32_t type, uint32_t status, uint32_t flags,
                 uint32_t cancelled)
{
    const uint32_t words[LIBVIRT_RPC_SIZE / 4] = {
        LIBVIRT_RPC_SIZE, 0x20008086, 1, proc, type, 9, status, 0x636f6f6b, flags, cancelled};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        put32(m + 4 * i, words[i]);
}

int
libvirt_rpc_dial(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}
