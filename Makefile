# drover: non-recursive build. `make help` lists the targets, README.md begins with the two that matter.
BUILD    ?= release
V        ?= 0
DESTDIR  ?=
prefix   ?= /usr/local

MODULES  := base api proto sched netpolicy migrate handler control cli bench
OUT      := build/$(BUILD)
GEN      := build/gen
, := ,
Q        := $(if $(filter 1,$(V)),,@)
say       = $(if $(filter 1,$(V)),,@echo "  $(1)")

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:

ifeq ($(BUILD),fuzz)
CC       := clang
endif
# --- flavours -------------------------------------------------------------------------------------
WARN     := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wundef \
            -Wcast-qual -Wvla -Wimplicit-fallthrough
ifneq ($(CI)$(WERROR),)
WARN     += -Werror
endif
ifeq ($(findstring clang,$(CC)),)
WARN     += -Wno-format-truncation # texts for people are cut on purpose
endif
CPPFLAGS_COMMON := -I. -I$(GEN) -D_GNU_SOURCE
CFLAGS_release := -O2 -g -fno-plt -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_debug   := -Og -g3
CFLAGS_asan    := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=undefined \
                  -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g3 -fsanitize=thread
CFLAGS_fuzz    := -O1 -g3 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
CFLAGS_FLAVOUR := $(CFLAGS_$(BUILD))
ifeq ($(CFLAGS_FLAVOUR),)
$(error BUILD=$(BUILD): want release, debug, asan, tsan or fuzz)
endif
CFLAGS_ALL := -std=gnu17 -pthread $(WARN) $(CFLAGS_FLAVOUR) $(CFLAGS)
LDFLAGS_ALL := -pthread $(filter -fsanitize=%,$(CFLAGS_FLAVOUR)) $(LDFLAGS)
# sanitizers stand before XDR's functions and look for them at start, but only libvirt, which comes by dlopen,
# brings the library that has them: without it here, the first message to libvirtd is a jump to NULL
XDR_LIB := $(firstword $(wildcard $(foreach d,/lib /usr/lib,$(d)/*/libtirpc.so.3 $(d)64/libtirpc.so.3)))
ifneq ($(findstring -fsanitize=,$(CFLAGS_FLAVOUR)),)
LDFLAGS_ALL += $(if $(XDR_LIB),-Wl$(,)--push-state$(,)--no-as-needed $(XDR_LIB) -Wl$(,)--pop-state)
endif

BINDIR   := $(if $(filter release,$(BUILD)),bin,$(OUT)/bin)

# --- what depends on what (a library: its folder and, after it, those it uses) ----------------------
LIBS_base      := base
LIBS_api       := api base
LIBS_proto     := proto base
LIBS_sched     := sched api base
LIBS_netpolicy := netpolicy api base
LIBS_migrate   := migrate proto api base
LIBS_handler   := handler migrate netpolicy sched proto api base
LIBS_control   := control sched netpolicy migrate proto api base
LIBS_cli       := cli sched netpolicy migrate proto api base
LIBS_bench     := bench handler migrate netpolicy sched proto api base
LIBS_system    := cli handler control sched netpolicy migrate proto api base
# tests of a folder that use more than it does (networks to migrate over)
LIBS_for_tests_migrate := netpolicy migrate proto api base
LIBS_fuzz      := handler control sched netpolicy migrate proto api base

PKGS_base      := libevent_core libevent_pthreads
PKGS_api       := yaml-0.1 jansson
PKGS_proto     := libprotobuf-c libcurl libcrypto
PKGS_sched     := expat
PKGS_netpolicy := libnl-3.0 libnl-route-3.0
PKGS_migrate   := liblz4 libzstd openssl libibverbs librdmacm
PKGS_handler   := libevent_core libevent_extra libarchive
PKGS_control   := sqlite3 libevent_core libevent_extra
PKGS_bench     := libcrypto
PKGS_tests     := cmocka
pkg_flags = $(if $(strip $(1)),$(shell pkg-config $(2) $(1) 2>/dev/null))
ALL_PKGS := $(sort $(foreach m,$(MODULES) tests,$(PKGS_$(m))))
PKG_CFLAGS := $(call pkg_flags,$(ALL_PKGS),--cflags)
# per module: -l flags of the packages of all libraries it links
libs_of   = $(foreach l,$(LIBS_$(1)),$(OUT)/lib$(l).a)
ldlibs_of = $(foreach p,$(sort $(foreach l,$(LIBS_$(1)),$(PKGS_$(l)))),$(PKG_LIBS_$(p)))
$(foreach p,$(ALL_PKGS),$(eval PKG_LIBS_$(p) := $(shell pkg-config --libs $(p) 2>/dev/null)))

# --- sources ----------------------------------------------------------------------------------------
PROGS :=
include $(wildcard $(addsuffix /module.mk,$(MODULES) tests))

define module_rules
$(1)_SRCS ?= $$(filter-out $(1)/main_%.c,$$(wildcard $(1)/*.c))
$(1)_OBJS := $$(patsubst %.c,$(OUT)/%.o,$$($(1)_SRCS)) $$(patsubst %.c,$(OUT)/%.o,$$($(1)_GEN))
$(OUT)/lib$(1).a: $$($(1)_OBJS)
	$$(call say,AR    $$@)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
OBJS += $$($(1)_OBJS)
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

# programs: PROGS += name; name_MAIN := folder/main_x.c; name_LIBS := the module whose LIBS_ it links
define prog_rules
$(BINDIR)/$(1): $(patsubst %.c,$(OUT)/%.o,$($(1)_MAIN)) $(call libs_of,$($(1)_LIBS))
	$$(call say,LD    $$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $(call ldlibs_of,$($(1)_LIBS)) $($(1)_LDLIBS) -lm
OBJS += $(patsubst %.c,$(OUT)/%.o,$($(1)_MAIN))
endef
$(foreach p,$(PROGS),$(eval $(call prog_rules,$(p))))
PROG_FILES := $(addprefix $(BINDIR)/,$(PROGS))

for_tests = $(if $(LIBS_for_tests_$(1)),for_tests_$(1),$(1))
# tests/migrate brings a double of libibverbs and librdmacm, so those programs are linked without the
# libraries: a function that the double lacks does not link
RDMA_LIBS := -libverbs -lrdmacm
RDMA_REAL := tests/migrate/verbs_real.c
test_ldlibs_of = $(filter-out $(if $(filter migrate,$(1)),$(RDMA_LIBS)),$(call ldlibs_of,$(call for_tests,$(1))))
# tests: tests/FOLDER/test_*.c, each a cmocka program; tests/FOLDER/*.c else are helpers linked to all
define test_rules
$(1)_TESTS := $$(patsubst tests/%.c,$(OUT)/tests/%,$$(wildcard tests/$(1)/test_*.c))
$(1)_THELP := $$(patsubst %.c,$(OUT)/%.o,$$(filter-out tests/$(1)/test_% $(RDMA_REAL),$$(wildcard tests/$(1)/*.c)))
$$($(1)_TESTS): $(OUT)/tests/%: $(OUT)/tests/%.o $$($(1)_THELP) $(call libs_of,$(call for_tests,$(1)))
	$$(call say,LD    $$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $(call test_ldlibs_of,$(1)) $(PKG_LIBS_cmocka) -lm
UNIT_TESTS += $$($(1)_TESTS)
OBJS += $$(addsuffix .o,$$($(1)_TESTS)) $$($(1)_THELP)
.PHONY: check-$(1) lib-$(1)
lib-$(1): $(OUT)/lib$(1).a
check-$(1): $$($(1)_TESTS)
	$(Q)tests/run $$($(1)_TESTS)
endef
$(foreach m,$(MODULES),$(eval $(call test_rules,$(m))))

# the tests of RDMA a second time, with the real libraries: run where there is a device (tests/rdma)
RDMA_TESTS := $(patsubst tests/migrate/%.c,$(OUT)/rdmatest/%,$(wildcard tests/migrate/test_rdma_*.c))
RDMA_THELP := $(filter-out $(OUT)/tests/migrate/verbs_double%,$(migrate_THELP)) $(RDMA_REAL:%.c=$(OUT)/%.o)
$(RDMA_TESTS): $(OUT)/rdmatest/%: $(OUT)/tests/migrate/%.o $(RDMA_THELP) $(call libs_of,for_tests_migrate)
	$(call say,LD    $@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(call ldlibs_of,for_tests_migrate) $(PKG_LIBS_cmocka) -lm
OBJS += $(RDMA_REAL:%.c=$(OUT)/%.o)

# system tests in C: tests/system/test_*.c, run by tests/run --system beside the scripts there
SYSTEM_TESTS := $(patsubst tests/system/%.c,$(OUT)/systest/%,$(wildcard tests/system/test_*.c))
SYSTEM_HELP  := $(patsubst tests/system/%.c,$(OUT)/tests/system/%.o,$(filter-out tests/system/test_%,$(wildcard tests/system/*.c)))
$(SYSTEM_TESTS): $(OUT)/systest/%: $(OUT)/tests/system/%.o $(SYSTEM_HELP) $(call libs_of,system)
	$(call say,LD    $@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(call ldlibs_of,system) -lm
OBJS += $(patsubst tests/system/%.c,$(OUT)/tests/system/%.o,$(wildcard tests/system/*.c))

# fuzz targets: tests/fuzz/fuzz_NAME.c with tests/fuzz/corpus/NAME/; replayed by a small main, or
# linked with libFuzzer under BUILD=fuzz; RDMA is the double's
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BINS := $(patsubst tests/fuzz/%.c,$(OUT)/tests/fuzz/%,$(FUZZ_SRCS))
FUZZ_MAIN := $(if $(filter fuzz,$(BUILD)),,$(OUT)/tests/fuzz/replay.o)
FUZZ_HELP := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/migrate/verbs_double*.c))
$(FUZZ_BINS): $(OUT)/tests/fuzz/%: $(OUT)/tests/fuzz/%.o $(FUZZ_MAIN) $(FUZZ_HELP) $(call libs_of,fuzz)
	$(call say,LD    $@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(if $(filter fuzz,$(BUILD)),-fsanitize=fuzzer) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(filter-out $(RDMA_LIBS),$(call ldlibs_of,fuzz)) -lm
OBJS += $(addsuffix .o,$(FUZZ_BINS)) $(FUZZ_MAIN) $(FUZZ_HELP)

# --- compiling --------------------------------------------------------------------------------------
STAMP := $(OUT)/.flags
FLAGS_NOW := $(CC) $(CPPFLAGS_COMMON) $(PKG_CFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL)
$(shell mkdir -p $(OUT); echo '$(FLAGS_NOW)' | cmp -s - $(STAMP) || echo '$(FLAGS_NOW)' > $(STAMP))

$(OUT)/%.o: %.c $(STAMP)
	$(call say,CC    $<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_COMMON) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# generated protobuf code: no warnings of ours apply to it
PROTO_GEN := $(patsubst proto/%.proto,$(GEN)/proto/%.pb-c.c,$(wildcard proto/*.proto))
$(GEN)/proto/%.pb-c.c $(GEN)/proto/%.pb-c.h &: proto/%.proto
	$(call say,PROTO $<)
	@mkdir -p $(GEN)/proto
	$(Q)protoc-c --proto_path=proto --c_out=$(GEN)/proto $<
$(OUT)/$(GEN)/%.o: $(GEN)/%.c $(STAMP)
	$(call say,CC    $<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_COMMON) $(PKG_CFLAGS) -I$(GEN)/proto -std=gnu17 $(CFLAGS_FLAVOUR) -MMD -MP -c -o $@ $<
$(filter $(OUT)/proto/% $(OUT)/tests/proto/%,$(OBJS)): | $(PROTO_GEN)

-include $(OBJS:.o=.d)

# --- targets ----------------------------------------------------------------------------------------
.PHONY: proto-gen
proto-gen: $(PROTO_GEN)

.PHONY: all help deps demo test check system-check bench lint fuzz install clean tests-build unit-build
all: $(PROG_FILES)

help:
	@echo "make demo          install what is missing, build, run the main job (needs root)"
	@echo "make demo HYPERVISOR=libvirt   with QEMU and libvirt, one of its VMs is a real one"
	@echo "make test          install what is missing, build, run every test (needs root)"
	@echo "make               build the programs into bin/"
	@echo "make check         unit and scenario tests, with ASan and UBSan"
	@echo "make check-FOLDER  those of one folder (BUILD=asan for sanitizers)"
	@echo "make system-check  the real daemons in network namespaces (needs root)"
	@echo "make bench         measurements, as ratios in one run"
	@echo "make lint          layers, file sizes, clang-tidy, cppcheck"
	@echo "make fuzz          libFuzzer on every target for FUZZ_SECONDS (30) each"
	@echo "make install       DESTDIR and prefix as usual"

deps:
	@tools/deps.sh

deps-build:
	@tools/deps.sh --build
.PHONY: deps-build

unit-build: $(UNIT_TESTS) $(FUZZ_BINS)
tests-build: $(PROG_FILES) unit-build

# HYPERVISOR=libvirt: QEMU and libvirt are installed for it
demo:
	@tools/deps.sh $(if $(filter libvirt,$(HYPERVISOR)),--libvirt,--build)
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)tools/demo.sh

test: deps
	$(Q)tests/all.sh

check:
	$(Q)$(MAKE) --no-print-directory -j2 BUILD=asan unit-build
	$(Q)TEST_JOBS=$$(nproc) tests/run build/asan

systest-build: $(SYSTEM_TESTS) rdmatest-build
.PHONY: systest-build

rdmatest-build: $(RDMA_TESTS)
.PHONY: rdmatest-build

system-check: deps
	$(Q)$(MAKE) --no-print-directory -j2 all systest-build
	$(Q)TEST_JOBS=$$(nproc) tests/run --system

bench: all
	$(Q)tools/qemu-backports.sh || true
	$(Q)bin/drover-bench all --save build/bench; all=$$?; tests/system/test_rdma.sh bench; guest=$$?; \
		[ $$all -eq 0 ] || exit $$all; [ $$guest -eq 0 ] || [ $$guest -eq 77 ]

lint:
	$(Q)tools/lint.sh

fuzz:
	$(Q)$(MAKE) --no-print-directory -j2 BUILD=fuzz unit-build-fuzz
	$(Q)tools/fuzz.sh
.PHONY: unit-build-fuzz
unit-build-fuzz: $(FUZZ_BINS)

install: all
	install -d $(DESTDIR)$(prefix)/bin
	install -m 755 $(PROG_FILES) $(DESTDIR)$(prefix)/bin

clean:
	rm -rf build bin
