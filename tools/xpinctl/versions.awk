# SPDX-License-Identifier: GPL-2.0
# awk -f versions.awk versions.tsv: the kernels of the module's table, for doctor's.

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
	rows = rows "\t{ " number($2) ", " number($3) " }, \\\n"
	if (!($1 in seen))
		names = names (names ? ", " : "") $1
	seen[$1] = 1
}

END {
	if (!names)
		exit 1
	print "/* SPDX-License-Identifier: GPL-2.0 */"
	print "#define SUPPORTED_NAMES \"" names "\""
	print "#define SUPPORTED_RANGES { \\\n" rows "}"
}
