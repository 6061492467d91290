#!/usr/bin/env bash
# Shows culprit at work on this machine, in under a minute: CPU, GPU and swap, with real work and real
# kernel events. Everything happens in cgroups that it makes; nothing of it stays, also after Ctrl-C.
#
#   make demo      or      scripts/demo.sh        (as root)
#
# TMPDIR (default /var/tmp) has to have room for a swap file of 256 MiB if the machine has no swap.
set -Eeuo pipefail
# Nothing should fail without saying so; this is for what nobody thought of.
trap 'printf "demo: line %s failed: %s\n" "$LINENO" "$BASH_COMMAND" >&2' ERR
cd "$(dirname "$0")/.."
set -- "$PWD/scripts/demo.sh" "$@"

# An ordinary user's PATH (and some su) lacks these on Debian; swapon, losetup and bpftool live there.
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

build=$PWD/build
load=$build/tests/demo/load
name=culprit-demo-$$
pins=/sys/fs/bpf/$name
tmp='' cg='' v1='' mount='' gpu='' last='' event='' agent='' janitor=''

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
	bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
else
	bold='' dim='' plain=''
fi

say() { printf '%s\n' "$*"; }
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s  %s%s\n' "$dim" "$*" "$plain"; }
die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# shellcheck source=scripts/demo/stage.sh disable=SC1091
. scripts/demo/stage.sh

interrupted() {
	trap '' INT TERM HUP PIPE
	trap - EXIT
	say
	say "demo: interrupted; putting everything back"
	cleanup
	dismiss_janitor
	exit 130
}

# shellcheck disable=SC2317  # called by the trap
ended() {
	local status=$?
	trap '' INT TERM HUP PIPE
	cleanup
	dismiss_janitor
	exit "$status"
}

build_all() {
	scripts/deps.sh --demo
	scripts/as-owner.sh make --no-print-directory -s build/culpritd build/culprit build/tests/demo/load
}

# --- watching -----------------------------------------------------------------------------------

# KEY: a number or a string of the JSON line on stdin; nothing when it has none
field() {
	grep -oE "\"$1\": *(\"([^\"\\\\]|\\\\.)*\"|[^,}]*)" | head -n 1 | sed -E 's/^"[^"]*": *//; s/^"(.*)"$/\1/' || true
}

# wait_event EVENT POLICY SECONDS: the first such event after the last one that was waited for, in $event
seen=0
wait_event() {
	local i found
	for ((i = 0; i < $3 * 20; i++)); do
		lives "$agent" || break
		found=$(awk -v from="$seen" -v kind="\"event\": *\"($1)\"" -v policy="\"policy\": *\"$2\"" \
			'NR > from && $0 ~ kind && $0 ~ policy { print NR " " $0; exit }' "$tmp/events")
		if [[ -n $found ]]; then
			seen=${found%% *} event=${found#* }
			return 0
		fi
		sleep 0.05
	done
	say
	say "demo: no '$1' event of $2 came within $3 s, or the agent ended; what it says:" >&2
	cat "$tmp/agent.log" "$tmp/events" >&2
	client status >&2 || true
	exit 1
}

# The event's latency, where the agent could tell it.
after() { # WHAT
	local us
	us=$(field latency_us <<<"$event")
	[[ -z $us ]] || awk -v us="$us" -v what="$1" 'BEGIN { printf ", %.2f ms after %s", us / 1000, what }'
}

why() { note "why: $(field reason <<<"$event")"; }
cpu_used() { awk '$1 == "usage_usec" { print $2 }' "$cg/$1/cpu.stat"; }
pswpin() { awk '$1 == "pswpin" { print $2 }' /proc/vmstat; }

# What cpu.stat, which is not ours, says of a cgroup that is held.
witness() { # CGROUP
	local before after
	before=$(cpu_used "$1")
	sleep 1
	after=$(cpu_used "$1")
	note "for a second from now on its cpu.stat counts $((after - before)) µs of CPU time"
}

# --- the three scenes ---------------------------------------------------------------------------

scene_cpu() {
	local job
	title "1. CPU: background work makes room when the foreground is busy"
	start background "$load" spin
	job=$last
	note "a background job, pid $job, keeps a CPU busy; it is to yield when the foreground uses 0.05 CPUs"
	sleep 0.5
	start foreground "$load" spin 3
	say "  a foreground program starts, pid $last, and works for 3 s …"
	wait_event frozen foreground-first 10
	say "  ${bold}frozen${plain}: the background job$(after "the kernel saw that much used")"
	why
	witness background
	wait_event thawed foreground-first 20
	say "  ${bold}thawed${plain}: the foreground has been quiet for 2 s, the job goes on"
	end_work background "$job" "$last"
}

scene_gpu() {
	local job try
	title "2. GPU: the job on it makes room for whoever opens it"
	start gpu-job "$load" spin
	job=$last
	note "a job, pid $job, is at work; it is to yield when somebody else opens $gpu"
	sleep 0.3
	for ((try = 1; try <= 3; try++)); do
		start gpu-user "$load" hold "$gpu" 2
		say "  somebody opens it, pid $last, and keeps it for 2 s …"
		wait_event frozen gpu-wanted 10
		say "  ${bold}frozen${plain}: the job$(after "the open")"
		why
		[[ $(field pid <<<"$event") != "$last" ]] || break
		note "that was a program of yours that uses a device with the same number; once more"
		wait_event thawed gpu-wanted 60
	done
	witness gpu-job
	wait_event thawed gpu-wanted 20
	say "  ${bold}thawed${plain}: nobody has had it open for 2 s, the job goes on"
	end_work gpu-job "$job" "$last"
}

# Swap-ins since the agent started: of PID, and of all together (kernel threads among them), and what
# pswpin stood at. Other work may be swapping: a moment is waited for in which it does not.
swap_ins() { # PID
	local i before
	for ((i = 0; i < 20; i++)); do
		before=$(pswpin)
		client top --once --json >"$tmp/top"
		counter=$(pswpin)
		((counter != before)) || break
	done
	one=$(pages_of "\"pid\": *$1,")
	all=$(pages_of '"path": *"/",')
	all=$((all + $(grep -oE '"kernel": *\{[^{}]*\}' "$tmp/top" | field swapin_pages)))
}

# The swap-ins of the object of $tmp/top that has this member; one without any need not be there.
pages_of() { # MEMBER
	local pages
	pages=$(grep -oE "\{[^{}]*$1[^{}]*\}" "$tmp/top" | field swapin_pages) || true
	echo "${pages:-0}"
}

scene_swap() {
	local begin begin_all one all counter
	title "3. Swap: who thrashes is named exactly, and frozen"
	make_swap
	swap_ins 0
	begin=$counter begin_all=$all
	start thrasher "$load" thrash 128
	say "  a program starts, pid $last, that touches 128 MiB at random where it may have 64 MiB …"
	wait_event 'frozen|stopped' thrashing 30
	say "  ${bold}frozen${plain}: pid $last, whose memory does not fit"
	why
	# What was under way when it was frozen has to arrive.
	sleep 0.3
	swap_ins "$last"
	say "  pages swapped in, as culprit counted: ${bold}$one${plain} by pid $last, $((all - begin_all - one)) by everybody else"
	say "  pages swapped in, as the kernel's own counter (pswpin) has it: ${bold}$((counter - begin))${plain} for the whole machine"
}

show() {
	local begin=$EPOCHREALTIME left
	title "culprit: says what makes this machine slow, stops it in time, and always lets it go again"
	note "Linux $(uname -r), $(nproc) CPUs. The agent may touch nothing but /$name, cgroups made for this show."
	make_cgroups
	choose_gpu
	limit_memory
	write_config
	start_agent
	scene_cpu
	scene_gpu
	scene_swap
	title "\$ culprit top --once"
	client top --once
	for left in background-job gpu-job "pid:$last"; do
		title "\$ culprit why $left"
		client why "$left"
	done
	cleanup
	left=$(leftovers)
	[[ -z $left ]] || die "this was left behind:"$'\n'"$left"
	title "$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "That took %.0f s.", b - a }') Nothing is left of it: no cgroup, pin, swap, loop device, node, file or process."
}

main() {
	local self=$1
	if [[ ${2:-} == --clean-up-after ]]; then
		janitor_main "$3" "$4"
		exit 0
	fi
	((EUID == 0)) || die "it loads BPF programs and freezes cgroups, so it has to be root: sudo make demo"
	build_all
	find_hierarchies
	# Made under a name that nobody could guess, and known before it is there.
	tmp=${TMPDIR:-/var/tmp}/$name-$SRANDOM
	trap ended EXIT
	trap interrupted INT TERM HUP PIPE
	if ! mkdir -m 755 "$tmp"; then
		tmp=''
		die "${TMPDIR:-/var/tmp} cannot be written; set TMPDIR to a directory on a disk"
	fi
	start_janitor "$self"
	show
}

main "$@"
