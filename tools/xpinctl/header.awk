# SPDX-License-Identifier: GPL-2.0
# awk -f versions.awk -f header.awk versions.tsv: the kernels of the module's table, for doctor's.

{
	rows = rows "\t{ " number($2) ", " number($3) " }, \\\n"
}

END {
	if (!names)
		exit 1
	print "/* SPDX-License-Identifier: GPL-2.0 */"
	print "#define SUPPORTED_NAMES \"" names "\""
	print "#define SUPPORTED_RANGES { \\\n" rows "}"
}
