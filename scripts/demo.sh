#!/usr/bin/env bash
# Shows culprit at work on this machine, in under a minute: CPU, GPU and swap, with real work and real
# kernel events. Everything happens in cgroups that it makes; nothing of it stays, also after Ctrl-C.
#
#   make demo      or      scripts/demo.sh        (as root)
set -euo pipefail
cd "$(dirname "$0")/.."

# An ordinary user's PATH (and some su) lacks these on Debian; swapon, losetup and bpftool live there.
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

name=culprit-demo-$$
tmp='' cg='' v1='' agent='' follow='' swap='' loop='' node='' enabled_memory=''
children=()

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
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

# --- the way out --------------------------------------------------------------------------------

kill_cgroup() { # DIR: ends whatever runs in it and below
	[[ -d $1 ]] || return 0
	local file pid
	while IFS= read -r file; do
		echo 0 2>/dev/null >"${file%/*}/cgroup.freeze" || true
		while IFS= read -r pid; do
			kill -KILL "$pid" 2>/dev/null || true
			kill -CONT "$pid" 2>/dev/null || true
		done <"$file"
	done < <(find "$1" -name cgroup.procs 2>/dev/null)
}

remove_cgroup() { # DIR: bottom up; a killed task leaves its cgroup a little later
	local i
	for ((i = 0; i < 100; i++)); do
		[[ -d $1 ]] || return 0
		find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
		[[ -d $1 ]] || return 0
		sleep 0.05
	done
	printf 'demo: %s could not be removed\n' "$1" >&2
}

cleanup() {
	local pid
	trap - EXIT
	trap '' INT TERM HUP
	if [[ -n $follow ]]; then
		kill "$follow" 2>/dev/null || true
		wait "$follow" 2>/dev/null || true
	fi
	if [[ -n $agent ]]; then
		kill -TERM "$agent" 2>/dev/null || true
		wait "$agent" 2>/dev/null || true
	fi
	[[ -z $tmp ]] || "$build/culpritd" --release --state-dir "$tmp/state" --pin-dir "/sys/fs/bpf/$name" \
		>/dev/null 2>&1 || true
	[[ -z $cg ]] || kill_cgroup "$cg"
	for pid in ${children[@]+"${children[@]}"}; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	[[ -z $cg ]] || remove_cgroup "$cg"
	[[ -z $v1 ]] || remove_cgroup "$v1"
	[[ -z $enabled_memory ]] || echo -memory 2>/dev/null >"$mount/cgroup.subtree_control" || true
	[[ -z $swap ]] || swapoff "$swap" || true
	[[ -z $loop ]] || losetup -d "$loop" || true
	[[ -z $node ]] || rm -f "$node"
	[[ -z $tmp ]] || rm -rf "$tmp"
}

interrupted() {
	say
	say "demo: interrupted; cleaning up"
	cleanup
	exit 130
}

# --- getting ready ------------------------------------------------------------------------------

# Under sudo in a user's clone the tree stays the user's: what is built is built as its owner.
build_all() {
	local owner
	owner=$(stat -c %U .)
	scripts/deps.sh
	if [[ $owner != root && $owner != UNKNOWN && $(stat -c %u .) != 0 ]]; then
		runuser -u "$owner" -- make --no-print-directory -s build/culpritd build/culprit build/tests/demo/load
	else
		make --no-print-directory -s build/culpritd build/culprit build/tests/demo/load
	fi
}

# The v2 hierarchy with nothing left out; on a hybrid host it is not /sys/fs/cgroup itself.
find_cgroup2() {
	mount=$(awk '$4 == "/" { for (i = 6; i < NF; i++) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' \
		/proc/self/mountinfo)
	[[ -n $mount ]] || die "no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup"
}

make_cgroups() {
	local g
	cg=$mount/$name
	mkdir "$cg"
	for g in background foreground gpu-job gpu-user thrasher; do
		mkdir "$cg/$g"
	done
}

# 64 MiB for the thrasher, by whichever hierarchy has the memory controller here.
limit_memory() {
	local v1mount
	if grep -qw memory "$mount/cgroup.controllers"; then
		if ! grep -qw memory "$mount/cgroup.subtree_control"; then
			echo +memory >"$mount/cgroup.subtree_control"
			enabled_memory=1
		fi
		echo +memory >"$cg/cgroup.subtree_control"
		echo 64M >"$cg/thrasher/memory.max"
		return
	fi
	v1mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
	[[ -n $v1mount ]] || die "no memory controller on this machine (cgroup_disable=memory?); boot without it"
	v1=$v1mount/$name
	mkdir "$v1"
	echo $((64 << 20)) >"$v1/memory.limit_in_bytes"
}

# A swap file of our own, unless the machine has a real one; zram alone would hide the disk's cost.
make_swap() {
	local file=$tmp/swap
	if awk 'NR > 1 && $1 !~ /zram/ { found = 1 } END { exit !found }' /proc/swaps; then
		note "swap: this machine's own"
		return
	fi
	dd if=/dev/zero of="$file" bs=1M count=256 status=none
	chmod 600 "$file"
	mkswap "$file" >/dev/null
	if swapon -p 32000 "$file" 2>/dev/null; then
		swap=$file
		note "swap: a file of our own, 256 MiB"
		return
	fi
	# Overlay, tmpfs and some others cannot hold a swap file; a loop device over it can.
	modprobe loop 2>/dev/null || true
	loop=$(losetup --find --show "$file") || die "neither a swap file nor a loop device can be had in $tmp"
	swapon -p 32000 "$loop" || die "$loop: swapon failed"
	swap=$loop
	note "swap: a loop device of our own, 256 MiB"
}

# The real GPU where there is a free one; else a node whose driver does nothing (/dev/full's number).
choose_gpu() {
	local real
	for real in /dev/nvidia[0-9]*; do
		[[ -c $real ]] || continue
		if [[ -z $(find /proc/[0-9]*/fd -lname "$real" 2>/dev/null | head -n 1) ]]; then
			gpu=$real
			note "GPU: the real $gpu"
			return
		fi
	done
	for node in "$tmp/nvidia0" "/dev/$name"; do
		mknod "$node" c 1 7
		# A file system mounted nodev makes it but does not open it.
		if : 2>/dev/null <"$node"; then
			gpu=$node
			note "GPU: none that is free here; a stand-in node, $gpu"
			return
		fi
		rm -f "$node"
	done
	die "no directory here lets a device node be opened"
}

write_config() {
	cat >"$tmp/culprit.conf" <<-EOF
		[agent]
		only      = /$name
		state_dir = $tmp/state
		socket    = $tmp/control
		pin_dir   = /sys/fs/bpf/$name
		log_level = warning

		[workload background-hog]
		cgroup = /$name/background

		[workload gpu-job]
		cgroup = /$name/gpu-job

		[policy foreground-first]
		signal = cpu
		of     = cgroup:/$name/foreground
		window = 250ms
		enter  = 0.2cpu
		grace  = 2s
		action = freeze
		target = background-hog

		[policy gpu-wanted]
		signal  = gpu
		devices = $gpu
		grace   = 2s
		action  = freeze
		target  = gpu-job

		[policy thrashing]
		signal = thrash
		action = freeze
		target = offender
	EOF
}

client() { "$build/culprit" --socket "$tmp/control" "$@"; }

start_agent() {
	"$build/culpritd" --config "$tmp/culprit.conf" >"$tmp/agent.log" 2>&1 &
	agent=$!
	local i
	for ((i = 0; i < 200; i++)); do
		client ping >/dev/null 2>&1 && break
		kill -0 "$agent" 2>/dev/null || break
		sleep 0.05
	done
	if ! client ping >/dev/null; then
		cat "$tmp/agent.log" >&2
		die "the agent did not start"
	fi
	client events --follow --json >"$tmp/events" 2>/dev/null &
	follow=$!
}

# Ends the work in a cgroup; without the wait the shell would report each killed child.
end_work() { # DIR
	{
		kill_cgroup "$1"
		wait "${children[@]}" || true
	} 2>/dev/null
	children=()
}

# start CGROUP COMMAND...: runs it there from its first instruction on
start() {
	local group=$cg/$1
	shift
	# shellcheck disable=SC2016  # the inner shell expands these
	sh -c 'echo $$ >"$0/cgroup.procs"; [ -z "$1" ] || echo $$ >"$1/cgroup.procs"; shift; exec "$@"' \
		"$group" "${joined_v1:-}" "$@" >"$tmp/out.${group##*/}" 2>&1 &
	children+=($!)
	last=$!
}

# --- watching -----------------------------------------------------------------------------------

field() { # KEY: a number or a string of the JSON line on stdin
	grep -oE "\"$1\": *(\"([^\"\\\\]|\\\\.)*\"|[^,}]*)" | head -n 1 | sed -E 's/^"[^"]*": *//; s/^"(.*)"$/\1/'
}

# wait_event EVENT POLICY SECONDS: the first such event after those already seen, in $event
seen=0
wait_event() {
	local i
	for ((i = 0; i < $3 * 20; i++)); do
		event=$(tail -n +$((seen + 1)) "$tmp/events" | grep "\"event\": *\"$1\"" | grep "\"policy\": *\"$2\"" |
			head -n 1 || true)
		if [[ -n $event ]]; then
			seen=$(wc -l <"$tmp/events")
			return 0
		fi
		sleep 0.05
	done
	say
	say "demo: no '$1' event of $2 within $3 s; what the agent says:" >&2
	cat "$tmp/agent.log" "$tmp/events" >&2
	client status >&2 || true
	exit 1
}

milliseconds() { awk -v us="${1:-0}" 'BEGIN { printf "%.2f ms", us / 1000 }'; }
pswpin() { awk '$1 == "pswpin" { print $2 }' /proc/vmstat; }

# --- the three scenes ---------------------------------------------------------------------------

scene_cpu() {
	title "1. CPU: background work yields when the foreground wants the machine"
	start background "$load" spin
	note "background hog: pid $last, busy on a CPU"
	sleep 0.5
	say "  a foreground program starts …"
	start foreground "$load" spin 3
	wait_event frozen foreground-first 10
	say "  ${bold}frozen${plain}: /$name/background, $(milliseconds "$(field latency_us <<<"$event")") after the kernel saw the budget crossed"
	note "$(field reason <<<"$event")"
	wait_event thawed foreground-first 20
	say "  ${bold}thawed${plain}: the foreground has been quiet for the grace time of 2 s"
	end_work "$cg/background"
}

scene_gpu() {
	title "2. GPU: the job on it yields to whoever opens it"
	start gpu-job "$load" spin
	note "the job: pid $last"
	sleep 0.3
	say "  someone opens $gpu …"
	start gpu-user "$load" hold "$gpu" 2
	wait_event frozen gpu-wanted 10
	say "  ${bold}frozen${plain}: /$name/gpu-job, $(milliseconds "$(field latency_us <<<"$event")") after the open"
	note "$(field reason <<<"$event")"
	wait_event thawed gpu-wanted 20
	say "  ${bold}thawed${plain}: the GPU has been free for the grace time of 2 s"
	end_work "$cg/gpu-job"
}

scene_swap() {
	local before pid counted
	title "3. Swap: who thrashes is named exactly, and frozen"
	make_swap
	before=$(pswpin)
	joined_v1=$v1 start thrasher "$load" thrash 128
	pid=$last
	say "  a process touches 128 MiB at random where 64 MiB are allowed …"
	wait_event frozen thrashing 20
	sleep 0.3
	counted=$(client top --once --json | grep -o "{[^{}]*\"pid\": *$pid,[^{}]*}" | field swapin_pages)
	say "  ${bold}frozen${plain}: pid $pid"
	note "$(field reason <<<"$event")"
	say "  swap-ins counted for pid $pid: ${bold}${counted:-?}${plain}; the kernel's own pswpin rose by ${bold}$(($(pswpin) - before))${plain}"
}

main() {
	((EUID == 0)) || die "it loads BPF programs and freezes cgroups: run it as root (sudo make demo)"
	build=$PWD/build
	load=$build/tests/demo/load
	trap cleanup EXIT
	trap interrupted INT TERM HUP
	build_all
	tmp=$(mktemp -d "/var/tmp/$name.XXXXXX")
	chmod 755 "$tmp"
	title "culprit: what makes this machine slow, exactly, and stopped in time"
	find_cgroup2
	make_cgroups
	choose_gpu
	limit_memory
	write_config
	start_agent
	note "kernel $(uname -r); the agent acts on /$name only"
	scene_cpu
	scene_gpu
	scene_swap
	title "culprit top --once"
	client top --once
	title "culprit why"
	client why background-hog
	client why gpu-job
	client why "pid:$last"
	cleanup
	title "Everything is gone again: no cgroup, no pin, no swap file, no process."
}

main "$@"
