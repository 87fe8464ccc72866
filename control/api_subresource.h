/* Actions on VMs, as virtctl asks for them. See api_call.h. */
#ifndef CONTROL_API_SUBRESOURCE_H
#define CONTROL_API_SUBRESOURCE_H

#include <stdbool.h>

#include "base/sb.h"
#include "control/store.h"

#define SUBRESOURCE_GROUP "subresources.kubevirt.io"

struct api_call;

/* Items of its APIResourceList. */
void api_subresource_list(struct sb *out);

/* --- between api_subresource.c and api_subresource_vmi.c --- */
/* Answers the call (ctx) with 202, or with what the store said. */
void api_subresource_accepted(void *ctx, const struct store_result *res);
int api_subresource_pause(struct api_call *c); /* pause and unpause */
int api_subresource_reset(struct api_call *c);
/* Upstream has this one and we do not: true, with an error that says so. */
bool api_subresource_not_served(struct api_call *c);

#endif
