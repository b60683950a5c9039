# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Completion of xpinctl for bash; as .../bash-completion/completions/xpinctl it is loaded on demand.

_xpinctl()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' words='' numbers=0 i pids

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--length | --attack | --file | --block) ((i++)) ;;
		-* | =) ;;
		*) if [ -z "$command" ]; then command=${COMP_WORDS[i]}; else ((numbers++)); fi ;;
		esac
	done
	case $previous in
	--kind) words='anon thp memfd hugetlb' ;;
	--attack) words='process_vm_readv process_vm_writev io_uring AF_XDP udmabuf O_DIRECT AIO' ;;
	--file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--block)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "${current:-/dev/}")
		return
		;;
	# Numbers.
	--size | --length | --timeout) return ;;
	esac
	if [ -z "$words" ]; then
		case $command in
		'') words='status hold probe query doctor --help --version' ;;
		hold) words='--size --kind --file --share --deny-get --timeout' ;;
		probe) words='--length --attack --show --get --write --file --block' ;;
		query) words='--length' ;;
		esac
		words+=' --json'
		case $command$numbers in
		probe0 | query0)
			# Those whose name is a number.
			pids=$(cd /proc && echo [0-9]*)
			[[ $current == -* ]] || words=$pids
			;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _xpinctl xpinctl
