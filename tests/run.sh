#!/usr/bin/env bash
# Runs test programs one after the other and sums up what cmocka says of them.
#
#   tests/run.sh [PROGRAM...] [--live PROGRAM...]
#
# Those behind --live need root and a kernel that loads BPF: without either this fails, it never
# skips (a green run must mean that the programs ran in a kernel).
set -uo pipefail

if [[ " $* " == *' --live '* ]] && ((EUID != 0)); then
	echo "run.sh: the live tests load BPF programs and freeze cgroups; run them as root" >&2
	exit 1
fi
if (($# == 0)); then
	echo "run.sh: no test programs given" >&2
	exit 1
fi

# What a test leaves that was killed outright: its cgroups, named after its pid, with all that is in them.
sweep() {
	local mount root dir
	mount=$(awk '$4 == "/" && / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
	for root in "$mount"/culprit-test-[0-9]*; do
		[[ -d $root && ! -d /proc/${root##*-} ]] || continue
		for dir in "$root" "$root"/*/; do echo 0 >"$dir/cgroup.freeze"; done
		echo 1 >"$root/cgroup.kill"
		for ((i = 0; i < 100; i++)); do
			find "$root" -depth -type d -exec rmdir {} + && break
			sleep 0.02
		done
	done
} 2>/dev/null

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$@"; do
	if [[ $t == --live ]]; then
		echo "live tests, on Linux $(uname -r):"
		continue
	fi
	# Some take half a minute: whoever looks on wants to see which one.
	[[ ! -t 1 ]] || printf '...   %s\r' "$(basename "$t")"
	start=$EPOCHREALTIME
	# A hanging test is a failing test; live tests that take minutes do not belong into check.
	timeout --kill-after=10 "${CULPRIT_TEST_TIMEOUT:-240}" "$t" >"$log" 2>&1
	rc=$?
	((rc < 128)) || sweep
	took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	ok=$(grep -c '^\[       OK \]' "$log")
	bad=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
	# cmocka lists each failure twice: where it happened and in the summary.
	bad=$(((bad + 1) / 2))
	if ((rc != 0 && bad == 0)) || ((rc == 0 && ok == 0)); then
		bad=1
	fi
	passed=$((passed + ok)) failed=$((failed + bad))
	if ((rc == 0 && bad == 0)); then
		printf 'ok    %-36s %3d tests %6s s\n' "$(basename "$t")" "$ok" "$took"
		grep '^| ' "$log" # a table, for people
	else
		printf 'FAIL  %-36s %3d ok, %d failed, exit %d, %s s\n' "$(basename "$t")" "$ok" "$bad" "$rc" "$took"
		# Of those that passed nobody needs to read.
		awk '/^\[ RUN / { run = $0; next } /^\[       OK / { run = ""; next }
			run { print "      | " run; run = "" } { print "      | " $0 }' "$log"
	fi
done
echo "$passed passed, $failed failed"
((failed == 0))
