// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/losses.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "losses.skel.h"

struct losses {
	struct losses_bpf *skel;
	unsigned int n_added;
	struct {
		const char *name;
		const char *text;
		losses_count_fn fn;
		void *user;
	} added[LOSSES_MAX_ADDED];
};

int losses_open(struct losses **out)
{
	_cleanup_free_ struct losses *losses = calloc(1, sizeof(*losses));

	if (!losses)
		return -ENOMEM;
	losses->skel = losses_bpf__open_and_load();
	if (!losses->skel)
		return -errno;
	*out = take_ptr(losses);
	return 0;
}

void losses_close(struct losses *losses)
{
	if (!losses)
		return;
	losses_bpf__destroy(losses->skel);
	free(losses);
}

int losses_fd(const struct losses *losses)
{
	return bpf_map__fd(losses->skel->maps.losses);
}

int losses_add(struct losses *losses, const char *name, const char *text, losses_count_fn fn,
	       void *user)
{
	unsigned int i = losses->n_added;

	if (i == LOSSES_MAX_ADDED)
		return -ENOSPC;
	losses->added[i].name = name;
	losses->added[i].text = text;
	losses->added[i].fn = fn;
	losses->added[i].user = user;
	losses->n_added++;
	return 0;
}

int losses_read(const struct losses *losses, struct culprit_losses *counts)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(losses_fd(losses), &zero, counts) < 0 ? -errno : 0;
}

int losses_each(const struct losses *losses, losses_fn fn, void *user)
{
	struct culprit_losses counts;
	int r = losses_read(losses, &counts);

	if (r < 0)
		return r;
#define X(field, text) fn(user, #field, text, counts.field);
	CULPRIT_LOSSES(X)
#undef X
	for (unsigned int i = 0; i < losses->n_added; i++)
		fn(user, losses->added[i].name, losses->added[i].text,
		   losses->added[i].fn(losses->added[i].user));
	return 0;
}
