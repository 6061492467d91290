#!/usr/bin/env bash
# Installs the Debian packages that culprit needs and that are not there yet. Asks nothing.
#
#   scripts/deps.sh            what building and testing need
#   scripts/deps.sh --build    what building alone needs
#   scripts/deps.sh --missing  prints the missing packages of the full list and installs nothing
set -euo pipefail

# dpkg-query lives in /usr/bin, but the programs that apt calls want sbin, which an ordinary user's
# PATH (and some su) lacks on Debian.
PATH=$PATH:/usr/sbin:/sbin

build=(gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev libsystemd-dev libjansson-dev
	libini-config-dev uthash-dev linux-libc-dev)
test=(libcmocka-dev libdw-dev liburing-dev libfuse3-dev clang-format clang-tidy iproute2 procps util-linux kmod)

want=("${build[@]}" "${test[@]}")
[[ ${1:-} == --build ]] && want=("${build[@]}")

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

echo "deps.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Another apt may be at work (unattended-upgrades on a fresh machine): wait for its lock.
apt=(apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
	# The package lists may be missing (a fresh image) or stale; one refresh, one more try.
	for try in 1 2 3; do
		"${apt[@]}" update >"$log" 2>&1 && break
		sleep $((try * 5))
	done
	if ! "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		echo "deps.sh: apt-get could not install ${missing[*]}; see its message above" >&2
		exit 1
	fi
fi
echo "deps.sh: done"
