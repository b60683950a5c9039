# SPDX-License-Identifier: GPL-2.0
# awk -v kernel=VERSION -f refusal.awk versions.tsv: why a kernel is refused; nothing if it is not.

function number(version, part)
{
	split(version, part, ".")
	return (part[1] * 1000 + part[2]) * 1000 + part[3]
}

BEGIN {
	FS = "\t"
}

/^#/ {
	next
}

{
	if (number($2) <= number(kernel) && number(kernel) < number($3))
		supported = 1
	if (!($1 in seen))
		names = names (names ? ", " : "") $1
	seen[$1] = 1
}

END {
	if (!supported)
		print "Linux " kernel " is not a kernel that xpin supports (" names \
			"): to try it anyway, build with XPIN_TRY_ANYWAY=1 in the environment"
}
