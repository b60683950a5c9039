# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# Sourced, after lib.sh, by what downloads from Debian.
#
# Works as an ordinary user: apt gets a state, a cache and a source list of its own. The
# rest of the machine's apt configuration (proxies, Acquire::*) stays in force. The mirror
# comes from the machine's own sources; XPIN_MIRROR and XPIN_SECURITY_MIRROR override it.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

need apt debian-archive-keyring
case $host in
bookworm | trixie) ;;
*) die "this works on Debian 12 and 13 only, and this is '$host'" ;;
esac

# mirrors OVERRIDE SUITE...: where the machine's own sources find these suites.
mirrors()
{
	local suites

	if [ -n "$1" ]; then
		echo "$1"
		return
	fi
	suites=$(IFS='|' && echo "${*:2}")
	mkdir -p "$cache/apt/probe/lists/partial"
	apt-get -o Dir::State="$cache/apt/probe" --print-uris update 2>/dev/null |
		sed -En "s#^'(.*)/dists/($suites)/main/binary-.*#\1#p" | sort -u
}

private_apt()
{
	APT_CONFIG=$dir/apt.conf "$@"
}

# update NAME ENTRY...: read the package lists of these "MIRROR SUITE" entries. They are for
# $debian_arch, whatever the machine is; or for several, with commas between them, of which the first
# is meant where none is named.
debian_arch=amd64
update()
{
	dir=$cache/apt/$1-$debian_arch
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/state/status"
	cat >"$dir/apt.conf" <<-END
		Dir::State "$dir/state";
		Dir::State::status "$dir/state/status";
		Dir::Cache "$dir/cache";
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		APT::Architecture "${debian_arch%%,*}";
		APT::Architectures "$debian_arch";
		APT::Sandbox::User "root";
	END
	printf "deb [arch=$debian_arch signed-by=$keyring] %s main\n" "${@:2}" >"$dir/sources.list"
	private_apt apt-get -o APT::Update::Error-Mode=any update
}

# try_mirrors COMMAND: call it with a mirror and a security mirror until one does. Another
# vendor may use Debian's suite names: the signature tells who is Debian.
try_mirrors()
{
	local main security

	for main in $(mirrors "${XPIN_MIRROR-}" "$host" stable oldstable); do
		for security in $(mirrors "${XPIN_SECURITY_MIRROR-}" {"$host",stable,oldstable}-security) \
			"${main%/}-security"; do
			"$1" "$main" "$security" && return
		done
	done
	echo "no Debian mirror found in this machine's apt sources answers: set XPIN_MIRROR," \
		"and XPIN_SECURITY_MIRROR if it is elsewhere"
	return 1
}
