/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is at the other end of a socket, and what it may do. */
#ifndef CULPRIT_TELL_VARLINK_PEER_H
#define CULPRIT_TELL_VARLINK_PEER_H

#include <stdbool.h>
#include <sys/types.h>

enum peer_rank {
	PEER_STRANGER,
	PEER_LOOKER,
	PEER_ROOT
};

struct peer {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary ones */
	unsigned int n_groups;
};

/* Pure. own: the server's uid, which may do all, as root may; group: valid if has_group. */
enum peer_rank peer_rank(const struct peer *peer, uid_t own, bool has_group, gid_t group);

/* Asks the kernel who connected (SO_PEERCRED, SO_PEERGROUPS: as of the connect). 0 or -errno. */
int peer_identify(int fd, bool has_group, gid_t group, uid_t *uid, enum peer_rank *rank);

#endif
