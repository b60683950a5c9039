# SPDX-License-Identifier: GPL-2.0
# awk -v kernel=VERSION -f versions.awk -f refusal.awk versions.tsv: why a kernel is refused; nothing if
# it is not.

number($2) <= number(kernel) && number(kernel) < number($3) {
	supported = 1
}

END {
	if (!supported)
		print "Linux " kernel " is not a kernel that xpin supports (" names \
			"): to try it anyway, build with XPIN_TRY_ANYWAY=1 in the environment"
}
