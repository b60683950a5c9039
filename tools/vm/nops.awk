# SPDX-License-Identifier: GPL-2.0
#
# awk -v line=LINE -f nops.awk DISASSEMBLY RELOCATIONS: with nothing armed, is every site of the hook in
# an object file a NOP, and is there a site where there must be one? Reads objdump -d and
# objdump -r -j __jump_table, and prints TAP.
#
# An entry of the jump table is three relocations: the site, its target, the key. The low
# bits of the key's address are flags. A function has a site if one lies in it, or in a
# function that it calls; the compiler may have inlined it into a caller.

function expect(what, event, functions,    f, i, n, callee, found)
{
	for (f in calls) {
		if (f !~ "^(" functions ")(\\.|$)")
			continue
		n = split(f calls[f], callee, " ")
		for (i = 1; i <= n; i++)
			found = found || (event, callee[i]) in has
	}
	printf "%sok %d %s\n", found ? "" : "not ", ++number, what
}

# The same for what one line of kernels does not have.
function expect_but(without, what, event, functions)
{
	if (line == without)
		printf "ok %d %s # SKIP not in %s\n", ++number, what, without
	else
		expect(what, event, functions)
}

FNR == 1 { file++ }

file == 1 && /^Disassembly of section/ {
	section = $4
	sub(/:$/, "", section)
}

file == 1 && /^[0-9a-f]+ <.*>:$/ {
	name = $2
	gsub(/[<>:]/, "", name)
	calls[name] = " "
}

file == 1 && /^ *[0-9a-f]+:\t/ {
	address = $1
	sub(/:$/, "", address)
	split($0, column, "\t")
	code[section, address] = column[3]
	owner[section, address] = name
	if (column[3] ~ /^(call|jmp|bl?$)/ && match($0, /<[^>+]*>$/))
		calls[name] = calls[name] substr($0, RSTART + 1, RLENGTH - 2) " "
}

file == 2 && $2 ~ /^R_(X86_64_PC|AARCH64_PREL)/ {
	split($3, value, /\+0x0*/)
	if (entry++ % 3 == 0) {
		site = value[1] SUBSEP (value[2] == "" ? "0" : value[2])
	} else if (entry % 3 == 0 && value[1] == "gup_pin_notifier_keys") {
		event = value[2] ~ /^[0-3]?$/ ? "PIN" : value[2] ~ /^1[0-3]$/ ? "UNPIN" : "GET"
		sites++
		has[event, owner[site]]
		if (code[site] !~ /^(nop|xchg +%ax,%ax)/)
			print "# " event " in " owner[site] ": " code[site]
		else
			nops++
	}
}

END {
	print "1..16"
	printf "%sok %d all %d sites are NOPs\n", sites && nops == sites ? "" : "not ", ++number, sites
	expect("GUP-fast asks", "PIN", "gup_fast_.*|internal_get_user_pages_fast")
	expect("a grab by a page table entry asks", "PIN", "follow_page_pte|follow_page_mask|follow_p[mu]d_mask|try_grab_page_asking")
	expect("a grab by a huge entry asks", "PIN", "follow_huge_p[mu]d|follow_p[mu4g]*d_mask|follow_page_mask|__get_user_pages|try_grab_folio_asking")
	expect_but("6.1", "memfd_pin_folios asks", "PIN", "memfd_pin_folios")
	expect("unpin_user_page tells", "UNPIN", "unpin_user_page")
	expect_but("6.1", "unpin_user_folio tells", "UNPIN", "unpin_user_folio")
	expect_but("6.1", "unpin_folio tells", "UNPIN", "unpin_folio")
	expect("unpin_user_pages tells", "UNPIN", "unpin_user_pages")
	expect_but("6.1", "unpin_folios tells", "UNPIN", "unpin_folios")
	expect("unpin_user_pages_dirty_lock tells", "UNPIN", "unpin_user_pages_dirty_lock")
	expect("unpin_user_page_range_dirty_lock tells", "UNPIN", "unpin_user_page_range_dirty_lock")
	expect("GUP-fast's fork race tells", "UNPIN", "gup_fast_fallback|gup_fast|internal_get_user_pages_fast")
	expect("migration before long-term pins tells", "UNPIN", "check_and_migrate_movable.*|migrate_longterm.*|__gup_longterm_locked")
	expect("the drop of a large folio's pins is ordered", "PIN", "gup_put_folio")
	expect_but("6.1", "a late failure in the slow path tells", "UNPIN", "__get_user_pages")
}
