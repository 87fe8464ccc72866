proto_GEN := $(patsubst proto/%.proto,$(GEN)/proto/%.pb-c.c,$(wildcard proto/*.proto))
# files in an x86 flavour of their own; proto/sum.c chooses at run time
ifeq ($(shell uname -m),x86_64)
$(OUT)/proto/sum_avx2.o: CFLAGS_ALL += -mavx2
$(OUT)/proto/sum_avx512.o: CFLAGS_ALL += -mavx512f
endif
