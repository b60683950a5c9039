# SPDX-License-Identifier: GPL-2.0
# awk -f versions.awk -f WHAT.awk versions.tsv: read the table for WHAT, which has a rule for each range
# of kernels, columns 2 and 3. At the end names has the lines, separated by commas.

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

!($1 in seen) {
	names = names (names ? ", " : "") $1
	seen[$1] = 1
}
