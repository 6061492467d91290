# culprit: `make` builds build/culpritd and build/culprit; `make help` lists the rest.

VERSION := 0.1.0

# sbin: an ordinary user's PATH lacks it on Debian, and bpftool lives there.
SHELL := /bin/bash
# V=1 shows the commands themselves.
Q    := $(if $(V),,@)
tell  = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')
export PATH := $(PATH):/usr/sbin:/sbin

B         ?= build
CC        := gcc
CLANG     ?= clang
STRIP     ?= llvm-strip
BPFTOOL   ?= bpftool
PREFIX    ?= /usr
SYSCONFDIR ?= /etc
UNITDIR   ?= $(PREFIX)/lib/systemd/system
DESTDIR   ?=

ARCH      := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/; s/ppc64le/powerpc/; s/riscv64/riscv/; s/s390x/s390/')
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

WARN      := -Wall -Wextra -Werror -Wshadow -Wformat=2 -Wmissing-prototypes -Wstrict-prototypes \
	     -Wvla -Wundef -Wno-missing-field-initializers
HARDEN    := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SANITIZE  ?=
OPT       ?= -O2
CPPFLAGS  += -D_GNU_SOURCE -DCULPRIT_VERSION='"$(VERSION)"' -DCULPRIT_SYSCONFDIR='"$(SYSCONFDIR)"' -Iinclude -Iuser -I$(B)/bpf
CFLAGS    := -std=gnu17 -g $(OPT) $(WARN) $(if $(SANITIZE),$(SANITIZE),$(HARDEN))
LDFLAGS   := $(if $(SANITIZE),$(SANITIZE),-pie -Wl,-z,relro,-z,now) -Wl,--as-needed

# Asked for only when something is compiled, so that `make deps` works on a bare machine.
AGENT_LIBS  = $(shell pkg-config --libs libbpf libsystemd jansson ini_config)
CLIENT_LIBS = $(shell pkg-config --libs jansson)

BPF_SRCS   := $(wildcard bpf/*.bpf.c)
BPF_HDRS   := $(wildcard bpf/*.bpf.h include/culprit/*.h)
SKELS      := $(BPF_SRCS:bpf/%.bpf.c=$(B)/bpf/%.skel.h)
# BPF_PROG() names the arguments of a hook whether the program reads them or not.
BPFFLAGS   := -g -O2 -Wall -Wextra -Werror -Wno-unused-parameter -std=gnu17 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) \
	      -Iinclude -Ibpf $(if $(MULTIARCH),-I/usr/include/$(MULTIARCH))

LIB_SRCS   := $(wildcard user/lib/*.c)
CORE_SRCS  := $(wildcard user/sense/*.c user/decide/*.c user/act/*.c user/tell/*.c)
AGENT_SRCS := $(wildcard user/agent/*.c)
CLI_SRCS   := $(wildcard user/cli/*.c)
obj         = $(patsubst %.c,$(B)/%.o,$(1))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
UNIT_LIB   := $(call obj,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
LIVE_TESTS := $(patsubst tests/live/%.c,$(B)/tests/live/%,$(wildcard tests/live/test_*.c))
VM_TESTS   := $(B)/tests/vm/rungs $(B)/tests/vm/cuse_gpu
LIVE_LIB   := $(call obj,$(filter-out tests/live/test_%,$(wildcard tests/live/*.c)))
BENCHES    := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
TIDY_FILES := $(wildcard user/*/*.c)
C_FILES    := $(wildcard bpf/*.[ch] include/culprit/*.h user/*/*.[ch] tests/*/*.[ch])

AS_OWNER   := scripts/as-owner.sh

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: FORCE all deps help tests clean unit live check vm-tests vm-live vm-check vm-service vm-thrash bench asan format \
	format-check tidy demo install uninstall

# What is built belongs to the owner of the tree, also under sudo (AS_OWNER); and in a make of its
# own, which sees the packages that deps has just installed.
all: deps
	@$(AS_OWNER) $(MAKE) --no-print-directory $(B)/culpritd $(B)/culprit

help:
	@echo 'make               build $(B)/culpritd and $(B)/culprit (installs missing packages when root)'
	@echo 'make demo          (root) see it work: CPU, GPU and swap, on this machine, in under a minute'
	@echo 'make check         (root) unit tests and live tests on this kernel'
	@echo 'make unit          unit tests alone; no root needed'
	@echo 'make vm-live       (root) live tests and every rung of every sense on KERNEL=$(KERNEL), in qemu'
	@echo 'make vm-check      (root) the same on each kernel that scripts/vm.sh knows; a table of sense and kernel'
	@echo 'make vm-service    (root) the systemd unit in a virtual machine, with everything that can befall it'
	@echo 'make vm-thrash     (root) whom the signal thrash picks on a whole machine, RUNS=$(RUNS) SCENARIO= of tests/vm, in qemu'
	@echo 'make bench         (root) the figures of the README, as JSON'
	@echo 'make asan          the unit and live tests under the address and undefined-behaviour sanitizers'
	@echo 'make format-check  is every file as clang-format would write it?'
	@echo 'make tidy          clang-tidy'
	@echo 'make install       DESTDIR= PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR)'
	@echo 'make uninstall     with the same variables; a configuration that you changed stays'
	@echo 'make clean         remove what was built'

deps:
	@scripts/deps.sh --build

# --- kernel side -------------------------------------------------------------------------------

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(BPF_HDRS)
	@mkdir -p $(@D)
	$(call tell,BPF,$<)
	$(Q)$(CLANG) $(BPFFLAGS) -c $< -o $@.tmp
	@# The debug sections go, the BTF that CO-RE needs stays.
	$(Q)$(STRIP) -g $@.tmp && mv $@.tmp $@

# clang-tidy does not know that libbpf frees what the generated code hands it.
$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call tell,SKEL,$@)
	$(Q){ echo '// NOLINTBEGIN' && $(BPFTOOL) gen skeleton $< name $*_bpf && echo '// NOLINTEND'; } > $@

# --- user side ---------------------------------------------------------------------------------

# Skeletons first: the compiler cannot tell make which ones a source wants before it has them.
$(B)/%.o: %.c | $(SKELS)
	@mkdir -p $(@D)
	$(call tell,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The default configuration file is compiled in: `make install SYSCONFDIR=` must not install another.
$(B)/sysconfdir: FORCE
	@mkdir -p $(@D)
	@cmp -s $@ - <<<'$(SYSCONFDIR)' || echo '$(SYSCONFDIR)' > $@

$(B)/user/agent/main.o: $(B)/sysconfdir

$(B)/libculprit.a: $(call obj,$(LIB_SRCS) $(CORE_SRCS))
	@rm -f $@
	$(call tell,AR,$@)
	$(Q)ar rcs $@ $^

$(B)/culpritd: $(call obj,$(AGENT_SRCS)) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -o $@

$(B)/culprit: $(call obj,$(CLI_SRCS) $(LIB_SRCS))
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(CLIENT_LIBS) -o $@

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(UNIT_LIB) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -o $@

# Those of the client's parts, and the one that runs the client itself.
$(B)/tests/unit/test_cli_%: $(B)/tests/unit/test_cli_%.o $(call obj,$(filter-out user/cli/main.c,$(CLI_SRCS))) \
		$(UNIT_LIB) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -o $@

$(B)/tests/unit/test_client: | $(B)/culprit

$(B)/tests/live/%: $(B)/tests/live/%.o $(LIVE_LIB) $(UNIT_LIB) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -luring -lpthread -o $@

$(B)/tests/vm/rungs: $(call obj,$(wildcard tests/vm/rung*.c)) $(LIVE_LIB) $(UNIT_LIB) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -lpthread -o $@

# Thrash on a whole machine: the driver, and the loads that it starts.
$(B)/tests/vm/scenarios: $(call obj,$(filter-out %_load.c,$(wildcard tests/vm/scenario*.c))) $(LIVE_LIB) $(UNIT_LIB) \
		$(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -lpthread -lm -o $@

$(B)/tests/vm/scenario_load: $(B)/tests/vm/scenario_load.o
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

$(B)/tests/vm/cuse_gpu.o: CPPFLAGS += $(shell pkg-config --cflags-only-I fuse3)
$(B)/tests/vm/cuse_gpu: $(B)/tests/vm/cuse_gpu.o
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(shell pkg-config --libs fuse3) -o $@

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(LIVE_LIB) $(UNIT_LIB) $(B)/libculprit.a
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ $(AGENT_LIBS) -lcmocka -lpthread -lm -o $@

$(B)/tests/demo/load: $(B)/tests/demo/load.o
	$(call tell,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# --- tests -------------------------------------------------------------------------------------

tests: $(B)/culpritd $(B)/culprit $(B)/tests/demo/load $(UNIT_TESTS) $(LIVE_TESTS)

unit:
	@$(AS_OWNER) $(MAKE) --no-print-directory $(UNIT_TESTS)
	@tests/run.sh $(UNIT_TESTS)

live: deps
	@$(AS_OWNER) $(MAKE) --no-print-directory tests
	@CULPRIT_BUILD=$(abspath $(B)) tests/run.sh --live $(LIVE_TESTS)

# KERNEL is one that scripts/vm.sh knows.
KERNEL ?= 6.1

vm-tests:
	@scripts/deps.sh
	@$(MAKE) --no-print-directory all $(LIVE_TESTS) $(VM_TESTS)

vm-live: vm-tests
	@CULPRIT_BUILD=$(abspath $(B)) scripts/vm.sh --kernel $(KERNEL) --mem 1024 --swap 512 --timeout 4800 -- \
		tests/vm/live.sh

# On all kernels that scripts/vm.sh knows; TESTS= names some of the programs.
vm-check: vm-tests
	@CULPRIT_BUILD=$(abspath $(B)) tests/vm/check.sh '$(if $(filter command line,$(origin KERNEL)),$(KERNEL),all)' 4800 $(TESTS)

# All of it takes most of an hour. RUNS of each scenario; SCENARIO names one (tests/vm/scenario_list.c).
RUNS ?= 20

vm-thrash: all
	@$(AS_OWNER) $(MAKE) --no-print-directory $(B)/tests/vm/scenarios $(B)/tests/vm/scenario_load
	@CULPRIT_BUILD=$(abspath $(B)) scripts/vm.sh --kernel $(KERNEL) --mem 512 --swap 768 --timeout 10000 -- \
		$(B)/tests/vm/scenarios --runs $(RUNS) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(JSON),--json)

check:
	@test "$$(id -u)" = 0 || { echo 'make check loads BPF programs into this kernel, so it has to be root:' \
		'sudo make check (make unit runs the tests that need no root)' >&2; exit 1; }
	@scripts/deps.sh
	@$(AS_OWNER) $(MAKE) --no-print-directory tests
	@CULPRIT_BUILD=$(abspath $(B)) tests/run.sh $(UNIT_TESTS) --live $(LIVE_TESTS)

bench:
	@scripts/deps.sh
	@$(AS_OWNER) $(MAKE) --no-print-directory $(B)/culpritd $(B)/culprit $(BENCHES)
	@CULPRIT_BUILD=$(abspath $(B)) tests/bench/run.sh $(BENCHES)

vm-service: all
	@scripts/vm.sh --systemd --timeout 1800 -- tests/vm/systemd.sh

asan:
	@scripts/deps.sh
	@$(MAKE) --no-print-directory B=build-asan OPT=-O1 \
		SANITIZE='-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all' unit live

demo:
	@scripts/demo.sh

format:
	@clang-format -i $(C_FILES)

format-check:
	@clang-format --dry-run -Werror $(C_FILES)
	@echo 'format-check: $(words $(C_FILES)) files are as clang-format writes them'

# One file for each process: given several, clang-tidy 14 lets one file's findings leak into the next.
tidy:
	@$(AS_OWNER) $(MAKE) --no-print-directory $(SKELS)
	@printf '%s\n' $(TIDY_FILES) | xargs -P "$$(nproc)" -I{} sh -c \
		'out=$$(clang-tidy --quiet "$$@" 2>/dev/null) || { printf "%s\n" "$$out"; exit 1; }' \
		sh {} -- -std=gnu17 $(CPPFLAGS)
	@echo 'tidy: clang-tidy has nothing to say about $(words $(TIDY_FILES)) files'

# --- installation ------------------------------------------------------------------------------

install: all
	@scripts/install.sh install '$(B)' '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)' '$(UNITDIR)'

uninstall:
	@scripts/install.sh uninstall '$(B)' '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)' '$(UNITDIR)'

clean:
	rm -rf build build-asan
