/* Every limit on what people and clients send: documents, names, counts. Enforced in api/. */
#ifndef API_LIMITS_H
#define API_LIMITS_H

#define API_MAX_INPUT_BYTES       (64u << 20) /* one file or stream of manifests */
#define API_MAX_DOCUMENT_BYTES    (32u << 20) /* texts of one document, aliases expanded */
#define API_MAX_OBJECT_BYTES      (1536u << 10) /* one object as JSON, as etcd's default request limit */
#define API_MAX_DEPTH             64            /* nesting of maps and lists */
#define API_MAX_NODES             1000000       /* scalars + maps + lists in one document */
#define API_MAX_DOCUMENTS         200000        /* documents in one input */
#define API_MAX_STRING_BYTES      (1u << 20)   /* one scalar */
#define API_MAX_ANNOTATIONS_BYTES (256u << 10) /* all keys and values of one object, as upstream */
#define API_MAX_NAME_BYTES        253          /* RFC 1123 subdomain */
#define API_MAX_LABEL_NAME_BYTES  63
#define API_MAX_LIST_ITEMS        10000 /* items of one list in a manifest */
#define API_MAX_RESOURCES         1000  /* names in one map of quantities (requests, allocatable) */
#define API_MAX_ANCHORS           200   /* anchors in one YAML document */
#define API_MAX_MERGE_ITEMS       1000  /* items of a list that a strategic patch merges by key */
#define API_MAX_CHANNELS          64    /* of drover.io/channels; the engine's own limit */
#define API_MAX_WEIGHT            1000  /* of drover.io/weight */

#endif
