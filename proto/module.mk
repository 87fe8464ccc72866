proto_GEN := $(patsubst proto/%.proto,$(GEN)/proto/%.pb-c.c,$(wildcard proto/*.proto))
# one file in the AVX2 flavour; proto/sum.c chooses at run time
proto_AVX2 := $(if $(filter x86_64,$(shell uname -m)),-mavx2)
$(OUT)/proto/sum_avx2.o: CFLAGS_ALL += $(proto_AVX2)
