# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Sourced by the scripts in this directory: where the cache is, how a step is
# reported, how missing packages are named, how work is locked and keyed.
#
# Whatever lies in the cache is either complete or not there under its name:
# it is made under a temporary name and renamed, or has a stamp written last.

set -euo pipefail
export LC_ALL=C
# mke2fs and others are not in an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin
# What a calling make or a kernel developer's shell exports must not reach our builds.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES ARCH SUBARCH CROSS_COMPILE LLVM \
	KBUILD_OUTPUT KCONFIG_CONFIG KCONFIG_ALLCONFIG KCFLAGS KBUILD_EXTRA_SYMBOLS

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/xpin
jobs=${XPIN_JOBS:-$(nproc)}
# The kernel's line and the processor that everything is built and run for.
line=${XPIN_KERNEL:-6.12}
machine=${XPIN_ARCH:-x86_64}
# The Debian release of this machine.
# shellcheck source=/dev/null
host=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
lines=$(cd "$top/kpatch" && echo [0-9]*/ | tr -d /)

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# Debian's own kernels, each with the release that it is of, and what Debian calls the processor.
stocks='6.1-bookworm 6.12-bookworm 6.12-trixie 7.3-trixie'
debian=${machine/x86_64/amd64}

# stock_of: set $stock to the release whose kernel is meant: the one that was asked for, else this
# machine's, if it has the line, else the last that has it. And $stock_name to what it is called in
# the cache.
stock_of()
{
	local each has=''

	for each in $stocks; do
		[ "${each%-*}" != "$line" ] || has+=" ${each#*-}"
	done
	stock=${XPIN_RELEASE:-$host}
	if [[ "$has " != *" $stock "* ]]; then
		[ -z "${XPIN_RELEASE-}" ] || die "there is no $line of Debian '$stock', but of:$has"
		stock=${has##* }
	fi
	stock_name=$line-$stock
	[ "$debian" = amd64 ] || stock_name+=-$debian
}

[ -d "$top/kpatch/$line" ] || die "there is no patch for Linux '$line', but for: $lines"

# What tells the module about pins, a patch or ftrace, decides which kernel is the plain one: that of
# our own or Debian's.
case ${XPIN_BACKEND:-notifier} in
notifier) plain=plain ;;
ftrace) plain=stock ;;
*) die "no such backend: '$XPIN_BACKEND' (notifier, ftrace)" ;;
esac

# need PACKAGE...: one line that names every Debian package that is not installed.
need()
{
	local have missing='' package

	command -v dpkg-query >/dev/null ||
		die "this works on Debian 12 and 13 only: there is no dpkg here"
	have=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
	for package; do
		[[ $have == *" installed:$package "* ]] || missing+=" $package"
	done
	[ -z "$missing" ] || {
		echo "missing:$missing (run 'sudo make deps')" >&2
		exit 1
	}
}

# lock NAME: held until unlock, or until this process and what it started has ended.
declare -A locks
lock()
{
	local fd

	mkdir -p "$cache/lock" "$cache/log"
	exec {fd}>"$cache/lock/$1"
	flock "$fd"
	locks[$1]=$fd
}

unlock()
{
	local fd=${locks[$1]}

	exec {fd}>&-
}

# key: a short name for what is read from standard input.
key()
{
	sha256sum | cut -c1-12
}

# step TEXT LOG COMMAND...: run it with its output in LOG, say how long it took. Never
# call this in a condition, where the shell ignores a command that fails.
step_log=
exec {terminal}>&2
step()
{
	local start=$SECONDS

	step_log=$2
	printf '%s ... ' "$1" >&2
	"${@:3}" >"$2" 2>&1
	step_log=
	echo "$((SECONDS - start)) s" >&2
}

finish()
{
	local status=$?

	if [ -n "$step_log" ]; then
		{
			echo "failed:"
			tail -n 15 "$step_log"
			echo "log: $step_log"
		} >&"$terminal"
	fi
	[ -z "${tmp:-}" ] || rm -rf "$tmp"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The compiler as kbuild is to call it. ccache's results do not depend on where they were made,
# and with its "depend" mode a build that finds nothing there is a quarter faster.
cross=
case $machine in
x86_64) ;;
arm64) cross=aarch64-linux-gnu- ;;
*) die "no such architecture: '$machine' (x86_64, arm64)" ;;
esac
cc=(ARCH=$machine CROSS_COMPILE=$cross CC=${cross}gcc HOSTCC=gcc)
clang=(ARCH="$machine" LLVM=-19)
if command -v ccache >/dev/null; then
	clang+=(CC='ccache clang-19' HOSTCC='ccache clang-19')
	cc=(ARCH=$machine CROSS_COMPILE=$cross CC="ccache ${cross}gcc" HOSTCC='ccache gcc')
	export CCACHE_DIR=$cache/ccache CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 CCACHE_MAXSIZE=4G
fi

# Copies of our sources get no times: a file that did not change is not built again.
# What a build in the checkout may have left there stays out, what one left here stays.
sync=(rsync -rc --delete --exclude=.* --exclude=*.o --exclude=*.ko --exclude=*.mod
	--exclude=*.mod.c --exclude=Module.symvers --exclude=modules.order --exclude=probed.h)

# unpack PART DIR: the packages that were fetched for it.
unpack()
{
	local deb

	[ ! -e "$2" ] || return 0
	lock "unpack-$1"
	[ ! -e "$2" ] || return 0
	mkdir -p "$cache/tools"
	tmp=$(mktemp -d "$cache/tools/tmp.XXXXXX")
	while read -r deb; do
		dpkg -x "$cache/debs/$deb" "$tmp"
	done <"$cache/fetched/$1"
	mv "$tmp" "$2"
	tmp=
}

# judge LABEL DIR RESULTS [CONSOLE]: the tests and the counts of a run; fails as they do.
judge()
{
	awk -v label="$1: " -f "$top/tools/vm/ktap.awk" "${@:3}" && return
	echo "log: $2" >&2
	return 1
}

# end_reached RESULTS: a guest that ended before its tests did is a failure.
end_reached()
{
	[ "$(tail -n 1 "$1")" = '# end of tests' ] ||
		echo 'Bail out! the guest did not come to the end of its tests' >>"$1"
}

# patched_objects ARCHITECTURE: what the line's patches change, for that one.
patched_objects()
{
	sed -n "s#^+++ b/\(\(mm\|arch/${1/x86_64/x86}\)/.*\)\.c\$#\1.o#p" "$top/kpatch/$line"/*.patch
}

# These take a lock and leave it to another function to drop it, or the other way round. sparse says
# so of the same ones without the patches.
unbalanced='follow_page_pte get_gate_page gup_fast_pte_range
	__pmd_trans_huge_lock __pud_trans_huge_lock __split_huge_page change_huge_pmd madvise_free_huge_pmd
	move_huge_pmd split_huge_page_to_list zap_huge_pmd zap_huge_pud
	allocate_file_region_entries demote_free_huge_page follow_hugetlb_page hugetlb_wp move_huge_pte
	region_add region_chg'

# sparse_patched BUILD MAKE-ARGUMENT...: what sparse says of these objects, and not of the vdso, which
# is built first.
sparse_patched()
{
	local said objects known status=0

	# shellcheck disable=SC2086
	known=$(printf "imbalance in '%s'\n" $unbalanced)
	mapfile -t objects < <(patched_objects "$machine")
	said=$(make -C "$1" -j"$jobs" "${@:2}" W=1 C=2 CHECK="$top/tools/vm/sparse" "${objects[@]}" 2>&1) || status=1
	echo "$said"
	[ $status = 0 ] && grep -q '^ *CHECK .*mm/gup\.c$' <<<"$said" &&
		! grep -i 'warning\|error:\|not available' <<<"$said" | grep -v /vdso/ | grep -vF "$known"
}

# What a run is called: in its directory's name and in its results.
kernel=$line-$machine

build_packages='gcc make flex bison bc libelf-dev rsync patch xz-utils binutils perl'
qemu_package=qemu-system-x86
# What boots, in a kernel's build directory.
image=vmlinux
if [ "$machine" = arm64 ]; then
	build_packages+=' gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
	qemu_package=qemu-system-arm
	image=arch/arm64/boot/Image
fi
