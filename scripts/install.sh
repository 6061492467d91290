#!/usr/bin/env bash
# make install and make uninstall.
#
#   install.sh install|uninstall BUILD DESTDIR PREFIX SYSCONFDIR UNITDIR
set -euo pipefail
cd "$(dirname "$0")/.."

verb=$1 build=$2 destdir=$3 prefix=$4 sysconfdir=$5 unitdir=$6

sbin=$prefix/sbin
man=$prefix/share/man
files=(
	"$sbin/culpritd"
	"$prefix/bin/culprit"
	"$unitdir/culpritd.service"
	"$man/man8/culpritd.8"
	"$man/man1/culprit.1"
	"$man/man5/culprit.conf.5"
)

if [[ $verb == uninstall ]]; then
	for f in "${files[@]}"; do
		rm -f "$destdir$f"
	done
	echo "uninstalled; $destdir$sysconfdir/culprit/culprit.conf is yours and stays"
	exit 0
fi

install -D -m 0755 "$build/culpritd" "$destdir$sbin/culpritd"
install -D -m 0755 "$build/culprit" "$destdir$prefix/bin/culprit"
mkdir -p "$destdir$unitdir"
sed "s|@SBINDIR@|$sbin|g" dist/culpritd.service >"$destdir$unitdir/culpritd.service"
chmod 0644 "$destdir$unitdir/culpritd.service"
install -D -m 0644 docs/culpritd.8 "$destdir$man/man8/culpritd.8"
install -D -m 0644 docs/culprit.1 "$destdir$man/man1/culprit.1"
install -D -m 0644 docs/culprit.conf.5 "$destdir$man/man5/culprit.conf.5"
# An administrator's configuration is never overwritten.
if [[ ! -e $destdir$sysconfdir/culprit/culprit.conf ]]; then
	install -D -m 0644 dist/culprit.conf "$destdir$sysconfdir/culprit/culprit.conf"
fi
mkdir -p "$destdir$sysconfdir/culprit/conf.d"
echo "installed; next: edit $sysconfdir/culprit/culprit.conf, then systemctl enable --now culpritd"
