# one file in the AVX2 flavour; migrate/zero.c chooses at run time
migrate_AVX2 := $(if $(filter x86_64,$(shell uname -m)),-mavx2)
$(OUT)/migrate/zero_avx2.o: CFLAGS_ALL += $(migrate_AVX2)
