// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/varlink_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"

enum peer_rank peer_rank(const struct peer *peer, uid_t own, bool has_group, gid_t group)
{
	if (peer->uid == 0 || peer->uid == own)
		return PEER_ROOT;
	if (!has_group)
		return PEER_STRANGER;
	if (peer->gid == group)
		return PEER_LOOKER;
	for (unsigned int i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] == group)
			return PEER_LOOKER;
	return PEER_STRANGER;
}

/* The peer's supplementary groups; a user may have thousands, so the kernel says how much room. */
static int peer_groups(int fd, gid_t **out, unsigned int *n)
{
	gid_t *groups = NULL;
	socklen_t size = 0;

	while (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
		gid_t *larger;

		if (errno != ERANGE) {
			int saved = errno;

			free(groups);
			return -saved;
		}
		larger = realloc(groups, size);
		if (!larger) {
			free(groups);
			return -ENOMEM;
		}
		groups = larger;
	}
	*out = groups;
	*n = groups ? size / sizeof(*groups) : 0;
	return 0;
}

int peer_identify(int fd, bool has_group, gid_t group, uid_t *uid, enum peer_rank *rank)
{
	_cleanup_free_ gid_t *groups = NULL;
	struct ucred credentials;
	socklen_t size = sizeof(credentials);
	struct peer peer = { 0 };
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -errno;
	r = peer_groups(fd, &groups, &peer.n_groups);
	if (r < 0)
		return r;
	peer.uid = credentials.uid;
	peer.gid = credentials.gid;
	peer.groups = groups;
	*uid = peer.uid;
	*rank = peer_rank(&peer, geteuid(), has_group, group);
	return 0;
}
