# files in an x86 flavour of their own; migrate/zero.c and codec_delta.c choose at run time
ifeq ($(shell uname -m),x86_64)
$(OUT)/migrate/zero_avx2.o $(OUT)/migrate/codec_delta_avx2.o: CFLAGS_ALL += -mavx2
$(OUT)/migrate/zero_avx512.o $(OUT)/migrate/codec_delta_avx512.o: CFLAGS_ALL += -mavx512f
endif
