// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/psi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"

struct psi {
	int fd;
	uint64_t last_usec[PSI_KINDS];
};

static const char *const resources[] = {
	[PSI_MEMORY] = "memory",
	[PSI_CPU] = "cpu",
	[PSI_IO] = "io",
};

static const char *const kinds[PSI_KINDS] = {
	[PSI_SOME] = "some",
	[PSI_FULL] = "full",
};

static int open_host(enum psi_resource resource)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/pressure/%s", resources[resource]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOTSUP : -errno;
	return fd;
}

static int open_cgroup(int cgroup_fd, enum psi_resource resource)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "%s.pressure", resources[resource]);
	fd = openat(cgroup_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT && errno != ENODEV)
		return -errno;
	/* Every cgroup that is there has this file. */
	return faccessat(cgroup_fd, "cgroup.procs", F_OK, 0) == 0 ? -ENOTSUP : -ENOENT;
}

int psi_open(struct psi **out, int cgroup_fd, enum psi_resource resource)
{
	struct psi_values values[PSI_KINDS];
	struct psi *psi = calloc(1, sizeof(*psi));
	int r;

	if (!psi)
		return -ENOMEM;
	psi->fd = cgroup_fd < 0 ? open_host(resource) : open_cgroup(cgroup_fd, resource);
	r = psi->fd < 0 ? psi->fd : psi_read(psi, values);
	if (r < 0) {
		psi_close(psi);
		/* The files are there but do not answer when PSI is off at boot. */
		return r == -EOPNOTSUPP ? -ENOTSUP : r;
	}
	for (int kind = 0; kind < PSI_KINDS; kind++)
		psi->last_usec[kind] = values[kind].total_usec;
	*out = psi;
	return 0;
}

void psi_close(struct psi *psi)
{
	if (!psi)
		return;
	closep(&psi->fd);
	free(psi);
}

static bool parse_line(const char *line, struct psi_values *values)
{
	unsigned int percent[3], hundredths[3];
	unsigned long long total;

	if (sscanf(line, "%*4s avg10=%u.%2u avg60=%u.%2u avg300=%u.%2u total=%llu", &percent[0],
		   &hundredths[0], &percent[1], &hundredths[1], &percent[2], &hundredths[2],
		   &total) != 7)
		return false;
	values->avg10 = percent[0] * 100 + hundredths[0];
	values->avg60 = percent[1] * 100 + hundredths[1];
	values->avg300 = percent[2] * 100 + hundredths[2];
	values->total_usec = total;
	return true;
}

int psi_read(struct psi *psi, struct psi_values values[PSI_KINDS])
{
	char buf[256];
	char *line = buf;
	ssize_t n = pread(psi->fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	memset(values, 0, sizeof(*values) * PSI_KINDS);
	while (*line) {
		char *end = strchr(line, '\n');

		/* A cut line is not a smaller number. */
		if (!end)
			return -EBADMSG;
		*end = '\0';
		for (int kind = 0; kind < PSI_KINDS; kind++)
			if (strncmp(line, kinds[kind], 4) == 0 && !parse_line(line, &values[kind]))
				return -EBADMSG;
		line = end + 1;
	}
	return n > 0 ? 0 : -EBADMSG;
}

int psi_stall(struct psi *psi, enum psi_kind kind, uint64_t *stalled_usec)
{
	struct psi_values values[PSI_KINDS];
	int r = psi_read(psi, values);
	uint64_t total_usec;

	if (r < 0)
		return r;
	total_usec = values[kind].total_usec;
	*stalled_usec = total_usec > psi->last_usec[kind] ? total_usec - psi->last_usec[kind] : 0;
	psi->last_usec[kind] = total_usec;
	return 0;
}
