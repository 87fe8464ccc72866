/* WebSocket frames from a peer. First byte: which side reads, and how the bytes are cut. What is
 * read must not depend on the cut, payloads must lie within what came, and control frames within
 * their limit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"
#include "proto/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
    if (!ok)
        abort();
}

static void
read_all(bool from_client, const uint8_t *in, size_t len, size_t step, struct sb *out)
{
    struct ws_reader r;

    ws_reader_init(&r, from_client);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < step ? len - at : step, used = 0;
        AUTO_FREE uint8_t *exact = xmalloc(n);
        struct ws_event ev;
        unsigned status = 0;

        memcpy(exact, in + at, n);
        if (ws_read(&r, exact, n, &used, &ev, &status, NULL) != 0) {
            must(status == WS_PROTOCOL_ERROR || status == WS_TOO_BIG);
            sb_printf(out, "[%u]", status);
            return;
        }
        must(used > 0 && used <= n);
        at += used;
        if (ev.kind == WS_EVENT_DATA) {
            must(ev.data >= exact && ev.data + ev.len <= exact + n && ev.len > 0);
        } else if (ev.kind != WS_EVENT_NONE) {
            must(ev.len <= WS_CONTROL_MAX);
            sb_printf(out, "[%d %u]", ev.kind, ev.status);
        }
        if (ev.len > 0)
            sb_add(out, ev.data, ev.len);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_SB struct sb whole = SB_INIT, cut = SB_INIT;

    if (size < 2)
        return 0;
    read_all(data[0] & 1, data + 1, size - 1, size - 1, &whole);
    read_all(data[0] & 1, data + 1, size - 1, (data[0] >> 1) + 1u, &cut);
    must(whole.len == cut.len && memcmp(sb_str(&whole), sb_str(&cut), cut.len) == 0);
    return 0;
}
