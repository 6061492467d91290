#!/usr/bin/env bash
# Runs the benches; each prints one JSON object on one line. The load of the machine goes beside them,
# because a figure without it says little.
set -uo pipefail

if ((EUID != 0)); then
	echo "bench: the benches load BPF programs and freeze cgroups of their own; run them as root" >&2
	exit 1
fi
failed=0
printf '{"bench":"machine","kernel":"%s","cpus":%d,"load":"%s"}\n' "$(uname -r)" "$(nproc)" \
	"$(cut -d' ' -f1-3 /proc/loadavg)"
# The state directory is in /run, which is memory everywhere but in some containers. Swap files, of
# which some benches make their own, need a disk, which they keep so busy that an agent that writes
# to it as well waits for seconds.
memory=${TMPDIR:-/tmp}
[[ $(stat -f -c %T /dev/shm 2>/dev/null) == tmpfs ]] && memory=/dev/shm
for b in "$@"; do
	limit_s=300
	# Two workloads with two turns each, of a minute at the most.
	[[ $b == *turns* ]] && limit_s=600
	# The test library speaks too; the figures are the lines that are JSON.
	if ! TMPDIR=$memory CULPRIT_SWAP_DIR=${TMPDIR:-/tmp} timeout --kill-after=10 "$limit_s" "$b" 2>/dev/null | grep '^{'; then
		printf '{"bench":"%s","error":"failed"}\n' "$(basename "$b" | sed 's/^bench_//')"
		failed=1
	fi
done
exit "$failed"
