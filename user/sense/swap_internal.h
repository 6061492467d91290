/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the swap sense share. */
#ifndef CULPRIT_SENSE_SWAP_INTERNAL_H
#define CULPRIT_SENSE_SWAP_INTERNAL_H

#include "sense/swap.h"
#include "swap.skel.h"

struct ring_buffer;

struct swap_sense {
	struct sense_options options;
	swap_crossing_fn fn;
	void *user;

	struct sense_status status;
	char passed_over[320]; /* the rungs above and what was wrong with them */
	unsigned int rung;     /* index of the rung in use */
	bool proven;	       /* an event was seen, so that the rung is known to work */
	uint64_t kernel_base;  /* swap-ins by the kernel's count when the rung was attached */

	struct swap_bpf *skel;	     /* NULL: no rung */
	struct ring_buffer *records; /* of skel */
	int poll_fd;		     /* epoll around the ring buffer of whatever rung is in use */

	uint64_t window_ns, threshold_pages; /* of the last swap_arm() */
	pid_t ignored;			     /* of the last swap_ignore() */
	uint32_t arming;		     /* counts the calls of swap_arm() */
	uint32_t delivered;		     /* the last arming whose crossing was handed out */
	unsigned int handed_out;	     /* crossings, during swap_dispatch() */

	struct culprit_swap_process_key cursor; /* the entry where the sweep goes on */
	bool has_cursor;
	unsigned int walked; /* entries that the sweep has seen in this round */
	bool crowded;	     /* the last round saw a map that is half full */
};

enum swap_proof {
	SWAP_PROVEN,
	SWAP_SILENT,
	SWAP_UNPROVEN, /* there was nothing to see */
};

/* Swaps own pages out and in, and looks whether the rung in use saw it. *why is set when it is
 * unproven. */
enum swap_proof swap_prove(struct swap_sense *swap, const char **why);
/* The same without doing anything: by what has happened since the rung was attached. */
enum swap_proof swap_look(struct swap_sense *swap);
/* Swap-ins of all kinds by the kernel's own count (/proc/vmstat). 0 or -errno. */
int swap_kernel_count(uint64_t *pages);

/* Removes what is gone and old, some entries a call. */
void swap_sweep_processes(struct swap_sense *swap);

#endif
