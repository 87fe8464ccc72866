/* Who wants to hear of which domain, and libvirt's events on their way to them. For libvirt_conn.c only,
 * which has the contract (libvirt_subscribe). Any thread. */
#ifndef HANDLER_LIBVIRT_EVENTS_H
#define HANDLER_LIBVIRT_EVENTS_H

#include "handler/libvirt_conn.h"

struct lv_events;

struct lv_events *lv_events_new(const struct libvirt_api *api);
void lv_events_unref(struct lv_events *e); /* callbacks that libvirt still has keep it */

void lv_events_subscribe(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn,
                         void *ctx);
void lv_events_unsubscribe(struct lv_events *e, const unsigned char *uuid, libvirt_event_fn fn,
                           void *ctx);
/* Does not wait: done(ctx), if it is not NULL, once no call is under way, on this thread or the call's. */
void lv_events_unsubscribe_later(struct lv_events *e, const unsigned char *uuid,
                                 libvirt_event_fn fn, void *ctx, void (*done)(void *ctx));
/* Says it to all subscribers, on this thread. */
void lv_events_tell_all(struct lv_events *e, enum libvirt_event_kind kind);
/* Asks conn for the events of all domains; those that this kind of connection does not have never
 * come. detach takes it back. One connection at a time. */
void lv_events_attach(struct lv_events *e, virConnectPtr conn);
void lv_events_detach(struct lv_events *e, virConnectPtr conn);

#endif
