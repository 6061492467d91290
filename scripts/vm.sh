#!/bin/bash
# Runs a command as root on another kernel: a Debian kernel in qemu, with this machine's own root.
#
# The guest sees this machine's files (virtiofs, read-only) under an overlay in its memory, so every
# tool and the checkout are there and nothing that it writes reaches the host. The parts that run in
# the guest are in scripts/vm/.
set -euo pipefail

guest_files=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/vm
readonly cache=${CULPRIT_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/culprit/vm}
readonly own_failure=125 timed_out=124 usage_error=2 # as env(1), timeout(1) and docker have them

kernel=6.1 mem_mib=1024 cpus=2 swap_mib=0 timeout_s=600 init=command keep=no
command=()
tmp='' # everything of this run; goes away at its end

usage()
{
	cat <<-'END'
	usage: vm.sh [OPTIONS] -- COMMAND [ARG...]
	  --kernel K    5.10, 6.1 (default), 6.12 or 7: the kernel of Debian bullseye, bookworm, trixie or sid;
	                all: COMMAND on each of them, one after the other, and the worst exit status is ours
	  --mem M       memory in MiB (1024)
	  --cpus N      number of CPUs (2)
	  --swap M      swap on a virtio disk of M MiB (none)
	  --systemd     boot systemd, wait until it is up, run COMMAND in a service
	  --timeout S   stop the machine after S seconds and exit with 124 (600)
	  --keep        keep the directory of this run (console log, disk) and say where it is
	Runs COMMAND as root in the current directory; its output comes on stdout, its exit status is ours.
	Exit status 125: the machine failed, not COMMAND. 2: usage.
	CULPRIT_* variables are passed on. The files are this machine's, but /tmp, /run and /dev/shm are
	empty (except for the checkout and the current directory), and what COMMAND writes is gone
	at the end.
	Kernels are kept in $CULPRIT_VM_CACHE (~/.cache/culprit/vm); to fetch a newer one, remove
	kernels/K there.
	END
}

say()
{
	printf 'vm.sh: %s\n' "$*" >&2
}

die()
{
	say "$1"
	exit "${2:-$own_failure}"
}

need_number()
{
	[[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1 takes a whole number above 0, not '$2'" "$usage_error"
}

parse_arguments()
{
	while (($#)); do
		case $1 in
		--kernel) kernel=${2-} && shift ;;
		--mem) mem_mib=${2-} && shift ;;
		--cpus) cpus=${2-} && shift ;;
		--swap) swap_mib=${2-} && need_number "$1" "$swap_mib" && shift ;;
		--timeout) timeout_s=${2-} && shift ;;
		--systemd) init=systemd ;;
		--keep) keep=yes ;;
		--help) usage && exit ;;
		--) shift && command=("$@") && break ;;
		*) die "unknown option '$1' (the command goes behind --); see --help" "$usage_error" ;;
		esac
		shift $(($# > 0))
	done
	need_number --mem "$mem_mib"
	need_number --cpus "$cpus"
	need_number --timeout "$timeout_s"
	[[ $kernel == all || -n $(suite_of "$kernel") ]] ||
		die "--kernel takes 5.10, 6.1, 6.12, 7 or all, not '$kernel'" "$usage_error"
	((${#command[@]})) || die "no command; say behind -- what to run" "$usage_error"
}

suite_of()
{
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	7) echo sid ;;
	esac
}

# --- tools ---------------------------------------------------------------------------------------

# Where it lies changed: part of qemu-system-common up to bookworm, a package of its own since.
virtiofsd_path()
{
	local path
	for path in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
		[[ ! -x $path ]] || { echo "$path" && return; }
	done
	return 1
}

virtiofsd_package()
{
	if apt-cache show virtiofsd >/dev/null 2>&1; then echo virtiofsd; else echo qemu-system-common; fi
}

# The initramfs has no libraries, so the dynamic busybox of the package `busybox` is of no use.
static_busybox()
{
	local path
	path=$(command -v busybox) && ! ldd "$path" >/dev/null 2>&1 && echo "$path"
}

missing_packages()
{
	command -v qemu-system-x86_64 >/dev/null || echo qemu-system-x86
	static_busybox >/dev/null || echo busybox-static
	command -v cpio >/dev/null || echo cpio
	command -v depmod >/dev/null || echo kmod
	command -v xz >/dev/null || echo xz-utils
	virtiofsd_path >/dev/null || virtiofsd_package
	[[ $init != systemd ]] || missing_systemd_packages
}

# Not udev: the guest boots faster without it, and installing it changes the modes of device nodes
# on this machine.
missing_systemd_packages()
{
	[[ -x /usr/lib/systemd/systemd ]] || echo systemd
	[[ -e /usr/lib/systemd/system/dbus.service ]] || echo dbus
}

install_tools()
{
	local -a packages
	mapfile -t packages < <(missing_packages)
	((${#packages[@]})) || return 0
	say "installing ${packages[*]}"
	apt_install "${packages[@]}" || { apt-get -qq update >&2 && apt_install "${packages[@]}"; } ||
		die "cannot install ${packages[*]}; install what is missing by hand and try again"
}

apt_install()
{
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=600 \
		--no-install-recommends install "$@" >&2
}

# --- kernels -------------------------------------------------------------------------------------

# Prints "URI KEYRING" of the archive that this machine installs Debian from, or nothing while apt has
# not read its lists. KEYRING is empty where the archive's entry names none.
debian_archive()
{
	local release uri entry suite
	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # the $(…) are apt's
	while IFS='|' read -r release uri entry; do
		case $release in
		"$suite" | stable | oldstable | oldoldstable | testing | unstable | sid)
			echo "$uri $(keyring_of "$entry")"
			return
			;;
		esac
	done < <(apt-get indextargets --format '$(RELEASE)|$(REPO_URI)|$(SOURCESENTRY)' \
		'Created-By: Packages' 'Component: main')
	return 1
}

# FILE:N is line N of a one-line list and stanza N of a .sources file.
keyring_of()
{
	local file=${1%:*} number=${1##*:}
	case $file in
	*.sources)
		awk -v RS= -v n="$number" 'NR == n' "$file" |
			sed -n 's/^Signed-By:[[:space:]]*\(\/[^[:space:]]*\).*/\1/Ip'
		;;
	*) sed -n "${number}s/.*[[ ]signed-by=\(\/[^] ]*\).*/\1/Ip" "$file" ;;
	esac
}

# Sources, lists and package state of our own below $1, so that the host's are neither used nor
# changed; the rest of the host's settings (proxies) holds. As root all the way, for the user _apt
# cannot enter a cache below /root.
private_apt_configuration()
{
	cat <<-END
	Dir::Etc::SourceList "$1/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::Etc::Preferences "/dev/null";
	Dir::Etc::PreferencesParts "/dev/null";
	Dir::State::Lists "$1/lists";
	Dir::State::status "$1/status";
	Dir::Cache "$1";
	APT::Sandbox::User "root";
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	END
}

# The metapackage leads to the current image. Up to trixie that is one package; later its parts are
# packages of their own.
kernel_packages()
{
	apt-cache -c "$1/apt.conf" depends --recurse --no-recommends --no-suggests --no-conflicts \
		--no-breaks --no-replaces --no-enhances linux-image-cloud-amd64 |
		grep -E '^linux-(image|binary|modules|base)-[0-9]' | sort -u
}

configure_private_apt()
{
	local dir=$1 suite=$2 archive uri keyring
	archive=$(debian_archive) || { apt-get -qq update >&2 && archive=$(debian_archive); } ||
		die "apt has no Debian archive configured; add one to /etc/apt/sources.list.d"
	read -r uri keyring <<<"$archive"
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	: >"$dir/status"
	echo "deb ${keyring:+[signed-by=$keyring] }$uri $suite main" >"$dir/sources.list"
	private_apt_configuration "$dir" >"$dir/apt.conf"
}

fetch_kernel()
{
	local dir=$1 suite=$2
	local -a packages
	configure_private_apt "$dir" "$suite"
	apt-get -q -c "$dir/apt.conf" update >"$dir/log" 2>&1 ||
		die "cannot read $suite (is debian-archive-keyring new enough?): $(grep -m1 '^[EW]:' "$dir/log")"
	mapfile -t packages < <(kernel_packages "$dir")
	((${#packages[@]})) || die "$suite has no linux-image-cloud-amd64; see $dir/sources.list"
	mkdir "$dir/debs"
	(cd "$dir/debs" && apt-get -q -c "$dir/apt.conf" download "${packages[@]}") >"$dir/log" 2>&1 ||
		die "cannot fetch ${packages[*]}: $(grep -m1 '^E:' "$dir/log")"
}

# Lays out $dir/kernel: vmlinuz, config, version and lib/modules, wherever this suite has them.
unpack_kernel()
{
	local dir=$1 deb modules version
	for deb in "$dir"/debs/*.deb; do
		dpkg-deb -x "$deb" "$dir/root"
	done
	modules=$(find "$dir/root" -type d -path '*/lib/modules/*' -prune)
	version=${modules##*/}
	mkdir -p "$dir/kernel/lib/modules"
	cp "$(first_of "$dir/root/boot/vmlinuz-$version" "$modules/vmlinuz")" "$dir/kernel/vmlinuz"
	cp "$(first_of "$dir/root/boot/config-$version" "$modules/config")" "$dir/kernel/config"
	mv "$modules" "$dir/kernel/lib/modules/"
	# The initramfs's insmod reads plain modules only.
	find "$dir/kernel/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	depmod -b "$dir/kernel" "$version"
	echo "$version" >"$dir/kernel/version"
}

first_of()
{
	local path
	for path in "$@"; do
		[[ ! -e $path ]] || { echo "$path" && return; }
	done
	die "the kernel package has none of: $*"
}

# Leaves the kernel in $kernel_dir, complete or not at all; whoever comes meanwhile waits for the lock.
ensure_kernel()
{
	local suite work version
	suite=$(suite_of "$kernel")
	mkdir -p "$cache/kernels"
	exec {lock}>"$cache/lock-$kernel"
	flock "$lock"
	if [[ ! -e $kernel_dir/version ]]; then
		work=$cache/fetch-$kernel
		rm -rf "$work" # we have the lock, so this is of a run that was killed
		say "fetching the kernel of $suite"
		fetch_kernel "$work" "$suite"
		unpack_kernel "$work"
		version=$(<"$work/kernel/version")
		[[ $version == "$kernel".* ]] || say "$suite has $version by now; taking it for $kernel"
		mv "$work/kernel" "$kernel_dir"
		rm -rf "$work"
	fi
	exec {lock}>&-
}

# --- one run -------------------------------------------------------------------------------------

# Runs a command in the background that dies with us, also when we are killed by SIGKILL.
start()
{
	setpriv --pdeathsig KILL "$@" <&0 & # without that its standard input is /dev/null
}

# The guest has a /tmp, /run and /dev/shm of its own; prints those of our paths that it must see
# there all the same.
hidden_paths()
{
	local path
	for path in "$(dirname "$(dirname "$guest_files")")" "$(pwd -P)"; do
		case $path in /tmp/?* | /run/?* | /dev/shm/?*) echo "$path" ;; esac
	done
}

guest_environment()
{
	printf '%s\0' HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 \
		"TERM=${TERM:-dumb}" "PATH=$PATH:/usr/sbin:/sbin"
	env -0 | grep -z '^CULPRIT_' || true
}

# What the guest loads before it sees this machine's files, in the order of their dependencies.
boot_modules()
{
	local module
	for module in virtio_pci virtio_console virtio_blk virtiofs overlay; do
		modprobe -C /dev/null -d "$kernel_dir" -S "$1" --show-depends "$module"
	done | sed -n 's/^insmod \(.*[^ ]\) *$/\1/p' | awk '!seen[$0]++'
}

build_initramfs()
{
	local dir=$tmp/initramfs number=100 version module applet
	version=$(<"$kernel_dir/version")
	mkdir -p "$dir"/{bin,dev,lower,mod,newroot,over,proc,sys,vm}
	cp "$guest_files/init" "$dir/init"
	cp "$(static_busybox)" "$dir/bin/busybox"
	for applet in cp hostname insmod ip ln mkdir mkswap mount poweroff rm swapon switch_root touch; do
		ln -s busybox "$dir/bin/$applet"
	done
	while read -r module; do
		cp "$module" "$dir/mod/$((++number))-${module##*/}"
	done < <(boot_modules "$version")
	write_orders "$dir/vm" "$version"
	(cd "$dir" && find . | cpio --quiet -o -H newc) >"$tmp/initramfs.cpio"
}

# What the guest has to know, one thing a file.
write_orders()
{
	local dir=$1 version=$2
	cp "$guest_files"/{guest,culprit-vm.service} "$kernel_dir/config" "$dir/"
	echo "$version" >"$dir/version"
	echo "$(realpath "$kernel_dir")/lib/modules/$version" >"$dir/modules"
	echo "$init" >"$dir/init"
	echo "$token" >"$dir/token"
	pwd >"$dir/directory"
	hidden_paths >"$dir/kept"
	guest_environment >"$dir/environment"
	printf '%s\0' "${command[@]}" >"$dir/command"
}

serve_root()
{
	local server
	start unshare --mount --propagation private \
		"$guest_files/serve" "$(virtiofsd_path)" "$tmp" "$tmp/fs.sock" >"$tmp/virtiofsd.log" 2>&1
	server=$!
	until [[ -S $tmp/fs.sock ]]; do
		kill -0 "$server" 2>/dev/null ||
			die "virtiofsd cannot serve /: $(tail -n 1 "$tmp/virtiofsd.log")"
		sleep 0.02
	done
}

# tsc: TCG's counters are in step, but the kernel does not trust them and falls back to the HPET, whose
# every read leaves the guest. mitigations: they cost time in emulation and protect nobody.
# no_timer_check, nowatchdog: on a busy host a CPU of the guest may well stand still for a while.
kernel_command_line()
{
	local -a words=(console=ttyS0 quiet panic=-1 psi=1 cgroup_no_v1=all tsc=reliable mitigations=off
		no_timer_check nowatchdog random.trust_cpu=on audit=0)
	# Later kernels always account swap and warn about the word.
	[[ $kernel != 5.10 ]] || words+=(swapaccount=1)
	[[ $init != systemd ]] || words+=(systemd.unit=multi-user.target systemd.machine_id="$token"
		systemd.firstboot=off systemd.getty_auto=no systemd.gpt_auto=no systemd.show_status=auto
		fstab=no)
	echo "${words[*]}"
}

# TCG, for nested virtualisation is seldom there, and a guest that is the same everywhere is worth more
# than speed. In one thread: with a thread per CPU, QEMU 7.2 can run code that the kernel has just
# patched as it was before, so that switching tracepoints on and off on a busy guest ends in an int3
# oops or a hang within seconds, on every kernel.
# The CPU is without cx16 and la57: QEMU 7.2 has crashed guests that use them.
start_qemu()
{
	local -a disk=()
	if ((swap_mib)); then
		truncate -s "${swap_mib}M" "$tmp/swap"
		disk=(-drive "if=none,id=swap,file=$tmp/swap,format=raw,cache=unsafe"
			-device "virtio-blk-pci,drive=swap")
	fi
	start qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -nic none \
		-machine pc,memory-backend=memory -accel tcg,thread=single -cpu max,-cx16,-la57 \
		-smp "$cpus" -m "$mem_mib" \
		-object "memory-backend-memfd,id=memory,size=${mem_mib}M,share=on" \
		-kernel "$kernel_dir/vmlinuz" -initrd "$tmp/initramfs.cpio" \
		-append "$(kernel_command_line)" -serial "file:$tmp/console.log" \
		-chardev "socket,id=fs,path=$tmp/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=host \
		-chardev file,id=output,path=/dev/fd/1 -device virtio-serial-pci \
		-device virtserialport,chardev=output "${disk[@]}" </dev/null 2>"$tmp/qemu.log"
}

# One line about a machine that went away, from the best witness that there is.
last_words()
{
	tr -d '\r' <"$tmp/console.log" | grep -aom1 -E 'Kernel panic.*|culprit-vm: .*' ||
		tail -n 1 "$tmp/qemu.log" | grep . ||
		echo "the machine went down $(stage)"
}

stage()
{
	if [[ -e $tmp/up ]]; then echo "before the command ended"; else echo "while booting"; fi
}

# Keeps the console log of a failed run, for a week.
saved_console()
{
	local log=$cache/log/$kernel-$$.log
	mkdir -p "$cache/log"
	find "$cache/log" -name '*.log' -mtime +7 -delete
	cp "$tmp/console.log" "$log"
	echo "$log"
}

run_machine()
{
	local relay timer status=0
	mkfifo "$tmp/output"
	: >"$tmp/console.log"
	# Open for both directions, so that neither side waits for the other; then only theirs are left,
	# and the relay sees the end of qemu as the end of the stream.
	exec 3<>"$tmp/output"
	start "$guest_files/relay" "$token" "$tmp" <"$tmp/output" 3<&-
	relay=$!
	start_qemu >"$tmp/output" 3<&-
	exec 3<&-
	start sleep "$timeout_s" >/dev/null 2>&1
	timer=$!
	wait -n "$relay" "$timer" || status=$?
	[[ ! -s $tmp/exit ]] || exit "$(<"$tmp/exit")"
	kill -0 "$timer" 2>/dev/null ||
		die "stopped after $timeout_s s $(stage); console log: $(saved_console)" "$timed_out"
	# Nobody reads our output any more; end as any filter would.
	((status <= 128)) || exit "$status"
	die "$(last_words); console log: $(saved_console)"
}

# By what bash knows to be running: the number of a child that has ended may be somebody else's by
# now. Grandchildren first (virtiofsd is two processes), so that their parents can collect them. Bash
# would tell of every child that is killed.
# shellcheck disable=SC2317 # called by clean_up
stop_children()
{
	local -a running
	mapfile -t running <<<"$(jobs -pr)"
	[[ -n ${running[0]} ]] || return 0
	{
		pkill -KILL -P "$(IFS=, && echo "${running[*]}")" && sleep 0.05
		kill -KILL "${running[@]}"
		wait
	} 2>/dev/null || true
}

# shellcheck disable=SC2317 # called by the trap
clean_up()
{
	local status=$?
	trap '' EXIT INT TERM HUP
	stop_children
	[[ -n $tmp ]] || exit "$status"
	# This machine's root was mounted on it, in another mount namespace. Only an empty directory may go.
	[[ ! -e $tmp/root ]] || rmdir "$tmp/root" || die "left $tmp as it is, for $tmp/root is not empty"
	if [[ $keep == yes ]]; then say "kept $tmp"; else rm -rf "$tmp"; fi
	exit "$status"
}

run_on_all()
{
	local -a options=(--mem "$mem_mib" --cpus "$cpus" --timeout "$timeout_s")
	local one status worst=0
	((swap_mib == 0)) || options+=(--swap "$swap_mib")
	[[ $init != systemd ]] || options+=(--systemd)
	[[ $keep != yes ]] || options+=(--keep)
	for one in 5.10 6.1 6.12 7; do
		echo "=== kernel $one"
		"${BASH_SOURCE[0]}" --kernel "$one" "${options[@]}" -- "${command[@]}" && status=0 || status=$?
		((status <= worst)) || worst=$status
	done
	exit "$worst"
}

parse_arguments "$@"
[[ $kernel != all ]] || run_on_all
readonly kernel_dir=$cache/kernels/$kernel
((EUID == 0)) || die "needs root: virtiofsd serves this machine's files with their owners; try sudo"
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
install_tools
ensure_kernel
tmp=$(mktemp -d "${TMPDIR:-/tmp}/culprit-vm.XXXXXX")
token=$(od -An -N 16 -t x1 /dev/urandom | tr -d ' \n')
build_initramfs
serve_root
run_machine
