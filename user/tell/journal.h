/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Structured messages to the journal, without ever waiting for it. sd_journal_sendv(3) sends on a
 * blocking socket: a journald that is stopped, frozen or starved by the very thrashing that we are
 * here to end would stop the agent with it. The native protocol is a datagram of fields
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL), so it is sent here, on a socket that does not block.
 */
#ifndef CULPRIT_TELL_JOURNAL_H
#define CULPRIT_TELL_JOURNAL_H

#include <stddef.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct journal_field {
	const char *name;  /* "MESSAGE" */
	const char *value; /* any text; NULL: the field is left out */
};

/* A descriptor for journal_send(), or -errno. There need not be a journal yet. */
int journal_open(void);

/* Sends one message of at most 32 fields to the journal at `path`. 0; -EAGAIN when its queue is
 * full; -ENOENT or -ECONNREFUSED when there is no journal; -errno. Does not allocate. */
int journal_send(int fd, const char *path, const struct journal_field *fields, size_t n);

#endif
