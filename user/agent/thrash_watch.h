/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the signal `thrash` share: the looks, and whose fault they say it is. */
#ifndef CULPRIT_AGENT_THRASH_WATCH_H
#define CULPRIT_AGENT_THRASH_WATCH_H

#include "agent/agent.h"
#include "agent/facts.h"
#include "decide/offender.h"
#include "decide/thrash.h"
#include "sense/memlimit.h"

struct thrash_watch {
	struct psi *psi; /* NULL: none on this kernel */
	struct thrash_copy calm, before;
	struct thrash_swapin *swapins; /* of the look just taken */
	size_t n_swapins, room_swapins;
	bool swapins_lost; /* out of memory while collecting them */
	struct offender_room room;
	struct thrash_sample now; /* the look just taken */
	bool first_look;	  /* `before` is of this crossing */
	uint64_t judged_ns, offender_ns, crossing_ns;
	struct swap_use last_pulse;
	sd_event_source *timer;
	struct memlimits limits;
	struct facts facts; /* too large for the stack of a callback */
};

#endif
