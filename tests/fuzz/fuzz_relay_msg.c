/* One message of a relayed migration. What decodes is encoded again and must decode to the same. Seeds:
 * DROVER_SEEDS=tests/fuzz/corpus build/.../test_relay_msg. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/relay_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_SB struct sb once = SB_INIT, twice = SB_INIT;
    struct relay_msg m, back;

    if (relay_msg_decode(data, size, &m, NULL) != 0)
        return 0;
    relay_msg_encode(&m, &once);
    if (relay_msg_decode(once.buf, once.len, &back, NULL) != 0)
        abort();
    relay_msg_encode(&back, &twice);
    if (once.len != twice.len || memcmp(once.buf, twice.buf, once.len) != 0)
        abort();
    relay_msg_done(&m);
    relay_msg_done(&back);
    return 0;
}
