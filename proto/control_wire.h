/* Shared by control_encode.c and control_decode.c only. */
#ifndef PROTO_CONTROL_WIRE_H
#define PROTO_CONTROL_WIRE_H

#define CONTROL_MAGIC 0x43565244u /* "DRVC" */

#endif
