/* Placement rules in manifests: selectors, affinity, tolerations, spread, taints; where the documents print
 * them. Each row is what stands in a VirtualMachine's spec.template.spec (or in spec, further below). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/api/rows.h"

#define TEMPLATE                                                                      \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: v}, spec: {" \
    "runStrategy: Always, template: {spec: {domain: {memory: {guest: 1Gi}}, %s}}}}"
#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define EXPR(e)                                                                                    \
    "affinity: {nodeAffinity: {" REQUIRED ": {nodeSelectorTerms: [{matchExpressions: [{" e "}]}]}" \
    "}}"
#define FIELDS(e) \
    "affinity: {nodeAffinity: {" REQUIRED ": {nodeSelectorTerms: [{matchFields: [{" e "}]}]}}}"
#define PODS(e) "affinity: {podAffinity: {" REQUIRED ": [{" e "}]}}"

static const struct object_row template_rows[] = {
    {.name = "nodeSelector", .text = "nodeSelector: {example-key-1: example-value-1, b: \"\"}"},
    {.name = "nodeSelector without a value",
     .text = "nodeSelector: {\"node-role.kubernetes.io/worker\": }",
     .warning = "nodeSelector[node-role.kubernetes.io/worker] has no value, which counts as \"\""},
    {.name = "nodeSelector with a number",
     .text = "nodeSelector: {zone: 8}",
     .error = "spec.template.spec.nodeSelector.zone: Invalid value: 8: want a string, not an "
              "integer (write it in quotes: \"8\")"},
    {.name = "nodeSelector with a boolean",
     .text = "nodeSelector: {gpu: true}",
     .error = "nodeSelector.gpu: Invalid value: true: want a string, not a boolean (write it in "
              "quotes: \"true\")"},
    {.name = "nodeSelector with a bad key",
     .text = "nodeSelector: {\"a b\": c}",
     .error = "spec.template.spec.nodeSelector: Invalid value: \"a b\": name part must"},
    {.name = "nodeSelector with a bad value",
     .text = "nodeSelector: {a: \"b c\"}",
     .error = "spec.template.spec.nodeSelector: Invalid value: \"b c\": a valid label must"},
    {.name = "nodeSelector as a list",
     .text = "nodeSelector: [a]",
     .error = "spec.template.spec.nodeSelector: Invalid value: [\"a\"]: want a map, not a list"},
    {.name = "nodeSelector with a map",
     .text = "nodeSelector: {a: {b: c}}",
     .error = "nodeSelector.a: Invalid value: {\"b\":\"c\"}: want a string, not a map"},

    {.name = "priorityClassName", .text = "priorityClassName: high"},
    {.name = "priorityClassName with a blank",
     .text = "priorityClassName: high prio",
     .error = "spec.template.spec.priorityClassName: Invalid value: \"high prio\": a lowercase RFC "
              "1123 subdomain"},
    {.name = "In", .text = EXPR("key: k, operator: In, values: [a, b]")},
    {.name = "NotIn", .text = EXPR("key: k, operator: NotIn, values: [a]")},
    {.name = "Exists", .text = EXPR("key: k, operator: Exists")},
    {.name = "Exists, empty values", .text = EXPR("key: k, operator: Exists, values: []")},
    {.name = "DoesNotExist", .text = EXPR("key: k, operator: DoesNotExist")},
    {.name = "Gt", .text = EXPR("key: k, operator: Gt, values: [\"8\"]")},
    {.name = "Gt with a number (seeds P10)",
     .text = EXPR("key: k, operator: Gt, values: [8]"),
     .warning = "matchExpressions[0].values[0] should be a string: 8 is taken as \"8\""},
    {.name = "Lt with a number",
     .text = EXPR("key: k, operator: Lt, values: [0x10]"),
     .warning = "16 is taken as \"16\""},
    {.name = "In with a number",
     .text = EXPR("key: k, operator: In, values: [8]"),
     .error = "matchExpressions[0].values[0]: Invalid value: 8: want a string, not an integer"},
    {.name = "In without values",
     .text = EXPR("key: k, operator: In"),
     .error = "matchExpressions[0].values: Required value: must be specified when `operator` is "
              "'In' or 'NotIn'"},
    {.name = "NotIn with empty values",
     .text = EXPR("key: k, operator: NotIn, values: []"),
     .error = "values: Required value: must be specified when"},
    {.name = "Exists with values",
     .text = EXPR("key: k, operator: Exists, values: [a]"),
     .error = "values: Forbidden: may not be specified when `operator` is 'Exists' or "
              "'DoesNotExist'"},
    {.name = "DoesNotExist with values",
     .text = EXPR("key: k, operator: DoesNotExist, values: [a]"),
     .error = "values: Forbidden: may not be specified"},
    {.name = "Gt without a value",
     .text = EXPR("key: k, operator: Gt"),
     .error = "values: Required value: must be specified single value when `operator` is 'Lt' or "
              "'Gt'"},
    {.name = "Gt with two values",
     .text = EXPR("key: k, operator: Gt, values: [\"1\", \"2\"]"),
     .error = "values: Required value: must be specified single value"},
    {.name = "Gt with a word",
     .text = EXPR("key: k, operator: Gt, values: [many]"),
     .error = "values[0]: Invalid value: \"many\": must be an integer when `operator` is 'Lt' or "
              "'Gt'"},
    {.name = "Gt with a fraction",
     .text = EXPR("key: k, operator: Gt, values: [\"1.5\"]"),
     .error = "values[0]: Invalid value: \"1.5\": must be an integer"},
    {.name = "Gt with a plain fraction",
     .text = EXPR("key: k, operator: Gt, values: [1.5]"),
     .error = "values[0]: Invalid value: 1.5: want a string, not a number"},
    {.name = "Gt with a negative value",
     .text = EXPR("key: k, operator: Gt, values: [-1]"),
     .error = "values[0]: Invalid value: \"-1\": a valid label must"},
    {.name = "Gt beyond 64 bits",
     .text = EXPR("key: k, operator: Gt, values: [\"9223372036854775808\"]"),
     .error = "must be an integer"},
    {.name = "operator in lower case",
     .text = EXPR("key: k, operator: in, values: [a]"),
     .error = "operator: Unsupported value: \"in\": supported values: \"In\", \"NotIn\", "
              "\"Exists\", \"DoesNotExist\", \"Gt\", \"Lt\" (did you mean \"In\"?"},
    {.name = "unknown operator",
     .text = EXPR("key: k, operator: Equals, values: [a]"),
     .error = "operator: Unsupported value: \"Equals\""},
    {.name = "no operator",
     .text = EXPR("key: k, values: [a]"),
     .error = "matchExpressions[0].operator: Required value"},
    {.name = "empty operator",
     .text = EXPR("key: k, operator: \"\""),
     .error = "operator: Required value"},
    {.name = "no key", .text = EXPR("operator: Exists"), .error = "key: Required value"},
    {.name = "bad key",
     .text = EXPR("key: a/b/c, operator: Exists"),
     .error = "key: Invalid value: \"a/b/c\""},
    {.name = "value that no label can have",
     .text = EXPR("key: k, operator: In, values: [\"a b\"]"),
     .error = "values[0]: Invalid value: \"a b\": a valid label"},
    {.name = "unknown field of an expression",
     .text = EXPR("key: k, operator: In, value: [a]"),
     .error = "unknown field \"spec.template.spec.affinity.nodeAffinity." REQUIRED
              ".nodeSelectorTerms[0].matchExpressions[0].value\" (did you mean \"values\"?)"},
    {.name = "values as a text",
     .text = EXPR("key: k, operator: In, values: a"),
     .error = "values: Invalid value: \"a\": want a list, not a string"},

    {.name = "matchFields", .text = FIELDS("key: metadata.name, operator: In, values: [n1]")},
    {.name = "matchFields of another field",
     .text = FIELDS("key: metadata.uid, operator: In, values: [a]"),
     .error = "key: Unsupported value: \"metadata.uid\": supported values: \"metadata.name\""},
    {.name = "matchFields with two names",
     .text = FIELDS("key: metadata.name, operator: In, values: [a, b]"),
     .error = "values: Required value: must be only one value"},
    {.name = "matchFields with Exists",
     .text = FIELDS("key: metadata.name, operator: Exists"),
     .error = "operator: Unsupported value: \"Exists\": supported values: \"In\", \"NotIn\""},

    {.name = "matchFields with a name that no node has",
     .text = FIELDS("key: metadata.name, operator: NotIn, values: [\"Node 1\"]"),
     .error =
         "matchFields[0].values[0]: Invalid value: \"Node 1\": a lowercase RFC 1123 subdomain"},
    {.name = "matchFields without a value",
     .text = FIELDS("key: metadata.name, operator: In"),
     .error = "matchFields[0].values: Required value: must be only one value"},
    {.name = "matchFields with Gt",
     .text = FIELDS("key: metadata.name, operator: Gt, values: [\"1\"]"),
     .error = "matchFields[0].operator: Unsupported value: \"Gt\""},

    {.name = "required without terms",
     .text = "affinity: {nodeAffinity: {" REQUIRED ": {nodeSelectorTerms: []}}}",
     .error = "nodeSelectorTerms: Required value: must have at least one node selector term"},
    {.name = "required as nothing",
     .text = "affinity: {nodeAffinity: {" REQUIRED ": {}}}",
     .error = "nodeSelectorTerms: Required value"},
    {.name = "required as a list",
     .text = "affinity: {nodeAffinity: {" REQUIRED ": []}}",
     .error = REQUIRED ": Invalid value: []: want a map, not a list"},
    {.name = "an empty term",
     .text = "affinity: {nodeAffinity: {" REQUIRED ": {nodeSelectorTerms: [{}]}}}",
     .error = "spec.template.spec.affinity.nodeAffinity." REQUIRED
              ".nodeSelectorTerms[0]: Required value: must have at least one of matchExpressions "
              "and matchFields"},
    {.name = "an empty term in other words, beside another",
     .text = "affinity: {nodeAffinity: {" REQUIRED
             ": {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: "
             "[n]}]}, {matchExpressions: [], matchFields: []}]}}}",
     .error = "nodeSelectorTerms[1]: Required value"},
    {.name = "preferred",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: 1, preference: {"
             "matchExpressions: [{key: k, operator: Exists}]}}, {weight: 100, preference: {}}]}}"},
    {.name = "weight 0",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: 0, preference: {}}]}}",
     .error = "[0].weight: Invalid value: 0: must be in the range 1-100"},
    {.name = "weight 101",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: 101, preference: {}}]}}",
     .error = "[0].weight: Invalid value: 101: must be in the range 1-100"},
    {.name = "negative weight",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: -1, preference: {}}]}}",
     .error = "weight: Invalid value: -1"},
    {.name = "weight as a text",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: \"1\", preference: {}}]}}",
     .error = "weight: Invalid value: \"1\": want an integer, not a string"},
    {.name = "no weight",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{preference: {}}]}}",
     .error = "weight: Required value"},
    {.name = "no preference",
     .text = "affinity: {nodeAffinity: {" PREFERRED ": [{weight: 1}]}}",
     .error = "preference: Required value"},
    {.name = "terms beside required (003's nesting)",
     .text = "affinity: {nodeAffinity: {" REQUIRED ": , nodeSelectorTerms: [{}]}}",
     .error = "unknown field \"spec.template.spec.affinity.nodeAffinity.nodeSelectorTerms\""},

    {.name = "pod affinity",
     .text = PODS("labelSelector: {matchLabels: {a: b}}, topologyKey: kubernetes.io/hostname")},
    {.name = "pod affinity without topologyKey",
     .text = PODS("labelSelector: {}"),
     .error = "podAffinity." REQUIRED "[0].topologyKey: Required value"},
    {.name = "pod affinity with empty topologyKey",
     .text = PODS("labelSelector: {}, topologyKey: \"\""),
     .error = "topologyKey: Required value: can not be empty"},
    {.name = "topologyKey inside labelSelector (003's nesting)",
     .text = PODS("labelSelector: {topologyKey: a}"),
     .error = "unknown field \"spec.template.spec.affinity.podAffinity." REQUIRED
              "[0].labelSelector.topologyKey\""},
    {.name = "label selector with Gt",
     .text = PODS("topologyKey: a, labelSelector: {matchExpressions: [{key: k, operator: Gt, "
                  "values: [\"1\"]}]}"),
     .error = "operator: Unsupported value: \"Gt\": supported values: \"In\", \"NotIn\", "
              "\"Exists\", \"DoesNotExist\""},
    {.name = "bad namespace of a pod term",
     .text = PODS("topologyKey: a, namespaces: [A]"),
     .error = "namespaces[0]: Invalid value: \"A\""},
    {.name = "weight of a pod term",
     .text = "affinity: {podAntiAffinity: {" PREFERRED
             ": [{weight: 200, podAffinityTerm: {topologyKey: a}}]}}",
     .error = "podAntiAffinity." PREFERRED "[0].weight: Invalid value: 200"},
    {.name = "pod term without podAffinityTerm",
     .text = "affinity: {podAntiAffinity: {" PREFERRED ": [{weight: 2, topologyKey: a}]}}",
     .error = "[0].topologyKey\""},

    {.name = "label selector of a pod term with a bad value",
     .text = PODS("topologyKey: a, labelSelector: {matchLabels: {k: \"-\"}}"),
     .error = "podAffinity." REQUIRED
              "[0].labelSelector.matchLabels: Invalid value: \"-\": a valid label must"},
    {.name = "label selector of a pod term: In without values",
     .text = PODS("topologyKey: a, labelSelector: {matchExpressions: [{key: k, operator: In}]}"),
     .error = "labelSelector.matchExpressions[0].values: Required value: must be specified when "
              "`operator` is 'In' or 'NotIn'"},
    {.name = "namespace selector: Exists with values",
     .text = PODS("topologyKey: a, namespaceSelector: {matchExpressions: [{key: k, operator: "
                  "Exists, values: [v]}]}"),
     .error = "namespaceSelector.matchExpressions[0].values: Forbidden: may not be specified"},
    {.name = "bad topologyKey",
     .text = PODS("topologyKey: a b"),
     .error = "[0].topologyKey: Invalid value: \"a b\": name part must"},
    {.name = "matchLabelKeys of a pod term",
     .text = PODS("topologyKey: a, labelSelector: {matchLabels: {app: x}}, matchLabelKeys: [rev], "
                  "mismatchLabelKeys: [tenant]")},
    {.name = "matchLabelKeys without labelSelector",
     .text = PODS("topologyKey: a, matchLabelKeys: [rev]"),
     .error = "[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"},
    {.name = "mismatchLabelKeys without labelSelector",
     .text = PODS("topologyKey: a, mismatchLabelKeys: [rev]"),
     .error = "[0].mismatchLabelKeys: Forbidden: must not be specified when labelSelector"},
    {.name = "matchLabelKeys with a bad key",
     .text = PODS("topologyKey: a, labelSelector: {}, matchLabelKeys: [ok, \"/simple\"]"),
     .error = "[0].matchLabelKeys[1]: Invalid value: \"/simple\": prefix part must be non-empty"},
    {.name = "mismatchLabelKeys with a bad key",
     .text = PODS("topologyKey: a, labelSelector: {}, mismatchLabelKeys: [\"a_\"]"),
     .error = "[0].mismatchLabelKeys[0]: Invalid value: \"a_\": name part must"},
    {.name = "a key in both lists",
     .text = PODS("topologyKey: a, labelSelector: {}, matchLabelKeys: [x, rev], mismatchLabelKeys: "
                  "[rev]"),
     .error = "[0].matchLabelKeys[1]: Invalid value: \"rev\": exists in both matchLabelKeys and "
              "mismatchLabelKeys"},
    {.name = "a key in matchLabelKeys and in the selector's labels",
     .text =
         PODS("topologyKey: a, labelSelector: {matchLabels: {rev: one}}, matchLabelKeys: [rev]"),
     .error = "[0].matchLabelKeys[0]: Invalid value: \"rev\": exists in both matchLabelKeys and "
              "labelSelector"},
    {.name = "a key in matchLabelKeys and in the selector's expressions",
     .text = "affinity: {podAntiAffinity: {" PREFERRED
             ": [{weight: 1, podAffinityTerm: {topologyKey: a, matchLabelKeys: [rev], "
             "labelSelector: {matchExpressions: [{key: rev, operator: Exists}]}}}]}}",
     .error = "podAntiAffinity." PREFERRED "[0].podAffinityTerm.matchLabelKeys[0]: Invalid value"},
    {.name = "weight of a pod term 0",
     .text = "affinity: {podAffinity: {" PREFERRED
             ": [{weight: 0, podAffinityTerm: {topologyKey: a}}]}}",
     .error = "podAffinity." PREFERRED "[0].weight: Invalid value: 0: must be in the range 1-100"},
    {.name = "preferred node term with a bad expression",
     .text = "affinity: {nodeAffinity: {" PREFERRED
             ": [{weight: 5, preference: {matchExpressions: [{key: k, operator: Lt, values: "
             "[x]}]}}]}}",
     .error =
         PREFERRED "[0].preference.matchExpressions[0].values[0]: Invalid value: \"x\": must be "
                   "an integer when `operator` is 'Lt' or 'Gt'"},

    {.name = "toleration",
     .text = "tolerations: [{key: k, operator: Equal, value: v, effect: "
             "NoSchedule}]"},
    {.name = "toleration without operator", .text = "tolerations: [{key: k, value: v}]"},
    {.name = "tolerates everything", .text = "tolerations: [{operator: Exists}]"},
    {.name = "toleration for a time",
     .text = "tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 0}]"},
    {.name = "toleration Gt", .text = "tolerations: [{key: k, operator: Gt, value: \"-950\"}]"},
    {.name = "empty key with Equal",
     .text = "tolerations: [{operator: Equal, value: v}]",
     .error = "tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when "
              "`key` is empty"},
    {.name = "nothing at all",
     .text = "tolerations: [{}]",
     .error = "tolerations[0].operator: Invalid value: null: operator must be Exists"},
    {.name = "Exists with a value",
     .text = "tolerations: [{key: k, operator: Exists, value: v}]",
     .error = "tolerations[0].value: Invalid value: \"v\": value must be empty when `operator` is "
              "'Exists'"},
    {.name = "unknown toleration operator",
     .text = "tolerations: [{key: k, operator: In, value: v}]",
     .error = "operator: Unsupported value: \"In\": supported values: \"Equal\", \"Exists\""},
    {.name = "unknown effect",
     .text = "tolerations: [{key: k, operator: Exists, effect: NoRun}]",
     .error = "effect: Unsupported value: \"NoRun\": supported values: \"NoSchedule\", "
              "\"PreferNoSchedule\", \"NoExecute\""},
    {.name = "effect in lower case",
     .text = "tolerations: [{key: k, operator: Exists, effect: noschedule}]",
     .error = "(did you mean \"NoSchedule\"? Upper and lower case differ)"},
    {.name = "seconds without NoExecute",
     .text = "tolerations: [{key: k, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]",
     .error = "effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
              "`tolerationSeconds` is set"},
    {.name = "bad toleration key",
     .text = "tolerations: [{key: \"a b\", operator: Exists}]",
     .error = "tolerations[0].key: Invalid value: \"a b\""},
    {.name = "bad toleration value",
     .text = "tolerations: [{key: k, value: \"a b\"}]",
     .error = "tolerations[0].value: Invalid value: \"a b\": a valid label"},
    {.name = "toleration value as a number",
     .text = "tolerations: [{key: k, value: 5}]",
     .error = "value: Invalid value: 5: want a string"},
    {.name = "Gt with leading zero",
     .text = "tolerations: [{key: k, operator: Gt, value: \"0100\"}]",
     .error = "value must be a decimal integer without leading zeros"},
    {.name = "Lt with a plus sign",
     .text = "tolerations: [{key: k, operator: Lt, value: \"+1\"}]",
     .error = "value must be a decimal integer"},
    {.name = "Lt without a value",
     .text = "tolerations: [{key: k, operator: Lt}]",
     .error = "tolerations[0].value: Invalid value: null: value must be a decimal integer"},
    {.name = "toleration as a map",
     .text = "tolerations: {key: k}",
     .error = "tolerations: Invalid value: {\"key\":\"k\"}: want a list, not a map"},
    {.name = "toleration of a text",
     .text = "tolerations: [k]",
     .error = "tolerations[0]: Invalid value: \"k\": want a map, not a string"},
    {.name = "unknown field of a toleration",
     .text = "tolerations: [{key: k, operator: Exists, effects: NoExecute}]",
     .error = "tolerations[0].effects\" (did you mean \"effect\"?)"},

    {.name = "spread",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
             "DoNotSchedule, labelSelector: {matchLabels: {a: b}}, minDomains: 2}]"},
    {.name = "spread with maxSkew 0",
     .text = "topologySpreadConstraints: [{maxSkew: 0, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule}]",
     .error = "maxSkew: Invalid value: 0: must be greater than zero"},
    {.name = "spread without topologyKey",
     .text = "topologySpreadConstraints: [{maxSkew: 1, whenUnsatisfiable: DoNotSchedule}]",
     .error = "topologyKey: Required value"},
    {.name = "spread with an unknown action",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: Maybe}]",
     .error = "whenUnsatisfiable: Unsupported value: \"Maybe\""},
    {.name = "minDomains of a soft constraint",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "ScheduleAnyway, minDomains: 2}]",
     .error = "minDomains: Invalid value: 2: can only use minDomains if "
              "whenUnsatisfiable=DoNotSchedule"},
    {.name = "spread with a negative maxSkew",
     .text = "topologySpreadConstraints: [{maxSkew: -1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule}]",
     .error = "maxSkew: Invalid value: -1: must be greater than zero"},
    {.name = "spread with a maxSkew beyond 32 bits",
     .text = "topologySpreadConstraints: [{maxSkew: 2147483648, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule}]",
     .error = "maxSkew: Invalid value: 2147483648: is too large"},
    {.name = "spread with minDomains 0",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, minDomains: 0}]",
     .error = "minDomains: Invalid value: 0: must be greater than zero"},
    {.name = "spread with an unknown policy",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, nodeTaintsPolicy: honor}]",
     .error = "nodeTaintsPolicy: Unsupported value: \"honor\": supported values: \"Honor\", "
              "\"Ignore\""},
    {.name = "spread with a bad topologyKey",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z/, whenUnsatisfiable: "
             "DoNotSchedule}]",
     .error = "topologyKey: Invalid value: \"z/\": name part must be non-empty"},
    {.name = "matchLabelKeys of a spread",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, labelSelector: {matchLabels: {a: b}}, matchLabelKeys: [rev]}]"},
    {.name = "matchLabelKeys of a spread without labelSelector",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, matchLabelKeys: [rev]}]",
     .error = "topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when "
              "labelSelector is not set"},
    {.name = "matchLabelKeys of a spread with a bad key",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, labelSelector: {}, matchLabelKeys: [\"a b\"]}]",
     .error = "matchLabelKeys[0]: Invalid value: \"a b\": name part must"},
    {.name = "matchLabelKeys of a spread that repeat its selector",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule, labelSelector: {matchLabels: {a: b}}, matchLabelKeys: [a]}]",
     .error = "matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and "
              "labelSelector"},
    {.name = "one topologyKey, hard and soft",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule}, {maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]"},
    {.name = "the same spread twice",
     .text = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: "
             "DoNotSchedule}, {maxSkew: 2, topologyKey: z, whenUnsatisfiable: DoNotSchedule}]",
     .error = "topologySpreadConstraints[1]: Duplicate value: \"{z, DoNotSchedule}\""},
};

static void
test_template(void **state)
{
    object_row_check(*state, TEMPLATE);
}

/* Where the documents print the rules: right under spec (seeds-scheduling P14). */
#define SPEC                                                                          \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: v}, spec: {" \
    "runStrategy: Always, %s}}"
#define MEMORY "domain: {memory: {guest: 1Gi}}"

static const struct object_row spec_rows[] = {
    {.name = "tolerations under spec",
     .text = "tolerations: [{operator: Exists}], template: {spec: {" MEMORY "}}",
     .warning = "spec.tolerations is taken as spec.template.spec.tolerations, where it belongs"},
    {.name = "affinity under spec",
     .text = "affinity: {nodeAffinity: {}}, template: {spec: {" MEMORY "}}",
     .warning = "spec.affinity is taken as spec.template.spec.affinity"},
    {.name = "nodeSelector under spec",
     .text = "nodeSelector: {a: b}, template: {spec: {" MEMORY "}}",
     .warning = "spec.nodeSelector is taken as"},
    {.name = "domain under spec, no template (B-13)",
     .text = "domain: {resources: {requests: {memory: 4Gi}}, memory: {hugepages: {pageSize: 1Gi}}}",
     .warning = "spec.domain is taken as spec.template.spec.domain"},
    {.name = "the same in both places",
     .text = "nodeSelector: {a: b}, template: {spec: {nodeSelector: {a: b}, " MEMORY "}}",
     .warning = "spec.nodeSelector is taken as"},
    {.name = "different in both places",
     .text = "nodeSelector: {a: b}, template: {spec: {nodeSelector: {a: c}, " MEMORY "}}",
     .error = "spec.nodeSelector: Forbidden: differs from spec.template.spec.nodeSelector: give it "
              "there only"},
    {.name = "different tolerations",
     .text = "tolerations: [{operator: Exists}], template: {spec: {tolerations: [], " MEMORY "}}",
     .error = "spec.tolerations: Forbidden: differs from spec.template.spec.tolerations"},
    {.name = "moved rules are checked",
     .text = "tolerations: [{}], template: {spec: {" MEMORY "}}",
     .error = "spec.template.spec.tolerations[0].operator: Invalid value"},
    {.name = "no place to move to",
     .text = "nodeSelector: {a: b}, template: 5",
     .error = "unknown field \"spec.nodeSelector\""},
    {.name = "no map to move to",
     .text = "nodeSelector: {a: b}, template: {spec: []}",
     .error = "spec.template.spec: Invalid value: []: want a map, not a list"},
    {.name = "schedulerName is not moved",
     .text = "schedulerName: x, template: {spec: {" MEMORY "}}",
     .error = "unknown field \"spec.schedulerName\""},
    {.name = "devices of a domain in the documents' place (B-14)",
     .text = "template: {spec: {domain: {memory: {guest: 1Gi}, interfaces: [{name: a, "
             "masquerade: {}}]}, networks: [{name: a, pod: {}}]}}",
     .warning = "spec.template.spec.domain.interfaces is taken as devices.interfaces"},
    {.name = "devices in both places",
     .text = "template: {spec: {domain: {memory: {guest: 1Gi}, rng: {}, devices: {rng: {}}}}}",
     .error = "unknown field \"spec.template.spec.domain.rng\""},
};

static void
test_spec(void **state)
{
    object_row_check(*state, SPEC);
}

/* What was moved stands where everybody looks, and nowhere else. */
static void
test_moved(void **state)
{
    AUTO_TREE struct tree *obj = object_one(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: v}\n"
        "spec:\n  runStrategy: Always\n  nodeSelector: {a: b}\n  template: {spec: {" MEMORY "}}\n");

    (void)state;
    assert_null(tree_find(obj, "spec", "nodeSelector", NULL));
    assert_string_equal(
        tree_find_string(obj, "", "spec", "template", "spec", "nodeSelector", "a", NULL), "b");
    assert_string_equal(
        tree_find_string(obj, "", "spec", "template", "spec", "domain", "memory", "guest", NULL),
        "1Gi");
}

#define NODE "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {%s}}"

static const struct object_row taint_rows[] = {
    {.name = "taints",
     .text = "taints: [{key: k, value: v, effect: NoSchedule}, {key: k, effect: "
             "NoExecute, timeAdded: \"2026-11-21T13:04:05Z\"}]"},
    {.name = "taint without effect",
     .text = "taints: [{key: k}]",
     .error = "spec.taints[0].effect: Required value"},
    {.name = "taint without key",
     .text = "taints: [{effect: NoSchedule}]",
     .error = "spec.taints[0].key: Required value"},
    {.name = "taint with empty effect",
     .text = "taints: [{key: k, effect: \"\"}]",
     .error = "spec.taints[0].effect: Unsupported value: \"\""},
    {.name = "taint with unknown effect",
     .text = "taints: [{key: k, effect: Never}]",
     .error = "effect: Unsupported value: \"Never\""},
    {.name = "taint with a bad key",
     .text = "taints: [{key: \"k=v\", effect: NoSchedule}]",
     .error = "spec.taints[0].key: Invalid value: \"k=v\""},
    {.name = "taint with a bad value",
     .text = "taints: [{key: k, value: \"a:b\", effect: NoSchedule}]",
     .error = "spec.taints[0].value: Invalid value: \"a:b\""},
    {.name = "the same taint twice",
     .text = "taints: [{key: k, effect: NoSchedule}, {key: k, value: x, effect: NoSchedule}]",
     .error = "spec.taints[1]: Duplicate value"},
    {.name = "bad time of a taint",
     .text = "taints: [{key: k, effect: NoSchedule, timeAdded: now}]",
     .error = "timeAdded: Invalid value: \"now\": its date: want an RFC 3339 time"},
    {.name = "unschedulable as a text",
     .text = "unschedulable: \"true\"",
     .error = "spec.unschedulable: Invalid value: \"true\": want true or false, not a string"},
    {.name = "unknown field of a node",
     .text = "cordoned: true",
     .error = "unknown field \"spec.cordoned\""},
};

static void
test_taint(void **state)
{
    object_row_check(*state, NODE);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {cmocka_unit_test(test_moved)};

    return ROWS_RUN("placement", template_rows, test_template) +
           ROWS_RUN("documents' places", spec_rows, test_spec) +
           ROWS_RUN("taints", taint_rows, test_taint) +
           cmocka_run_group_tests_name("moved", others, NULL, NULL);
}
