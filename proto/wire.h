/* Little-endian loads and stores at any alignment, for the fixed headers. */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define WIRE_ACCESS(bits)                                        \
    static inline void wire_put##bits(void *p, uint##bits##_t v) \
    {                                                            \
        v = htole##bits(v);                                      \
        memcpy(p, &v, sizeof v);                                 \
    }                                                            \
    static inline uint##bits##_t wire_get##bits(const void *p)   \
    {                                                            \
        uint##bits##_t v;                                        \
                                                                 \
        memcpy(&v, p, sizeof v);                                 \
        return le##bits##toh(v);                                 \
    }

WIRE_ACCESS(16)
WIRE_ACCESS(32)
WIRE_ACCESS(64)
#undef WIRE_ACCESS

#endif
