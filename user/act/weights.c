// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define WEIGHT_LEAST   1   /* CGROUP_WEIGHT_MIN */
#define WEIGHT_DEFAULT 100 /* CGROUP_WEIGHT_DFL, which the end of cpu.idle leaves in cpu.weight */

static const char *const names[CLAIM_WEIGHTS] = {
	[WEIGHT_CPU_IDLE] = "cpu.idle",
	[WEIGHT_CPU] = "cpu.weight",
	[WEIGHT_IO] = "io.weight",
};

/* What stands before the number: io.weight may have lines for single devices, which stay. */
static const char *prefix_of(unsigned int file)
{
	return file == WEIGHT_IO ? "default " : "";
}

const char *weights_file_name(enum claim_weight_file file)
{
	return names[file];
}

int weights_open(int dir, struct weights *out)
{
	*out = WEIGHTS_CLOSED;
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		int r;

		out->fds[i] = openat(dir, names[i], O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (out->fds[i] >= 0 || errno == ENOENT)
			continue;
		r = errno == ENODEV ? -ESTALE : -errno;
		weights_close(out);
		return r;
	}
	return 0;
}

int weights_open_id(const struct cgroupfs *fs, uint64_t cgroup, struct weights *out)
{
	_cleanup_close_ int dir = cgroupfs_open_id(fs, cgroup);

	*out = WEIGHTS_CLOSED;
	if (dir < 0)
		return dir == -ENOENT ? -ESTALE : dir;
	return weights_open(dir, out);
}

void weights_close(struct weights *weights)
{
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++)
		closep(&weights->fds[i]);
	*weights = WEIGHTS_CLOSED;
}

/* The number, or -errno. */
static long read_weight(const struct weights *weights, unsigned int file)
{
	char buf[256], *at, *end;
	ssize_t n = pread(weights->fds[file], buf, sizeof(buf) - 1, 0);
	long value;

	if (n < 0)
		return errno == ENODEV ? -ESTALE : -errno;
	buf[n] = '\0';
	at = strstr(buf, prefix_of(file));
	if (!at)
		return -EBADMSG;
	value = strtol(at + strlen(prefix_of(file)), &end, 10);
	return end == at || value < 0 ? -EBADMSG : value;
}

static int write_weight(const struct weights *weights, unsigned int file, uint32_t value)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%s%u\n", prefix_of(file), value);

	if (pwrite(weights->fds[file], text, (size_t)n, 0) == n)
		return 0;
	/* ENOENT: as for the freezer, the cgroup went while the write waited. */
	return errno == ENODEV || errno == ENOENT ? -ESTALE : -errno;
}

int weights_plan(const struct weights *weights, struct claim_weight plan[static CLAIM_WEIGHTS])
{
	long value[CLAIM_WEIGHTS];
	bool any = false;

	memset(plan, 0, sizeof(*plan) * CLAIM_WEIGHTS);
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		value[i] = weights->fds[i] < 0 ? -ENOENT : read_weight(weights, i);
		if (value[i] < 0 && value[i] != -ENOENT)
			return (int)value[i];
		any |= value[i] >= 0;
	}
	if (!any)
		return -EOPNOTSUPP;
	if (value[WEIGHT_CPU_IDLE] == 0) {
		plan[WEIGHT_CPU_IDLE] = (struct claim_weight){ .old = 0, .ours = 1 };
		/* Not written, but lost. */
		if (value[WEIGHT_CPU] > 0)
			plan[WEIGHT_CPU].old = (uint32_t)value[WEIGHT_CPU];
	} else if (value[WEIGHT_CPU_IDLE] < 0 && value[WEIGHT_CPU] > WEIGHT_LEAST) {
		plan[WEIGHT_CPU] = (struct claim_weight){ .old = (uint32_t)value[WEIGHT_CPU],
							  .ours = WEIGHT_LEAST };
	}
	if (value[WEIGHT_IO] > WEIGHT_LEAST)
		plan[WEIGHT_IO] = (struct claim_weight){ .old = (uint32_t)value[WEIGHT_IO],
							 .ours = WEIGHT_LEAST };
	return claim_has_weights(plan) ? 0 : -ERANGE;
}

/* cpu.weight, when it is cpu.idle that lowers it. */
static bool is_by_idle(const struct claim_weight plan[static CLAIM_WEIGHTS], unsigned int file)
{
	return file == WEIGHT_CPU && plan[file].ours == 0;
}

int weights_lower(const struct weights *weights,
		  const struct claim_weight plan[static CLAIM_WEIGHTS])
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < CLAIM_WEIGHTS; i++)
		if (claim_weight_is_ours(&plan[i]) && !is_by_idle(plan, i))
			r = write_weight(weights, i, plan[i].ours);
	return r;
}

int weights_changed(const struct weights *weights,
		    const struct claim_weight plan[static CLAIM_WEIGHTS])
{
	int changed = 0;

	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		long value;

		if (!claim_weight_is_ours(&plan[i]) || is_by_idle(plan, i))
			continue;
		value = read_weight(weights, i);
		if (value < 0)
			return (int)value;
		if (value != plan[i].ours)
			changed |= 1 << i;
	}
	/* Whoever ends cpu.idle has set cpu.weight, too, or has it as the kernel left it. */
	if (changed & 1 << WEIGHT_CPU_IDLE && claim_weight_is_ours(&plan[WEIGHT_CPU]))
		changed |= 1 << WEIGHT_CPU;
	return changed;
}

int weights_restore(const struct weights *weights,
		    const struct claim_weight plan[static CLAIM_WEIGHTS])
{
	int first = 0;

	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		/* An attempt that was broken off may have ended cpu.idle already. (If somebody else
		 * did, the default is not their choice, but what the kernel put there.) */
		long ours = is_by_idle(plan, i) ? WEIGHT_DEFAULT : plan[i].ours, value;
		int r = 0;

		if (!claim_weight_is_ours(&plan[i]) || weights->fds[i] < 0)
			continue;
		value = read_weight(weights, i);
		if (value == ours && plan[i].old != (uint32_t)ours)
			r = write_weight(weights, i, plan[i].old);
		else if (value < 0)
			r = (int)value;
		if (r < 0 && r != -ESTALE && first == 0)
			first = r;
	}
	return first;
}
