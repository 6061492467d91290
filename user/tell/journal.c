// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/journal.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#define MAX_FIELDS  32
/* Name, "\n", length, value, "\n": always in the form that also takes values with newlines. */
#define FIELD_PARTS 5

int journal_open(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int journal_send(int fd, const char *path, const struct journal_field *fields, size_t n)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct iovec parts[MAX_FIELDS * FIELD_PARTS];
	uint64_t lengths[MAX_FIELDS];
	struct msghdr message = {
		.msg_name = &address,
		.msg_namelen = sizeof(address),
		.msg_iov = parts,
	};
	size_t used = 0;

	if (n > MAX_FIELDS || strlen(path) >= sizeof(address.sun_path))
		return -EINVAL;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	for (size_t i = 0; i < n; i++) {
		const struct journal_field *f = &fields[i];

		if (!f->value)
			continue;
		lengths[i] = htole64(strlen(f->value));
		parts[used++] = (struct iovec){ (void *)f->name, strlen(f->name) };
		parts[used++] = (struct iovec){ "\n", 1 };
		parts[used++] = (struct iovec){ &lengths[i], sizeof(lengths[i]) };
		parts[used++] = (struct iovec){ (void *)f->value, strlen(f->value) };
		parts[used++] = (struct iovec){ "\n", 1 };
	}
	message.msg_iovlen = used;
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
