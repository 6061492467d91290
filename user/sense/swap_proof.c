// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether a rung sees anything: compared with what the kernel itself counts. */
#include "sense/swap_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/support.h"

/* More than a CPU may keep to itself before the last rung sees it (64 faults before 6.2, then
 * 32 per CPU, at least). */
#define PROOF_PAGES 512

/* How long the writing of them may take. */
#define PROOF_PATIENCE_NS (500 * NSEC_PER_MSEC)

int swap_kernel_count(uint64_t *pages)
{
	static const char *const kinds[] = { "pswpin ", "zswpin ", "swpin_zero " };
	_cleanup_fclose_ FILE *f = fopen("/proc/vmstat", "re");
	char line[128];
	bool found = false;

	if (!f)
		return -errno;
	*pages = 0;
	while (fgets(line, sizeof(line), f)) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (strncmp(line, kinds[i], strlen(kinds[i])) != 0)
				continue;
			*pages += strtoull(line + strlen(kinds[i]), NULL, 10);
			found = true;
		}
	}
	/* A kernel built without swap. */
	return found ? 0 : -ENOTSUP;
}

static uint64_t seen(struct swap_sense *swap)
{
	struct swap_use use = { 0 };

	(void)swap_total(swap, &use);
	return use.swapin_pages + use.zswapin_pages + use.zeroin_pages;
}

enum swap_proof swap_look(struct swap_sense *swap)
{
	uint64_t kernel = 0;

	if (seen(swap) > 0)
		return SWAP_PROVEN;
	if (swap_kernel_count(&kernel) < 0 || kernel < swap->kernel_base + PROOF_PAGES)
		return SWAP_UNPROVEN;
	return SWAP_SILENT;
}

/* Reads the pages that are in memory, or in the swap cache; how many. */
static size_t touch_resident(volatile unsigned char *memory, size_t page)
{
	unsigned char resident[PROOF_PAGES];
	size_t n = 0;

	if (mincore((void *)memory, PROOF_PAGES * page, resident) < 0)
		return 0;
	for (size_t i = 0; i < PROOF_PAGES; i++) {
		if (resident[i] & 1) {
			(void)memory[i * page];
			n++;
		}
	}
	return n;
}

/*
 * Pages of our own go out to swap and are read back. A page that was written stays in the swap
 * cache, from where it would come back unread; mapped again by a read it is clean, and the next
 * time it is dropped at once.
 */
static void swap_own_pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = PROOF_PAGES * page;
	uint64_t deadline_ns = monotonic_ns() + PROOF_PATIENCE_NS;
	volatile unsigned char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return;
	/* The agent may have locked its memory. */
	(void)munlock((void *)memory, size);
	(void)madvise((void *)memory, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < PROOF_PAGES; i++)
		memory[i * page] = (unsigned char)(1 + i % 251);
	while (madvise((void *)memory, size, MADV_PAGEOUT) == 0 &&
	       touch_resident(memory, page) > 0 && monotonic_ns() < deadline_ns)
		usleep(1000);
	for (size_t i = 0; i < PROOF_PAGES; i++)
		(void)memory[i * page];
	(void)munmap((void *)memory, size);
}

enum swap_proof swap_prove(struct swap_sense *swap, const char **why)
{
	uint64_t before = 0, after = 0;

	if (!support_swap()) {
		*why = "no swap";
		return SWAP_UNPROVEN;
	}
	if (swap_kernel_count(&before) < 0)
		return SWAP_UNPROVEN;
	swap_own_pages();
	if (seen(swap) > 0)
		return SWAP_PROVEN;
	(void)swap_kernel_count(&after);
	if (after < before + PROOF_PAGES / 2) {
		*why = "own pages did not go out to swap";
		return SWAP_UNPROVEN;
	}
	return SWAP_SILENT;
}
