# shellcheck shell=bash disable=SC2154,SC2034  # demo.sh has the rest of the variables
# The stage of the demo: what it sets up on the machine, and how all of that goes away again.
# Sourced by ../demo.sh.
#
# Whatever is made has a name that follows from $name and $tmp, which are known before anything is
# made. So cleanup() needs no memory of what was done: it may be called at any moment, twice, and by
# another process (the janitor), and finds what is there.

find_hierarchies() {
	# The v2 hierarchy with nothing left out; on a hybrid host it is not /sys/fs/cgroup itself.
	mount=$(awk '$4 == "/" { for (i = 6; i < NF; i++) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' \
		/proc/self/mountinfo)
	[[ -n $mount ]] || die "no cgroup v2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup"
	cg=$mount/$name v1=''
	grep -qw memory "$mount/cgroup.controllers" && return
	v1=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/mounts)
	[[ -n $v1 ]] || die "no memory controller on this machine (cgroup_disable=memory?); boot without it"
	v1=$v1/$name
}

# --- the way out --------------------------------------------------------------------------------

# Is it there and more than a zombie?
lives() { # PID
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	[[ ${stat##*) } != [ZX]* ]]
}

end_agent() {
	local pid='' i
	{ read -r pid <"$tmp/agent.pid"; } 2>/dev/null || return 0
	[[ /proc/$pid/exe -ef $build/culpritd ]] || return 0
	kill -TERM "$pid" 2>/dev/null || true
	for ((i = 0; i < 100; i++)); do
		lives "$pid" || break
		sleep 0.05
	done
	# It has a guardian: what it held is let go all the same.
	! lives "$pid" || kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
}

kill_cgroup() { # DIR: ends whatever runs in it and below
	local file pid
	[[ -d $1 ]] || return 0
	find "$1" -name cgroup.procs 2>/dev/null | while IFS= read -r file; do
		while IFS= read -r pid; do
			kill -KILL "$pid" 2>/dev/null || true
		done <"$file"
		{ echo 0 >"${file%/*}/cgroup.freeze"; } 2>/dev/null || true
	done || true
}

remove_cgroup() { # DIR: bottom up; a killed task leaves its cgroup a little later
	local i
	for ((i = 0; i < 100; i++)); do
		[[ -d $1 ]] || return 0
		find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
		[[ -d $1 ]] || return 0
		sleep 0.05
	done
}

loop_devices() { losetup -n -O NAME -j "$tmp/swap" 2>/dev/null || true; }
swap_in_use() { awk -v s="$1" '$1 == s { found = 1 } END { exit !found }' /proc/swaps; }

# The pages of others come back with it, and one whose cgroup is at its limit may have no room for them just now.
turn_off_swap() { # FILE
	local attempt
	for attempt in {1..40}; do
		if ! swap_in_use "$1" || swapoff "$1" 2>/dev/null; then
			return
		fi
		sleep 0.5
	done
	echo "demo: $1 is still in use as swap; turn it off with: swapoff $1" >&2
}

remove_swap() {
	local loop
	turn_off_swap "$tmp/swap"
	for loop in $(loop_devices); do
		turn_off_swap "$loop"
		losetup -d "$loop" || true
	done
}

cleanup() {
	[[ -n $tmp ]] || return 0
	end_agent
	if [[ -d $tmp/state ]]; then
		"$build/culpritd" --release --state-dir "$tmp/state" --pin-dir "$pins" >/dev/null 2>&1 || true
	fi
	{
		kill_cgroup "$cg"
		end_children
	} 2>/dev/null
	remove_cgroup "$cg"
	[[ -z $v1 ]] || remove_cgroup "$v1"
	[[ ! -e $tmp/memory-enabled ]] || { echo -memory >"$mount/cgroup.subtree_control"; } 2>/dev/null || true
	remove_swap
	rm -f "/dev/$name"
	rm -rf "$tmp"
}

# What is not in its cgroup yet, and the client that follows the events. By what bash knows to be
# running: the number of a child that has ended may be somebody else's by now. Collected here, for
# bash would tell of every child that was killed.
end_children() {
	local -a running
	mapfile -t running <<<"$(jobs -pr)"
	[[ -n ${running[0]} ]] || return 0
	kill -KILL "${running[@]}" || true
	wait "${running[@]}" || true
}

# Prints what cleanup() should have removed and did not.
leftovers() {
	local path file
	local -a args
	for path in "$cg" ${v1:+"$v1"} "$pins" "/dev/$name" "$tmp"; do
		[[ ! -e $path ]] || echo "$path"
	done
	grep -F "$tmp" /proc/swaps || true
	loop_devices
	for file in /proc/[0-9]*/cmdline; do
		{ mapfile -d '' -t args <"$file"; } 2>/dev/null || continue
		[[ ${args[*]} != *"$tmp/"* ]] || echo "process ${args[*]}"
	done
}

# A process that cleans up if this one is killed without being able to: it reads until the pipe's only
# other end, ours, is gone. In a session of its own, for Ctrl-C goes to all of the terminal's.
start_janitor() { # SCRIPT
	mkfifo -m 600 "$tmp/life"
	# For both directions, so that neither side waits for the other to open it.
	exec {janitor}<>"$tmp/life"
	setsid --fork "$1" --clean-up-after "$name" "$tmp" <"$tmp/life" >/dev/null 2>&1 {janitor}>&-
}

dismiss_janitor() {
	[[ -z $janitor ]] || { echo dismissed >&"$janitor"; } 2>/dev/null || true
}

janitor_main() { # NAME TMP
	local word=''
	trap '' INT TERM HUP PIPE
	name=$1 tmp=$2 pins=/sys/fs/bpf/$1
	read -r word || true
	[[ $word != dismissed ]] || exit 0
	find_hierarchies
	cleanup
}

# --- setting up ---------------------------------------------------------------------------------

make_cgroups() {
	local g
	mkdir "$cg" || die "$mount cannot be written; is this a container without a cgroup tree of its own?"
	for g in background foreground gpu-job gpu-user thrasher; do
		mkdir "$cg/$g"
	done
}

# 64 MiB for the thrasher, by whichever hierarchy has the memory controller here.
limit_memory() {
	if [[ -n $v1 ]]; then
		mkdir "$v1"
		echo $((64 << 20)) >"$v1/memory.limit_in_bytes"
		return
	fi
	if ! grep -qw memory "$mount/cgroup.subtree_control"; then
		touch "$tmp/memory-enabled"
		echo +memory >"$mount/cgroup.subtree_control"
	fi
	echo +memory >"$cg/cgroup.subtree_control"
	echo 64M >"$cg/thrasher/memory.max"
}

# Pages go to the swap of the highest priority. Is that one a disk's, and has it room?
has_own_swap() {
	awk 'NR > 1 && (!seen || $5 > best) { seen = 1; best = $5; good = $1 !~ /zram/ && $3 - $4 > 262144 }
		END { exit !good }' /proc/swaps
}

# A swap file of our own, above whatever there is: zram would hide what real swapping costs.
make_swap() {
	local file=$tmp/swap loop
	if has_own_swap; then
		note "swap: this machine's own"
		return
	fi
	dd if=/dev/zero of="$file" bs=1M count=256 status=none ||
		die "no room for 256 MiB in $tmp; set TMPDIR to a directory that has it"
	chmod 600 "$file"
	mkswap "$file" >/dev/null
	if swapon -p 32000 "$file" 2>/dev/null; then
		note "swap: a file of the demo's own, 256 MiB"
		return
	fi
	# Overlay, tmpfs and some others cannot hold a swap file; a loop device over it can.
	modprobe loop 2>/dev/null || true
	loop=$(losetup --find --show "$file") ||
		die "$tmp cannot hold a swap file and there is no loop device; set TMPDIR to a directory on a disk"
	swapon -p 32000 "$loop" || die "$loop: swapon failed; is swapping forbidden here (a container)?"
	note "swap: a loop device of the demo's own, 256 MiB (the file system cannot hold a swap file)"
}

# Who has it open, but for the daemon that only keeps the driver loaded.
is_held() { # NODE
	local link comm
	for link in $(find /proc/[0-9]*/fd -lname "$1" 2>/dev/null || true); do
		{ read -r comm <"${link%/fd/*}/comm"; } 2>/dev/null || continue
		[[ $comm == nvidia-persiste* ]] || return 0
	done
	return 1
}

# The real GPU where there is a free one; else a node whose driver does nothing when it is opened.
choose_gpu() {
	local real busy='' major=1 minor=7 # the number of /dev/full
	for real in /dev/nvidia[0-9]*; do
		[[ -c $real ]] || continue
		if ! is_held "$real"; then
			gpu=$real
			note "GPU: the real one, $gpu"
			return
		fi
		busy=$real
	done
	# Loop devices' control node does nothing either, and fewer programs open it.
	! grep -qw '237 loop-control' /proc/misc || major=10 minor=237
	for gpu in "$tmp/nvidia0" "/dev/$name"; do
		mknod "$gpu" c "$major" "$minor"
		# A file system mounted nodev makes it but does not open it.
		if { : <"$gpu"; } 2>/dev/null; then
			note "GPU: ${busy:-none here}${busy:+ is in use}, so a stand-in device node, $gpu"
			return
		fi
		rm -f "$gpu"
	done
	die "no directory here lets a device node be opened"
}

write_config() {
	cat >"$tmp/culprit.conf" <<-EOT
		[agent]
		only      = /$name
		state_dir = $tmp/state
		socket    = $tmp/control
		pin_dir   = $pins
		log_level = warning

		[workload background-job]
		cgroup = /$name/background

		[workload gpu-job]
		cgroup = /$name/gpu-job

		[policy foreground-first]
		signal = cpu
		of     = cgroup:/$name/foreground
		window = 250ms
		enter  = 0.05cpu
		grace  = 2s
		action = freeze
		target = background-job

		[policy gpu-wanted]
		signal  = gpu
		devices = $gpu
		ignore  = comm:nvidia-persiste*
		grace   = 2s
		action  = freeze
		target  = gpu-job

		[policy thrashing]
		signal = thrash
		action = freeze
		target = offender
	EOT
}

client() { "$build/culprit" --socket "$tmp/control" "$@"; }

# Both die with this script, however it ends.
start_agent() {
	local i
	# shellcheck disable=SC2016  # the inner shell expands these
	setpriv --pdeathsig TERM sh -c 'echo $$ >"$0"; exec "$@"' "$tmp/agent.pid" \
		"$build/culpritd" --config "$tmp/culprit.conf" >"$tmp/agent.log" 2>&1 {janitor}>&- &
	agent=$!
	for ((i = 0; i < 200; i++)); do
		! client ping >/dev/null 2>&1 || break
		kill -0 "$agent" 2>/dev/null || break
		sleep 0.05
	done
	if ! client ping >/dev/null 2>&1; then
		cat "$tmp/agent.log" >&2
		die "the agent did not start; its message is above"
	fi
	setpriv --pdeathsig KILL "$build/culprit" --socket "$tmp/control" events --follow --json \
		>"$tmp/events" 2>/dev/null {janitor}>&- &
}

# start CGROUP COMMAND...: runs it there from its first instruction on; its pid is in $last
start() {
	local group=$cg/$1 limit=''
	[[ $1 != thrasher ]] || limit=$v1
	shift
	# shellcheck disable=SC2016  # the inner shell expands these
	setpriv --pdeathsig KILL sh -c \
		'echo $$ >"$0/cgroup.procs"; [ -z "$1" ] || echo $$ >"$1/cgroup.procs"; shift; exec "$@"' \
		"$group" "$limit" "$@" >"$tmp/out.${group##*/}" 2>&1 {janitor}>&- &
	last=$!
}

# Ends the work in a cgroup and collects it, or bash would tell of each killed child.
end_work() { # CGROUP PID...
	local group=$cg/$1
	shift
	{
		kill_cgroup "$group"
		wait "$@" || true
	} 2>/dev/null
}
