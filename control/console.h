/* Serial consoles: a user's WebSocket (virtctl's and `drover console`'s) and a stream from the
 * handler of the VM's node, and bytes between them. Handlers have no open port for this: the API
 * asks by an annotation with the session's random name (ANN_CONSOLE_REQUEST), and the handler
 * connects to the API. docs/console.md has the protocol. Loop thread. */
#ifndef CONTROL_CONSOLE_H
#define CONTROL_CONSOLE_H

struct api;
struct api_call;
struct consoles;

/* Also takes away what sessions of an earlier controller have left on the instances. */
struct consoles *consoles_new(struct api *a);
/* Before the store ends, after the HTTP server has: sessions have lost both their ends by then. */
void consoles_stop(struct consoles *all);
/* After the store has ended. NULL is fine. */
void consoles_free(struct consoles *all);

/* GET .../virtualmachineinstances/NAME/console, upgraded to WebSocket. */
int consoles_open(struct api_call *c);
/* .../console/backend?session=NAME, by the handler: GET, upgraded to a plain stream of bytes, or PUT
 * {"code", "message"}: it cannot be. */
int consoles_backend(struct api_call *c);

#endif
