#!/usr/bin/env bash
# culpritd as a service of a real systemd: installs what was built and tries every way in which the unit can be started,
# told, stopped and killed. It changes the system it runs on, so it runs in a guest that is thrown away:
#
#   make vm-service      or      scripts/vm.sh --systemd -- tests/vm/systemd.sh
set -uo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C

if [[ $EUID != 0 || ! -d /run/systemd/system ]] || ! systemd-detect-virt --quiet --vm; then
	echo "systemd.sh: needs root in a virtual machine with systemd, for it installs into the system; use make vm-service" >&2
	exit 2
fi

readonly config=/etc/culprit/culprit.conf cgroups=/sys/fs/cgroup/system.slice
readonly dropin=/run/systemd/system/culpritd.service.d
tmp=$(mktemp -d)
passed=0 failed=0

# --- telling ---------------------------------------------------------------------------------------------------------

ok() { # NAME COMMAND...
	local name=$1 output status
	shift
	output=$("$@" 2>&1)
	status=$?
	if ((status == 0)); then
		passed=$((passed + 1))
		echo "ok - $name"
	else
		failed=$((failed + 1))
		echo "not ok - $name"
		{
			printf '%s\nstatus %s\n%s\n' "$*" "$status" "$output" | tail -n 20
			journalctl -q -n 20 -o short-monotonic -u culpritd
		} | sed 's/^/# /'
	fi
}

not() { ! "$@"; }

equal() { # IS SHOULD
	[[ $1 == "$2" ]] || { echo "is '$1', should be '$2'" && return 1; }
}

within() { # SECONDS COMMAND...
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		((${EPOCHREALTIME/./} < end)) || { "$@"; return; }
		sleep 0.02
	done
}

section() { printf '# %s\n' "$*"; }

# --- looking ---------------------------------------------------------------------------------------------------------

frozen() { grep -qsx 'frozen 1' "$cgroups/$1/cgroup.events"; }
thawed() { grep -qsx 'frozen 0' "$cgroups/$1/cgroup.events"; }
property() { systemctl show --value -p "$1" culpritd.service; }
main_pid() { property MainPID; }
guardian_pid() { pgrep -x culprit-guard -P "$(main_pid)"; }
policy_state() { culprit status --json | jq -r --arg name "$1" '.policies[] | select(.name == $name) | .state'; }
is_state() { equal "$(policy_state "$1")" "$2"; }
policy_names() { culprit status --json | jq -r '[.policies[].name] | sort | join(" ")'; }
is_pid() { equal "$(main_pid)" "$1"; }
has_new_pid() { [[ $(main_pid) != 0 && $(main_pid) != "$1" ]] && culprit ping; }
# The journal's order and cursors are no help: entries of one boot may be in several files. Its clock is.
mark() { marked=${EPOCHREALTIME/./}; }
entries_since_mark() { journalctl --sync && journalctl -q -o json -u culpritd | jq -c "select((.__REALTIME_TIMESTAMP | tonumber) > $marked)"; }
since_mark() { entries_since_mark | jq -r .MESSAGE; }
two_processes() {
	equal "$(wc -l <"$cgroups/culpritd.service/cgroup.procs")" 2
}

nothing_is_left() {
	[[ ! -e /sys/fs/bpf/culprit ]] || { echo "pins are left" && return 1; }
	[[ ! -e /run/culprit/control ]] || { echo "the socket is left" && return 1; }
	[[ ! -e $cgroups/culpritd.service ]] || { echo "the cgroup is left" && return 1; }
	! pgrep -x 'culpritd|culprit-guard' || { echo "a process is left" && return 1; }
}

# Microseconds from now until the unit's cgroup is thawed.
time_to_thaw() {
	local begin=${EPOCHREALTIME/./}
	until thawed "$1"; do
		((${EPOCHREALTIME/./} - begin < 5000000)) || break
	done
	echo $((${EPOCHREALTIME/./} - begin))
}

# --- doing -----------------------------------------------------------------------------------------------------------

# Not a loop of the shell: systemd 252 writes a ";" into the transient unit in a way that it cannot read again.
spin() { # UNIT [OPTION...]
	systemd-run --quiet --unit "$1" -p StandardOutput=null "${@:2}" yes
}

policies() { # [WORKLOAD]
	cat >"$config" <<-END
	[workload ${1:-hog}]
	unit = ${1:-hog}.service
	[policy front-first]
	signal = cpu
	of     = unit:front.service
	enter  = 10%
	leave  = 3%
	grace  = 1s
	action = freeze
	target = ${1:-hog}
	END
}

hold_hog() { culprit freeze unit:hog.service >/dev/null && within 5 frozen hog.service; }
as_nobody() { setpriv --reuid nobody --regid nogroup "$@"; }
one_line() { equal "$(wc -l <"$1")" 1; }

drop_in() { # LINE...: changes the unit, and restarts it
	mkdir -p "$dropin"
	printf '%s\n' '[Service]' "$@" >"$dropin/test.conf"
	systemctl daemon-reload
	systemctl reset-failed culpritd
	systemctl restart culpritd
}

undo_drop_in() {
	rm -r "$dropin"
	systemctl daemon-reload
	systemctl reset-failed culpritd
	systemctl restart culpritd
}

# Runs culpritd in the environment of the unit, with its own drop-ins: its output comes on stdout.
in_unit() { # ARGUMENT...
	{
		grep -vE '^(Exec|Type|Restart|RuntimeDir|Watchdog)' /usr/lib/systemd/system/culpritd.service | sed '/^\[Install\]/,$d'
		printf '%s\n' "${unit_lines[@]}" Type=oneshot "StandardOutput=truncate:$tmp/in-unit" "ExecStart=/usr/sbin/culpritd $*"
	} >/run/systemd/system/culprit-probe.service
	systemctl daemon-reload
	systemctl start culprit-probe.service && cat "$tmp/in-unit"
}
unit_lines=()

# --- installing ------------------------------------------------------------------------------------------------------

section "install"
ok "make install succeeds" make -s install
ok "the group culprit exists" getent group culprit
ok "installing again keeps the administrator's configuration" \
	eval 'echo "# mine" >>$config && make -s install && grep -q "^# mine" $config'
cp dist/culprit.conf "$config"
ok "systemd-analyze verify is quiet" \
	eval 'text=$(systemd-analyze verify culpritd.service 2>&1 | grep -i culprit); equal "$text" ""'
echo "# $(systemd-analyze security --no-pager culpritd.service 2>/dev/null | tail -n 1)"
ok "man pages are found where the unit says" eval 'man -w 8 culpritd && man -w 5 culprit.conf && man -w 1 culprit'

section "start, with the configuration as installed"
spin hog.service -p CPUWeight=1 # it takes only what the test leaves over
ok "the unit starts" systemctl enable --now --quiet culpritd
ok "it is active" systemctl is-active culpritd
ok "status comes through the socket" eval 'culprit status | grep -q enforc || culprit status --json | jq -e .agent.pid'
ok "it knows its version and pid" eval 'equal "$(culprit status --json | jq .agent.pid)" "$(main_pid)"'
ok "nothing of it is degraded" eval 'equal "$(culprit status --json | jq -c "[.degraded // .agent.degraded // [] | .[]]")" "[]"'
ok "there is no policy" eval 'equal "$(policy_names)" ""'
ok "agent and guardian run, and nothing else" two_processes
ok "the agent's OOM score is -1000" eval 'equal "$(cat /proc/$(main_pid)/oom_score_adj)" -1000'
ok "the guardian's OOM score is -1000" eval 'equal "$(cat /proc/$(guardian_pid)/oom_score_adj)" -1000'
ok "its cgroup is its own, delegated" eval 'equal "$(property Delegate)" yes && equal "$(cat /proc/$(main_pid)/cgroup)" 0::/system.slice/culpritd.service'
# CHOWN 0, DAC_OVERRIDE 1, DAC_READ_SEARCH 2, KILL 5, NET_ADMIN 12, SYS_PTRACE 19, PERFMON 38, BPF 39
caps=$(printf '%016x' $((1 << 0 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39)))
ok "agent and guardian have exactly the capabilities of the unit" eval 'for pid in $(main_pid) $(guardian_pid); do
	equal "$(sed -n "s/^CapEff:\t//p" /proc/$pid/status)" $caps || exit; done'
ok "the agent runs with real-time priority" eval 'chrt -p $(main_pid) | grep -q SCHED_RR'
ok "its memory is locked" eval '(($(sed -n "s/^VmLck:[^0-9]*\([0-9]*\).*/\1/p" /proc/$(main_pid)/status) > 0))'
ok "its maps are pinned where everyone sees them" eval 'bpftool map show pinned /sys/fs/bpf/culprit/losses'
ok "--release beside it is refused" eval '! culpritd --release 2>$tmp/err && one_line $tmp/err'
ok "a second agent is refused" eval '! culpritd 2>$tmp/err && grep -q "another agent" $tmp/err'

section "clients"
ok "root may look and act" eval 'culprit ping && hold_hog && culprit thaw unit:hog.service'
ok "a member of the group culprit may look" as_nobody --groups culprit culprit status
ok "but not act, and is told so in one line" \
	eval '! as_nobody --groups culprit culprit freeze unit:hog.service 2>$tmp/err && one_line $tmp/err && thawed hog.service'
ok "another user is refused in one line" eval '! as_nobody --clear-groups culprit status 2>$tmp/err && one_line $tmp/err'

section "sandbox"
culpritd --support --json >"$tmp/outside"
ok "the senses find the same sources in the unit's sandbox as outside" \
	eval 'in_unit --support --json >$tmp/inside && diff <(jq -S . $tmp/outside) <(jq -S . $tmp/inside)'

section "reload"
pid=$(main_pid)
policies
ok "a good configuration is taken" systemctl reload culpritd
ok "and is in force when systemctl returns, without a restart" eval 'equal "$(policy_names)" front-first && is_pid $pid'
for i in 1 2 3 4 5; do
	sed -i "s/^enter .*/enter = 1$i%/" "$config"
	systemctl reload culpritd && culprit status --json | jq '.policies[0].enter'
done >"$tmp/enters"
ok "each of five reloads is" eval 'equal "$(sort -u $tmp/enters | wc -l)" 5'
mark
printf '[policy broken]\nsignal = none\n' >/etc/culprit/conf.d/broken.conf
ok "a broken one fails the reload" not systemctl reload culpritd
ok "the journal says FILE:LINE" eval 'since_mark | grep "/etc/culprit/conf.d/broken.conf:2: "'
ok "as an error" eval 'entries_since_mark | jq -r "select(.PRIORITY == \"3\") | .MESSAGE" | grep broken.conf:2:'
ok "the old one stays in force" eval 'equal "$(policy_names)" front-first && is_pid $pid && systemctl is-active culpritd'
rm /etc/culprit/conf.d/broken.conf
ok "mended, it is taken again" systemctl reload culpritd

section "only"
sed -i '1i [agent]\nonly = /culprit-absent.slice' "$config"
misses_only() { culprit status --json | jq -e '[.degraded // .agent.degraded // [] | .[]] | any(test("culprit-absent"))'; }
ok "a cgroup that it names and that is not there is told" eval 'systemctl reload culpritd && within 5 misses_only'
sed -i 1,2d "$config"
ok "and forgotten with it" eval 'systemctl reload culpritd && within 5 not misses_only'

section "a target that systemd kills for keeping still"
mark
systemd-run --quiet --unit=dogged.service -p WatchdogSec=1h sleep infinity
policies dogged
ok "it is taken" systemctl reload culpritd
warned() { culprit status --json | jq -e '.agent.warnings[] | select(test("systemd kills dogged.service .* for 1 h "))'; }
ok "the status warns of WatchdogSec=" within 20 warned
ok "the journal, too, with FILE:LINE" eval 'since_mark | grep "/etc/culprit/culprit.conf:1: workload dogged: systemd kills"'
ok "and so does --check" eval 'culpritd --check 2>&1 | grep "WatchdogSec="'
systemctl stop dogged.service
policies
ok "without it nothing is warned of" eval 'systemctl reload culpritd && equal "$(culprit status --json | jq -c .agent.warnings)" "[]"'

section "a policy at work"
ok "quiet before" is_state front-first quiet
mark
spin front.service
ok "the hog is frozen when the front needs the CPU" within 10 frozen hog.service
ok "and the policy holds" within 2 is_state front-first holding
systemctl stop front.service
ok "it is thawed when the front has gone" within 10 thawed hog.service
has_structured() { # EVENT
	entries_since_mark | jq -se --arg event "$1" 'any(.[]; .CULPRIT_EVENT == $event and .CULPRIT_POLICY == "front-first"
		and (.CULPRIT_TARGET | test("hog.service")) and .CULPRIT_REASON != null and .SYSLOG_IDENTIFIER == "culpritd"
		and (.CULPRIT_JSON | fromjson | .event == $event) and ._SYSTEMD_UNIT == "culpritd.service")'
}
ok "the journal has it with structured fields" has_structured frozen
ok "and the thaw, too" has_structured thawed
ok "each event is there once" eval 'equal "$(since_mark | grep -c "frozen /system.slice/hog.service by front-first")" 1'

section "targets that come and go"
spin front.service
within 10 frozen hog.service
before=$(stat -c %i "$cgroups/hog.service")
ok "a frozen unit can be restarted" timeout 40 systemctl restart hog.service
ok "its new cgroup is handled" eval '[[ $(stat -c %i $cgroups/hog.service) != $before ]] && within 10 frozen hog.service'
systemctl stop front.service
within 10 thawed hog.service
policies late
systemctl reload culpritd
ok "a unit that does not exist yet is waited for" within 2 is_state front-first waiting
ok "the hog is nobody's target any more" eval 'thawed hog.service || { systemctl status hog.service; journalctl -u hog.service | tail; false; }'
spin front.service
spin late.service -p CPUWeight=1
ok "it is taken when it starts" within 10 frozen late.service
ok "what is not its program yet protects it from nothing" eval '! since_mark | grep "refused.*late.service"'
systemctl stop front.service
ok "and let go" within 10 thawed late.service
systemctl stop late.service
policies
systemctl reload culpritd

section "restart and stop while something is frozen"
spin front.service
within 10 frozen hog.service
pid=$(main_pid)
systemctl restart culpritd &
ok "a restart thaws" eval '(($(time_to_thaw hog.service) < 5000000))'
wait
ok "and decides anew" eval 'has_new_pid $pid && within 10 frozen hog.service'
mark
ok "stop succeeds" systemctl stop culpritd
ok "and thaws" thawed hog.service
ok "nothing of it is left" nothing_is_left
ok "it ended well" equal "$(property Result)" success
ok "--release had nothing to say" eval '! since_mark | grep -E "let go|ledger|Operation not permitted"'
ok "--release with nothing to do is silent" eval 'text=$(culpritd --release 2>&1) && equal "$text" ""'
systemctl stop front.service
systemctl start culpritd

section "killed"
# How fast it is is for tests/bench/bench_kill to judge: on a busy host a guest may stand still for half a second.
release_told_of_it() { since_mark | grep 'its guardian let go /system.slice/hog.service' && ! since_mark | grep 'culpritd: let go'; }
for round in 1 2 3; do
	systemctl reset-failed culpritd
	hold_hog
	pid=$(main_pid)
	mark
	kill -KILL "$pid"
	took=$(time_to_thaw hog.service)
	echo "# kill -9 of the agent: thawed after $took us"
	ok "kill -9 of the agent: thawed (round $round)" thawed hog.service
	ok "systemd restarts it" within 20 has_new_pid "$pid"
	ok "the guardian did it, and --release only tells so" release_told_of_it
	ok "and there is one agent with one guardian" within 5 two_processes
	ok "that holds nothing" eval 'equal "$(culprit status --json | jq ".claims | length")" 0 && thawed hog.service'
done

systemctl reset-failed culpritd
hold_hog
pid=$(main_pid)
mark
systemctl kill --kill-whom=all -s KILL culpritd
ok "kill -9 of agent and guardian: ExecStopPost thaws" within 5 thawed hog.service
ok "and says so" eval 'since_mark | grep "let go"'
ok "systemd restarts it" within 20 has_new_pid "$pid"

hold_hog
old=$(guardian_pid)
kill -KILL "$old"
ok "kill -9 of the guardian: a new one comes" within 5 eval '[[ -n $(guardian_pid) && $(guardian_pid) != $old ]]'
ok "what is held stays held" frozen hog.service
pid=$(main_pid)
mark
kill -KILL "$pid"
ok "and the new one lets go of it" within 5 thawed hog.service
ok "systemd restarts it" within 20 has_new_pid "$pid"
ok "and --release only tells so" release_told_of_it

systemctl reset-failed culpritd
hold_hog
pid=$(main_pid)
kill -STOP "$pid"
ok "an agent that hangs while it holds something is ended and the hog thawed" within 25 thawed hog.service
ok "systemd restarts it" within 30 has_new_pid "$pid"
pid=$(main_pid)
mark
kill -STOP "$pid"
ok "one that hangs while it holds nothing is ended by the watchdog" within 40 has_new_pid "$pid"
ok "the journal says so" eval 'since_mark | grep -i watchdog'

section "a configuration that is broken from the start"
echo nonsense >"$config"
ok "restart fails" not systemctl restart culpritd
ok "it is not tried again and again" eval 'equal "$(property ActiveState)" failed && equal "$(property NRestarts)" 0'
ok "with exit status 2" equal "$(property ExecMainStatus)" 2
ok "thawed all the same" thawed hog.service
policies
systemctl reset-failed culpritd
systemctl start culpritd

section "each capability is needed"
cpu_source() { culprit status --json | jq -r '.senses[] | select(.name == "cpu") | .source'; }
counts_switches() { [[ $(cpu_source) == sched_switch* ]]; }
socket_of_group() { equal "$(stat -c %G /run/culprit/control)" culprit; }
stops_sleeper() { culprit freeze "pid:$sleeper" && within 5 grep -q '^State:.T' "/proc/$sleeper/status" && culprit thaw "pid:$sleeper"; }
freezes_users_cgroup() { culprit freeze /system.slice/user-made.service/own && within 5 frozen user-made.service/own && culprit thaw /system.slice/user-made.service/own; }
freezes_hog() { hold_hog && culprit thaw unit:hog.service; }
uses_cgroup_dev() { in_unit --support --json --source gpu=cgroup/dev+exits | jq -e '.senses[] | select(.name == "gpu" and .source == "cgroup/dev+exits")'; }
# The opener has all capabilities, so that looking at its program takes more than being root.
ignores_program() {
	local status
	systemd-run --quiet --unit opener.service tail -f /dev/culprit-test0
	within 3 frozen hog.service
	status=$?
	systemctl stop opener.service
	within 10 thawed hog.service
	((status))
}

needs() { # CAPABILITY PROBE
	ok "$2 with all capabilities" "$2"
	unit_lines=("CapabilityBoundingSet=~$1")
	drop_in "${unit_lines[@]}"
	ok "but not without $1" not "$2"
	unit_lines=()
	undo_drop_in
}

sleeper=$(systemd-run --quiet --unit sleeper.service -p User=nobody sleep 1000 && systemctl show --value -p MainPID sleeper.service)
systemd-run --quiet --unit user-made.service -p User=nobody -p Delegate=yes sh -c \
	'mkdir /sys/fs/cgroup/system.slice/user-made.service/own && echo 0 >/sys/fs/cgroup/system.slice/user-made.service/own/cgroup.procs && exec sleep 1000'
mknod -m 666 /dev/culprit-test0 c 1 7
cat >"$config" <<-END
[workload hog]
unit = hog.service
[policy device]
signal  = gpu
devices = /dev/culprit-test0
ignore  = exe:/usr/bin/tail
grace   = 200ms
action  = freeze
target  = hog
END
systemctl restart culpritd
needs CAP_BPF counts_switches
needs CAP_PERFMON counts_switches
needs CAP_NET_ADMIN uses_cgroup_dev
needs CAP_KILL stops_sleeper
needs CAP_DAC_OVERRIDE freezes_users_cgroup
needs CAP_DAC_READ_SEARCH freezes_hog
needs CAP_SYS_PTRACE ignores_program
needs CAP_CHOWN socket_of_group
systemctl stop sleeper.service user-made.service

section "uninstall"
hold_hog
policies
ok "make uninstall succeeds, with the service running" make -s uninstall
ok "the service was stopped and the hog thawed" eval 'thawed hog.service && nothing_is_left'
ok "the administrator's configuration stays" grep -q front-first "$config"
left_files() {
	find /etc /run /usr/bin /usr/sbin /usr/lib/systemd /usr/lib/sysusers.d /usr/share/man /var/lib -xdev -path "$PWD" -prune -o \
		-name '*culprit*' -print | grep -vE 'culprit-vm|culprit-probe|^/etc/culprit$|^/etc/culprit/culprit.conf$'
}
ok "nothing else does" not left_files
ok "systemd does not know the unit any more" eval 'equal "$(property LoadState)" not-found'
ok "installed again, it starts" eval 'make -s install && systemctl start culpritd && culprit ping'
systemctl stop culpritd
cp dist/culprit.conf "$config"
ok "an unchanged configuration goes with the rest" eval 'make -s uninstall && [[ ! -e /etc/culprit ]]'

systemctl stop hog.service
rm -rf "$tmp"
echo "# took $SECONDS s"
echo "$passed passed, $failed failed"
((failed == 0))
