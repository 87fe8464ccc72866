/* Each model is another one and a few features more; see cpu_base.h. */
#include "sched/cpu_base.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

#define SUFFIX         "-IBRS" /* the same model with the microcode of 2018 */
#define SUFFIX_FEATURE "spec-ctrl"

struct model {
    const char *name, *parent; /* parent: an earlier row, or NULL */
    const char *features;      /* between blanks */
};

static const struct model models[] = {
    {"Penryn", NULL,
     " apic clflush cmov cx16 cx8 de fpu fxsr lahf_lm lm mca mce mmx msr mtrr nx pae pat pge pni "
     "pse "
     "pse36 sep sse sse2 sse4.1 ssse3 syscall tsc "},
    {"Nehalem", "Penryn", " popcnt sse4.2 "},
    {"Westmere", "Nehalem", " aes "},
    {"SandyBridge", "Westmere", " avx pclmuldq rdtscp tsc-deadline x2apic xsave "},
    {"IvyBridge", "SandyBridge", " erms f16c fsgsbase rdrand smep vme "},
    {"Haswell-noTSX", "SandyBridge", " avx2 bmi1 bmi2 erms fma fsgsbase invpcid movbe pcid smep "},
    {"Haswell", "Haswell-noTSX", " hle rtm "},
    {"Broadwell-noTSX", "Haswell-noTSX", " 3dnowprefetch adx rdseed smap "},
    {"Broadwell", "Broadwell-noTSX", " hle rtm "},
    {"Skylake-Client", "Broadwell", " abm arat f16c mpx rdrand vme xgetbv1 xsavec xsaveopt "},
    {"Skylake-Server", "Skylake-Client",
     " avx512bw avx512cd avx512dq avx512f avx512vl clwb pdpe1gb "},
    {"Cascadelake-Server", "Skylake-Server", " avx512vnni clflushopt spec-ctrl ssbd "},
    {"Icelake-Server", "Cascadelake-Server",
     " avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 gfni la57 pku umip vaes vpclmulqdq "
     "wbnoinvd "},
    {"Opteron_G3", NULL,
     " abm apic clflush cmov cx16 cx8 de fpu fxsr lahf_lm lm mca mce misalignsse mmx msr mtrr nx "
     "pae "
     "pat pge pni popcnt pse pse36 rdtscp sep sse sse2 sse4a svm syscall tsc "},
    {"Opteron_G4", "Opteron_G3",
     " 3dnowprefetch aes avx fma4 pclmuldq pdpe1gb sse4.1 sse4.2 ssse3 xop xsave "},
    {"Opteron_G5", "Opteron_G4", " f16c fma tbm "},
    {"EPYC", "Opteron_G3",
     " 3dnowprefetch adx aes arat avx avx2 bmi1 bmi2 clflushopt cr8legacy f16c fma fsgsbase "
     "fxsr_opt "
     "mmxext movbe osvw pclmuldq pdpe1gb rdrand rdseed sha-ni smap smep sse4.1 sse4.2 ssse3 vme "
     "xgetbv1 xsave xsavec xsaveopt "},
    {"EPYC-Rome", "EPYC",
     " amd-stibp clwb clzero ibpb npt nrip-save perfctr_core rdpid umip wbnoinvd xsaveerptr "},
    {"EPYC-Milan", "EPYC-Rome", " amd-ssbd erms fsrm ibrs invpcid pcid pku svme-addr-chk xsaves "},
};

static const struct model *find(const char *name, size_t len);
static bool in_words(const char *words, const char *word);
static size_t stem_len(const char *model);

bool
cpu_base_known(const char *model)
{
    return model && find(model, stem_len(model));
}

bool
cpu_base_has(const char *model, const char *feature)
{
    const struct model *m = model ? find(model, stem_len(model)) : NULL;

    if (!m)
        m = find(CPU_BASE_DEFAULT, strlen(CPU_BASE_DEFAULT));
    else if (model[stem_len(model)] && strcmp(feature, SUFFIX_FEATURE) == 0)
        return true;
    for (; m; m = m->parent ? find(m->parent, strlen(m->parent)) : NULL)
        if (in_words(m->features, feature))
            return true;
    return false;
}

static const struct model *
find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (strlen(models[i].name) == len && strncmp(models[i].name, name, len) == 0)
            return &models[i];
    return NULL;
}

static bool
in_words(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = words; len > 0 && (p = strstr(p, word)); p += len)
        if (p > words && p[-1] == ' ' && p[len] == ' ')
            return true;
    return false;
}

/* Without -IBRS. */
static size_t
stem_len(const char *model)
{
    size_t len = strlen(model), cut = strlen(SUFFIX);

    return len > cut && strcmp(model + len - cut, SUFFIX) == 0 ? len - cut : len;
}
