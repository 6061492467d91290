#!/usr/bin/env bash
# The live tests and every rung on other kernels, with the one binary that was built here; then a table of sense × kernel:
# the source in use, and how what it counted agrees with what was done. Run on the host (make vm-check):
#
#   tests/vm/check.sh KERNEL TIMEOUT [TEST...]      KERNEL as scripts/vm.sh has it, or all
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

(($# >= 2)) || { sed -n "2,5s/^# //p" "$0" >&2; exit 2; }
kernel=$1 timeout=$2
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[[ $kernel == all ]] || echo "=== kernel $kernel" >"$log"
scripts/vm.sh --kernel "$kernel" --mem 1024 --swap 512 --timeout "$timeout" -- tests/vm/live.sh "$@" | tee -a "$log"
status=${PIPESTATUS[0]}

# The rungs stand in the table of tests/vm/rungs best first; the first that is in use is the one that the agent takes.
awk '
	/^=== kernel / { kernel = $3; kernels[++n] = kernel; next }
	$1 == "|" && $2 == "|" { sub(/^ *\| /, "") }
	$1 == "|" && $2 != "sense" && / yes / {
		# "gpu kinds" is two words, and no sense of its own.
		if ($2 == "gpu" && $3 == "kinds")
			next
		if (!($2 in seen))
			senses[++rows] = $2
		seen[$2] = 1
		if (!((kernel, $2) in cell))
			cell[kernel, $2] = $3 " " $5
		next
	}
	/ passed, [0-9]+ failed$/ { total[kernel] = $0 }
	END {
		for (i = 1; i <= n; i++) {
			printf "kernel %s: %s\n", kernels[i], (kernels[i] in total) ? total[kernels[i]] : "did not come to an end"
			for (r = 1; r <= rows; r++)
				printf "  %-8s %s\n", senses[r],
					((kernels[i], senses[r]) in cell) ? cell[kernels[i], senses[r]] : "-"
		}
	}' "$log"
exit "$status"
