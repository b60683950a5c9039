# SPDX-License-Identifier: GPL-2.0
# Names for the scripts in tools/vm/. Nothing is built in the checkout: all of it lies in
# $XDG_CACHE_HOME/xpin or ~/.cache/xpin.

VM := tools/vm

# make e2e KERNEL=6.1 ARCH=arm64. What a kernel developer's shell exports is not meant for us.
export XPIN_KERNEL := $(if $(filter command line,$(origin KERNEL)),$(KERNEL))
export XPIN_BACKEND := $(if $(filter command line,$(origin BACKEND)),$(BACKEND))
export XPIN_RELEASE := $(if $(filter command line,$(origin RELEASE)),$(RELEASE))
PLAIN := $(if $(filter ftrace,$(XPIN_BACKEND)),stock,plain)
export XPIN_ARCH := $(if $(filter command line,$(origin ARCH)),$(ARCH))

help:
	@echo 'make deps         install the Debian packages needed (the only target that needs root)'
	@echo 'make test         litmus, KUnit and end-to-end tests; last line: N passed, N failed'
	@echo 'make test-all     the same and more on every kernel and architecture'
	@echo 'make test-debug   end to end with lockdep and with KASAN; test-stock: all of it on Debian kernels'
	@echo 'make test-long    10 million rounds of the races, and 10 minutes of pins on each Debian kernel'
	@echo 'make demo         watch a secret being read, claimed, and no longer read'
	@echo 'make demo-pkvm    watch a protected VM (arm64, 7.3) die by a hostile process, and not die'
	@echo
	@echo 'make kernel       build the patched kernel'
	@echo 'make modules      build xpin.ko for it'
	@echo 'make xpinctl      build the xpinctl tool'
	@echo 'make deb          the Debian packages xpin-dkms and xpin-tools; RELEASE=bookworm or trixie'
	@echo 'make litmus       the protocol in the kernel memory model (herd7)'
	@echo 'make kunit        KUnit suites in user-mode Linux; kunit-kasan: with KASAN and lockdep'
	@echo 'make e2e          end-to-end tests in QEMU; RUN=name,name: only these programs'
	@echo 'make e2e-lockdep  the same with lock, RCU and atomic-sleep checks'
	@echo 'make e2e-kasan    the same with KASAN and kmemleak'
	@echo 'make e2e-pkvm     protected VMs on KVM/arm64 (7.3), and who attacks their memory'
	@echo 'make kpatch-check the kernel patches on what Debian offers, with its configurations'
	@echo 'make dkms         dkms and apt in Debian 12 and 13 roots, and what dkms built in QEMU'
	@echo 'make packages     what a user meets with the packages, in clean Debian 12 and 13 roots and in QEMU'
	@echo 'make check-nops   an idle hook is NOPs, and gone when configured out'
	@echo 'make bench        what a pin costs with and without claims, in instructions'
	@echo 'make check        checkpatch, sparse, W=1'
	@echo 'make build-check  the module with gcc, clang and sparse for every line and architecture'
	@echo 'make fetch        look for newer kernels and tools on the Debian mirror'
	@echo 'make clean-cache  delete everything that was downloaded and built'
	@echo
	@echo 'KERNEL=6.1, 6.12 or 7.3 and ARCH=x86_64 or arm64 choose what to build and run for;'
	@echo '6.12 and x86_64 unless you say otherwise.'
	@echo 'BACKEND=ftrace: do not build a patched kernel but take Debian'\''s own, for modules, e2e and'
	@echo 'bench (x86_64); that of RELEASE=bookworm or trixie, by default of your own release. demo does so'
	@echo 'unless BACKEND=notifier.'
	@echo 'XPIN_JOBS=N: parallel jobs (all processors). XPIN_MIRROR, XPIN_SECURITY_MIRROR:'
	@echo 'a Debian mirror other than that of the apt sources.'

deps:
	@$(VM)/deps

fetch:
	@for part in qemu qemu-arm libs-arm64 herd7 sparse; do $(VM)/fetch $$part --refresh || exit 1; done
	@for line in $(notdir $(wildcard kpatch/[0-9]*)); do XPIN_KERNEL=$$line $(VM)/fetch kernel --refresh || exit 1; done
	@$(VM)/fetch stocks
	@for release in bookworm trixie; do for kind in dkms build clean; do \
		$(VM)/root $$release $$kind --refresh || exit 1; done; done

kernel:
	@$(VM)/kernel $(PLAIN)

modules:
	@$(VM)/module $(PLAIN)

xpinctl:
	@$(VM)/xpinctl

deb:
	@$(VM)/deb $(XPIN_RELEASE)

litmus:
	@$(VM)/litmus

kunit:
	@$(VM)/kunit uml

kunit-kasan:
	@$(VM)/kunit uml-kasan

e2e:
	@$(VM)/e2e $(PLAIN) $(RUN)

e2e-lockdep:
	@$(VM)/e2e lockdep $(RUN)

e2e-kasan:
	@$(VM)/e2e kasan $(RUN)

dkms:
	@$(VM)/dkms bookworm
	@$(VM)/dkms trixie

packages:
	@$(VM)/packages bookworm
	@$(VM)/packages trixie

check-nops:
	@$(VM)/check-nops

bench:
	@$(VM)/bench

e2e-pkvm:
	@XPIN_KERNEL=$(or $(XPIN_KERNEL),7.3) XPIN_ARCH=arm64 XPIN_BACKEND= $(VM)/e2e pkvm $(RUN)

demo-pkvm:
	@XPIN_KERNEL=$(or $(XPIN_KERNEL),7.3) XPIN_ARCH=arm64 XPIN_BACKEND= $(VM)/e2e pkvm-demo

# On Debian's own kernel, where there is one: nothing to build but the module.
demo:
	@XPIN_BACKEND=$(or $(XPIN_BACKEND),$(if $(filter arm64,$(XPIN_ARCH)),notifier,ftrace)) $(VM)/e2e demo

test:
	@$(VM)/test

test-all:
	@$(VM)/test all

test-debug:
	@$(VM)/test debug

test-stock:
	@$(VM)/test stock

test-long:
	@$(VM)/test long

kpatch-check:
	@$(VM)/kpatch-check

check:
	@$(VM)/check

build-check:
	@$(VM)/build-check

clean-cache:
	@$(VM)/clean-cache

.PHONY: help deps fetch kernel modules xpinctl deb litmus kunit kunit-kasan e2e e2e-lockdep e2e-kasan \
	e2e-pkvm dkms packages check-nops kpatch-check bench demo demo-pkvm test test-all test-debug test-stock test-long check build-check clean-cache
