// SPDX-License-Identifier: GPL-2.0-or-later
#include "decide/turns_track.h"

#include "lib/clock.h"

/* A rate over less than this is chance. */
#define RATE_NS		  (50 * NSEC_PER_MSEC)
/* The refill is over when the rate has been this low for so long; a disk may stop for less. */
#define QUIET_SHARE	  0.1
#define QUIET_PAGES_PER_S 100.0
#define SETTLE_NS	  (500 * NSEC_PER_MSEC)
/* A disk that others keep busy stops for longer: what comes so soon after is the same refill. */
#define RESUME_NS	  (3 * NSEC_PER_SEC)
/* Who does less than this for so long does nothing. */
#define IDLE_NS		  (1 * NSEC_PER_SEC)
#define IDLE_CPU_USEC	  (USEC_PER_SEC / 100)

static uint64_t rise(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

void turns_track_begin(struct turns_track *k, uint64_t swapin_pages, uint64_t cpu_usec,
		       uint64_t now_ns)
{
	*k = (struct turns_track){ .began_ns = now_ns,
				   .base_ns = now_ns,
				   .base_swapin_pages = swapin_pages,
				   .busy_ns = now_ns,
				   .busy_swapin_pages = swapin_pages,
				   .busy_cpu_usec = cpu_usec };
}

static void see_refill(struct turns_track *k, uint64_t swapin_pages, uint64_t now_ns)
{
	uint64_t interval_ns = rise(k->base_ns, now_ns);
	double rate;
	bool is_low;

	if (interval_ns < RATE_NS)
		return;
	rate = (double)rise(k->base_swapin_pages, swapin_pages) * (double)NSEC_PER_SEC /
	       (double)interval_ns;
	is_low = rate < QUIET_PAGES_PER_S || rate < QUIET_SHARE * k->peak;
	if (is_low && !k->is_quiet)
		k->quiet_ns = k->base_ns;
	k->is_quiet = is_low;
	if (!is_low && k->base_ns < k->began_ns + k->refill_ns + RESUME_NS)
		k->is_settled = false;
	if (!k->is_settled)
		k->refill_ns = (is_low ? k->quiet_ns : now_ns) - k->began_ns;
	if (is_low && now_ns - k->quiet_ns >= SETTLE_NS)
		k->is_settled = true;
	if (rate > k->peak)
		k->peak = rate;
	k->base_ns = now_ns;
	k->base_swapin_pages = swapin_pages;
}

/* One that memory stalls uses little CPU, but swaps in; or waits for a disk that others keep busy,
 * and for a while does neither: who has begun to read its pages back in does something until its
 * refill is surely over. */
static void see_idle(struct turns_track *k, uint64_t swapin_pages, uint64_t cpu_usec,
		     uint64_t now_ns)
{
	if (!cpu_usec || swapin_pages != k->busy_swapin_pages || cpu_usec < k->busy_cpu_usec ||
	    cpu_usec - k->busy_cpu_usec >= IDLE_CPU_USEC) {
		k->busy_ns = now_ns;
		k->busy_swapin_pages = swapin_pages;
		k->busy_cpu_usec = cpu_usec;
	}
	k->is_idle = rise(k->busy_ns, now_ns) >= (k->refill_ns ? RESUME_NS : IDLE_NS);
}

void turns_track_see(struct turns_track *k, uint64_t swapin_pages, uint64_t cpu_usec,
		     uint64_t now_ns)
{
	see_refill(k, swapin_pages, now_ns);
	see_idle(k, swapin_pages, cpu_usec, now_ns);
}
