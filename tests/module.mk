# The test guest: a kernel of our own for real VMs (tests/guest/main.c says what it does). Always optimized and
# without sanitizers, whatever the flavour: it runs on no operating system.
TESTGUEST := $(OUT)/tests/guest/drover-testguest.elf
TESTGUEST_OBJS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/guest/*.c)) $(OUT)/tests/guest/boot.o
TESTGUEST_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-stack-protector -fno-pic -fno-pie -mno-red-zone \
                    -mcmodel=small -mgeneral-regs-only -fcf-protection=none \
                    -fno-asynchronous-unwind-tables

$(OUT)/tests/guest/%.o: tests/guest/%.c $(STAMP)
	$(call say,CC    $<)
	@mkdir -p $(@D)
	$(Q)$(CC) -I. $(WARN) $(TESTGUEST_CFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/tests/guest/%.o: tests/guest/%.S $(STAMP)
	$(call say,AS    $<)
	@mkdir -p $(@D)
	$(Q)$(CC) -c -o $@ $<
$(TESTGUEST): tests/guest/guest.ld $(TESTGUEST_OBJS)
	$(call say,LD    $@)
	$(Q)$(CC) -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -T $^ -o $@
OBJS += $(TESTGUEST_OBJS)
# as manifests name it (examples/libvirt): kernelBoot's image is a folder beside the programs
TESTGUEST_IMAGE := $(BINDIR)/images/drover/testguest/kernel
$(TESTGUEST_IMAGE): $(TESTGUEST)
	@mkdir -p $(@D)
	$(Q)cp $< $@
.PHONY: testguest
testguest: $(TESTGUEST_IMAGE)
ifeq ($(shell uname -m),x86_64)
all: testguest
endif
