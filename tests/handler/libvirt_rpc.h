/* As much of libvirt's wire protocol as a played libvirtd speaks: messages of one size, big-endian. */
#ifndef TESTS_HANDLER_LIBVIRT_RPC_H
#define TESTS_HANDLER_LIBVIRT_RPC_H

#include <stdint.h>

#define LIBVIRT_RPC_SIZE 40u /* a header, a cookie of 4 bytes, flags, cancelled */

uint32_t libvirt_rpc_get(const uint8_t *p);
void libvirt_rpc_make(uint8_t *m, uint32_t proc, uint32_t type, uint32_t status, uint32_t flags,
                      uint32_t cancelled);
/* -1: nobody listens there. */
int libvirt_rpc_dial(const char *path);

#endif
