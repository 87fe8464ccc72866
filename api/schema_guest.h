/* The tables of schema_guest.c, for those of schema_domain.c. Internal to api/. */
#ifndef API_SCHEMA_GUEST_H
#define API_SCHEMA_GUEST_H

#include "api/schema.h"

extern const struct schema feature_state_schema; /* enabled */
extern const struct schema firmware_schema, chassis_schema, clock_schema;
extern const struct schema apic_schema, kvm_feature_schema, spinlocks_schema, vendor_schema;
extern const struct schema input_schema, watchdog_schema, sound_schema, video_schema, panic_schema,
    rng_schema;
extern const struct schema block_size_schema; /* of a disk */
extern const struct schema port_schema;       /* of an interface */

#endif
