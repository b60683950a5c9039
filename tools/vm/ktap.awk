# SPDX-License-Identifier: GPL-2.0
#
# awk -f ktap.awk [-v label=NAME] RESULTS [CONSOLE]: judge a run. Reads TAP and nested KTAP,
# among kernel messages too; a second file is searched for the kernel's complaints only
# (the first is always). Prints one line per leaf test and per problem, then the counts.
# A missing plan, a missing or surplus result and a complaint each count as a failure.

function problem(text)
{
	print "not ok - " label text
	failed++
}

# No more results come at this depth: was it all that the plan announced?
function close_block(depth)
{
	if (depth in planned || seen[depth])
		close_block(depth + 1)
	if (depth in planned && planned[depth] != seen[depth])
		problem((subtest[depth] ? subtest[depth] ": " : "") planned[depth] \
			" results planned, " seen[depth] + 0 " seen")
	# A parameterized KUnit test announces no plan for its parameters.
	if (!(depth in planned) && seen[depth] && depth < 2)
		problem((subtest[depth] ? subtest[depth] ": " : "") "results without a plan")
	delete planned[depth]
	delete seen[depth]
	delete subtest[depth]
	delete failures[depth]
}

function depth_of(text)
{
	match(text, /^ */)
	return int(RLENGTH / 4)
}

{
	sub(/\r$/, "")
	sub(/^\[ *[0-9]+\.[0-9]+\] /, "")
}

/BUG:|WARNING: |------------\[ cut here|Oops|Kernel panic|general protection fault/ ||
/possible (circular|recursive|irq lock)|inconsistent lock state|suspicious RCU|sleeping function/ ||
/soft lockup|INFO: task .* blocked|rcu: INFO:|new suspected memory leaks|Bad page (state|map)/ {
	if (!complaints++)
		problem("the kernel complained: " $0)
}

FILENAME != ARGV[1] && FNR != NR { next }

/^ *# Subtest: / {
	depth = depth_of($0)
	close_block(depth)
	name = $0
	sub(/^ *# Subtest: /, "", name)
	subtest[depth] = name
	next
}

/^ *1\.\.[0-9]+( |$)/ {
	depth = depth_of($0)
	if (depth in planned || seen[depth]) {
		name = subtest[depth]
		close_block(depth)
		subtest[depth] = name
	}
	plan = $1
	sub(/^1\.\./, "", plan)
	planned[depth] = plan + 0
	next
}

/^ *(not )?ok [0-9]+( |$)/ {
	depth = depth_of($0)
	bad = $1 == "not"
	number = bad ? $3 : $2
	name = $0
	sub(/^ *(not )?ok [0-9]+ *(- )?/, "", name)
	parent = (depth + 1) in planned || seen[depth + 1]
	explained = failures[depth + 1]
	close_block(depth + 1)
	if (number != ++seen[depth])
		problem("result " number " where " seen[depth] " was due: " name)
	if (subtest[depth])
		name = subtest[depth] ": " name
	if (bad && name !~ /# SKIP/)
		failures[depth]++
	if (parent && (!bad || explained))
		next
	if (name ~ /# SKIP/) {
		skipped++
		print "ok - " label name
	} else if (bad) {
		problem(name)
	} else {
		passed++
		print "ok - " label name
	}
	next
}

/^ *Bail out!/ { problem($0) }

# What the tests have to say, without the headings.
/^ *# / && !/^ *# (program |end of tests|module:|Totals:|.*: pass:|[^ ]*\.speed:)/ { print }

END {
	close_block(0)
	if (!passed && !failed && !skipped)
		problem("no results")
	printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
	exit failed > 0
}
