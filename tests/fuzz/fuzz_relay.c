/* What the two ends of a relay take from each other: hello, answer and the control connection's
 * frames. Whatever gets through is within its limits, and encodes to what it came from. Seeds:
 * DROVER_SEEDS=tests/fuzz/corpus build/.../test_relay_frame. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/relay_frame.h"
#include "proto/sum.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_hello(const uint8_t buf[RELAY_FRAME_HELLO_SIZE])
{
    uint8_t again[RELAY_FRAME_HELLO_SIZE];
    struct relay_hello h, h2;
    struct err err = {0};

    if (relay_frame_decode_hello(buf, &h, &err) != 0) {
        if (!err.msg[0])
            abort();
        return;
    }
    if (h.kind < RELAY_RPC || h.kind > RELAY_CONTROL || !h.vmi_uid[0] || !h.migration_uid[0] ||
        strnlen(h.vmi_uid, sizeof h.vmi_uid) == sizeof h.vmi_uid ||
        strnlen(h.migration_uid, sizeof h.migration_uid) == sizeof h.migration_uid)
        abort();
    relay_frame_encode_hello(again, &h);
    if (relay_frame_decode_hello(again, &h2, &err) != 0 || h2.kind != h.kind ||
        h2.index != h.index || h2.session != h.session || h2.generation != h.generation ||
        h2.urgent != h.urgent || strcmp(h2.vmi_uid, h.vmi_uid) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[RELAY_FRAME_TEXT_SIZE];
    enum relay_answer a;
    struct relay_frame f;
    struct err err = {0};

    if (size >= RELAY_FRAME_HELLO_SIZE) {
        uint8_t buf[RELAY_FRAME_HELLO_SIZE];

        memcpy(buf, data, sizeof buf);
        try_hello(buf);
        /* and with the sum that the fuzzer cannot guess */
        wire_put64(buf + sizeof buf - 8, sum_bytes(buf, sizeof buf - 8, 0));
        try_hello(buf);
    }
    if (size >= RELAY_FRAME_ANSWER_SIZE && relay_frame_decode_answer(data, &a, text, &err) == 0 &&
        ((a != RELAY_ANSWER_OK && a != RELAY_ANSWER_REFUSED) ||
         strnlen(text, sizeof text) == sizeof text))
        abort();
    for (uint32_t last = 0; size >= RELAY_FRAME_HEADER_SIZE && last < 2; last++) {
        uint8_t again[RELAY_FRAME_HEADER_SIZE];

        if (relay_frame_decode(data, last, &f, &err) != 0)
            continue;
        if (f.length > RELAY_MAX_MESSAGE || (f.type == RELAY_FRAME_MESSAGE) != (f.length > 0))
            abort();
        relay_frame_encode(again, &f);
        if (relay_frame_decode(again, last, &f, &err) != 0)
            abort();
    }
    return 0;
}
