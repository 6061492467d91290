#!/usr/bin/env bash
# Installs the Debian packages that culprit needs and that are not there yet. Asks nothing.
#
#   scripts/deps.sh            what building and testing need
#   scripts/deps.sh --build    what building alone needs
#   scripts/deps.sh --demo     what building and the demo need
#   scripts/deps.sh --missing  prints the missing packages of the full list and installs nothing
set -euo pipefail

# dpkg-query lives in /usr/bin, but the programs that apt calls want sbin, which an ordinary user's
# PATH (and some su) lacks on Debian.
PATH=$PATH:/usr/sbin:/sbin

build=(gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev libsystemd-dev libjansson-dev
	libini-config-dev uthash-dev linux-libc-dev)
demo=(mount util-linux kmod)
test=(libcmocka-dev libdw-dev liburing-dev libfuse3-dev clang-format clang-tidy iproute2 procps)

case ${1:-} in
--build) want=("${build[@]}") ;;
--demo) want=("${build[@]}" "${demo[@]}") ;;
*) want=("${build[@]}" "${demo[@]}" "${test[@]}") ;;
esac

missing=()
for p in "${want[@]}"; do
	status=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)
	[[ $status == installed ]] || missing+=("$p")
done

if [[ ${1:-} == --missing ]]; then
	((${#missing[@]} == 0)) || printf '%s\n' "${missing[@]}"
	exit 0
fi
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps.sh: no apt-get here; install the equivalents of: ${missing[*]}" >&2
	exit 1
fi
if ((EUID != 0)); then
	echo "deps.sh: missing packages: ${missing[*]}; run 'sudo $0' to install them" >&2
	exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive

# Another apt may be at work (unattended-upgrades on a fresh machine). apt itself would wait for one
# of its three locks only, and say nothing.
apt() {
	local i told=''
	for ((i = 0; i < 300; i++)); do
		apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1 && return
		grep -q '^E: \(Could not get lock\|Unable to lock\|Unable to acquire the dpkg\)' "$log" || return
		if [[ -z $told ]]; then
			told=$(sed -n 's/.*It is held by \(process [^ ]* ([^)]*)\).*/\1/p' "$log" | head -n 1)
			told=${told:-another apt}
			echo "deps.sh: waiting for $told, which has apt's lock"
		fi
		sleep 2
	done
	return 1
}

install() { apt install --no-install-recommends "${missing[@]}"; }

# An installation that was interrupted has to be finished before anything else can be installed; the
# package lists may be missing (a fresh image) or stale, and the network away for a moment.
mend() {
	local try
	if grep -q 'dpkg --configure -a' "$log"; then
		dpkg --configure -a >"$log" 2>&1 || true
	fi
	for try in 1 2 3; do
		apt update && return
		sleep $((try * 5))
	done
}

echo "deps.sh: installing ${missing[*]}"
# The second time whatever mend() says: one source that is away need not be the one that matters.
if ! install && { mend || true; } && ! install; then
	tail -n 20 "$log" >&2
	echo "deps.sh: apt-get could not install ${missing[*]}; see its message above" >&2
	exit 1
fi
echo "deps.sh: done"
