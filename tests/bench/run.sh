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
# which one bench makes its own, need a disk.
memory=${TMPDIR:-/tmp}
[[ $(stat -f -c %T /dev/shm 2>/dev/null) == tmpfs ]] && memory=/dev/shm
for b in "$@"; do
	tmp=$memory
	[[ $b == *swap* ]] && tmp=${TMPDIR:-/tmp}
	# The test library speaks too; the figures are the lines that are JSON.
	if ! TMPDIR=$tmp timeout --kill-after=10 300 "$b" 2>/dev/null | grep '^{'; then
		printf '{"bench":"%s","error":"failed"}\n' "$(basename "$b" | sed 's/^bench_//')"
		failed=1
	fi
done
exit "$failed"
