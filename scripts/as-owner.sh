#!/usr/bin/env bash
# Runs a command as the owner of this tree, so that what `sudo make …` builds in a user's clone stays
# the user's. Not root, or root's own tree: just runs it.
#
#   scripts/as-owner.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."

owner=$(stat -c %u .) group=$(stat -c %g .)
((EUID == 0 && owner != 0)) || exec "$@"

give_back() {
	local dir
	for dir in build build-asan; do
		[[ ! -e $dir ]] || chown -hR "$owner:$group" "$dir"
	done
}

# Of an earlier build that was root's, which its owner could not write.
give_back
# By number: a tree that is mounted from elsewhere may belong to somebody without a name here.
as_owner=(setpriv --reuid "$owner" --regid "$group" --clear-groups)
if "${as_owner[@]}" test -w "$PWD/." -a -x "$PWD/." 2>/dev/null; then
	exec "${as_owner[@]}" "$@"
fi
# The owner cannot get here (a parent directory is closed to it): build as root, then give it back.
status=0
"$@" || status=$?
give_back
exit "$status"
