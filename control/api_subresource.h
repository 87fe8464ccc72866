/* Actions on VMs, as virtctl asks for them. See api_call.h. */
#ifndef CONTROL_API_SUBRESOURCE_H
#define CONTROL_API_SUBRESOURCE_H

#include "base/sb.h"

#define SUBRESOURCE_GROUP "subresources.kubevirt.io"

/* Items of its APIResourceList. */
void api_subresource_list(struct sb *out);

#endif
