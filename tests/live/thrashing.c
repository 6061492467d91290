// SPDX-License-Identifier: GPL-2.0-or-later
#include "thrashing.h"

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "limit.h"
#include "live.h"
#include "swapping.h"

#define SWAP_MIB 384

int thrashing_setup(void **state)
{
	int r = live_setup(state);

	if (r == 0)
		live_swap_on(SWAP_MIB);
	return r;
}

int load_thrash(void *mebibytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t random = (uint64_t)getpid() | 1;
	struct own_pages own;

	if (live_limit_join() < 0)
		return 1;
	if (own_pages_make(&own, ((size_t)(uintptr_t)mebibytes << 20) / page) < 0)
		return 2;
	for (;;) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		own.memory[(random >> 33) % own.pages * page]++;
	}
}
