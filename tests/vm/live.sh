#!/usr/bin/env bash
# The live tests and every rung of every sense, on the kernel of a machine that is ours alone: run it in the guest
#
#   scripts/vm.sh --kernel 6.1 --mem 1024 --swap 512 -- tests/vm/live.sh      or      make vm-live
#
# What it runs was built on the host (make vm-tests). Nothing is skipped; the exit status is that of all tests.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
build=${CULPRIT_BUILD:-$PWD/build}
export CULPRIT_BUILD=$build
# Emulated, a test takes ten times as long, and a busy host makes it worse.
export CULPRIT_TEST_TIMEOUT=${CULPRIT_TEST_TIMEOUT:-900}

die() {
	printf 'live.sh: %s\n' "$*" >&2
	exit 1
}

# What these kernels are known not to have. All else has to work: were the agent asked, a rung that it fails to
# find would go unnoticed.
known_missing() {
	case $(uname -r) in
	# A program on a trampoline could be attached once only, and the gpu sense switches it on and off.
	5.10.*) echo gpu={fexit,cgroup/dev+work} swap={count_memcg_events,{fentry,kprobe}/swap_read_folio} ;;
	6.1.*) echo "gpu=cgroup/dev+work" swap={count_memcg_events,{fentry,kprobe}/swap_read_folio} ;;
	6.12.*) echo "gpu=cgroup/dev+work" swap={count_memcg_events,{fentry,kprobe}/swap_readpage} ;;
	*) echo swap={fentry,kprobe}/swap_readpage ;;
	esac
}

# The disk that vm.sh gives for swap holds a file system instead: the tests switch swap files of their own on and off,
# which a tmpfs cannot hold, and an overlay over one cannot either.
make_disk() {
	local disk=/dev/vda
	[[ -b $disk ]] || die "no disk for swap files; run vm.sh with --swap 512"
	swapoff "$disk" || die "swap on $disk cannot be switched off"
	modprobe ext4 || die "no ext4 in this kernel"
	mkfs.ext4 -q -F "$disk" || die "mkfs.ext4 on $disk failed"
	mkdir -p /mnt/culprit
	mount "$disk" /mnt/culprit || die "mounting $disk failed"
	export TMPDIR=/mnt/culprit
}

# A GPU with NVIDIA's numbers and its companions, without a GPU.
make_gpu() {
	local node
	modprobe cuse || die "no cuse in this kernel"
	"$build/tests/vm/cuse_gpu" nvidia0 195 0 &
	"$build/tests/vm/cuse_gpu" nvidiactl 195 255 &
	"$build/tests/vm/cuse_gpu" nvidia-modeset 195 254 &
	"$build/tests/vm/cuse_gpu" nvidia-uvm 0 0 &
	for node in nvidia0 nvidiactl nvidia-modeset nvidia-uvm; do
		for ((i = 0; i < 200; i++)); do
			[[ ! -c /dev/$node ]] || break
			sleep 0.1
		done
		[[ -c /dev/$node ]] || die "CUSE made no /dev/$node"
	done
	export CULPRIT_GPU_NODE=/dev/nvidia0
	echo "GPU nodes (CUSE): $(cd /dev && stat -c '%n %Hr:%Lr' nvidia* | paste -sd' ')"
}

((EUID == 0)) || die "wants to be root"
grep -q culprit-vm /proc/sys/kernel/hostname || die "this is for a guest of scripts/vm.sh, not for a machine in use"
CULPRIT_MISSING_RUNGS=$(known_missing)
export CULPRIT_MISSING_RUNGS
make_disk
make_gpu
trap 'kill $(jobs -p)' EXIT
"$build/culpritd" --support || die "culpritd --support failed"
tests=("$@")
((${#tests[@]})) || tests=("$build"/tests/live/test_* "$build/tests/vm/rungs")
programs=()
for t in "${tests[@]}"; do
	case $t in *.[od]) ;; *) programs+=("$t") ;; esac
done
tests/run.sh --live "${programs[@]}"
