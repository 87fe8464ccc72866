/* Traces of dirty pages: what is accepted is replayed, and says no more than there is memory. */
#include <stdint.h>
#include <stdlib.h>

#include "migrate/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace *t;
    struct err err;

    if (trace_parse((const char *)data, size, &t, &err) != 0)
        return 0;
    /* memory is only a number until it is replayed */
    if (t->memory_bytes <= 1u << 26) {
        for (int spread = 0; spread < 2; spread++)
            if (trace_after(t, 12345, 1000000, spread) > t->memory_bytes)
                abort();
    }
    trace_free(t);
    return 0;
}
