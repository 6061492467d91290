#!/usr/bin/env bash
# make install and make uninstall. With a DESTDIR it only writes files, for a package; without one it also tells the
# running system: the group, systemd's view of the units.
#
#   install.sh install|uninstall BUILD DESTDIR PREFIX SYSCONFDIR UNITDIR
set -euo pipefail
cd "$(dirname "$0")/.."

# An ordinary user's PATH (and some su) lacks these on Debian; groupadd lives there.
PATH=$PATH:/usr/sbin:/sbin

verb=$1 build=$2 destdir=$3 prefix=$4 sysconfdir=$5 unitdir=$6

sbin=$prefix/sbin
man=$prefix/share/man
sysusers=$prefix/lib/sysusers.d/culprit.conf
config=$destdir$sysconfdir/culprit
files=(
	"$sbin/culpritd"
	"$prefix/bin/culprit"
	"$unitdir/culpritd.service"
	"$sysusers"
	"$man/man8/culpritd.8"
	"$man/man1/culprit.1"
	"$man/man5/culprit.conf.5"
)

# Is it this machine's own systemd that the unit is for?
systemd_runs() {
	[[ -z $destdir && -d /run/systemd/system ]] && command -v systemctl >/dev/null
}

put() { # MODE FROM TO
	install -D -m "$1" "$2" "$destdir$3"
}

put_files() {
	put 0755 "$build/culpritd" "$sbin/culpritd"
	put 0755 "$build/culprit" "$prefix/bin/culprit"
	put 0644 docs/culpritd.8 "$man/man8/culpritd.8"
	put 0644 docs/culprit.1 "$man/man1/culprit.1"
	put 0644 docs/culprit.conf.5 "$man/man5/culprit.conf.5"
	put 0644 dist/culprit.sysusers "$sysusers"
	put 0644 <(sed "s|@SBINDIR@|$sbin|g" dist/culpritd.service) "$unitdir/culpritd.service"
	# An administrator's configuration is never overwritten.
	[[ -e $config/culprit.conf ]] || put 0644 dist/culprit.conf "$sysconfdir/culprit/culprit.conf"
	install -d -m 0755 "$config/conf.d"
}

make_group() {
	! getent group culprit >/dev/null || return 0
	if systemd_runs; then systemd-sysusers "$sysusers"; else groupadd --system culprit; fi
}

install_all() {
	if [[ -z $destdir ]] && ((EUID != 0)); then
		echo "make install writes to the system, so it has to be root: sudo make install (or give DESTDIR=)" >&2
		exit 1
	fi
	put_files
	if [[ -n $destdir ]]; then
		echo "installed below $destdir; nothing was told to this system"
		return
	fi
	make_group
	! systemd_runs || systemctl daemon-reload
	echo "installed; next: edit $sysconfdir/culprit/culprit.conf, then systemctl enable --now culpritd" \
		"(or restart culpritd, where it runs already)"
}

# A running agent would go on without the program that its unit needs to let go of everything.
stop_service() {
	if systemd_runs && [[ -e $unitdir/culpritd.service ]]; then
		systemctl disable --now --quiet culpritd.service
		systemctl reset-failed --quiet culpritd.service 2>/dev/null || true
	fi
	# Says so and fails where an agent runs that systemd knows nothing of.
	[[ ! -x $sbin/culpritd ]] || "$sbin/culpritd" --release
	# The unit keeps it for the ledger, and now that is empty.
	rm -rf /run/culprit
}

remove_config() {
	if [[ -e $config/culprit.conf ]] && cmp -s dist/culprit.conf "$config/culprit.conf"; then
		rm "$config/culprit.conf"
	fi
	rmdir --ignore-fail-on-non-empty "$config/conf.d" "$config" 2>/dev/null || true
}

uninstall_all() {
	local file
	[[ -n $destdir ]] || stop_service
	for file in "${files[@]}"; do
		rm -f "$destdir$file"
	done
	remove_config
	! systemd_runs || systemctl daemon-reload
	echo "uninstalled$([[ ! -d $config ]] || echo "; $config is yours and stays")$(
		[[ -n $destdir ]] || ! getent group culprit >/dev/null || echo "; the group culprit stays (groupdel culprit removes it)"
	)"
}

case $verb in
install) install_all ;;
uninstall) uninstall_all ;;
*)
	echo "install.sh: install or uninstall, not '$verb'" >&2
	exit 2
	;;
esac
