// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/release.h"

#include <errno.h>
#include <stdio.h>

#include "act/frozen.h"
#include "act/ledger.h"
#include "lib/cgroupfs.h"
#include "lib/cleanup.h"

struct teller {
	const struct release_options *options;
	int error; /* of the first claim that stays */
};

static void tell(void *user, const struct claim *claim, int error)
{
	struct teller *teller = user;

	if (teller->error == 0 && error != -EBADMSG)
		teller->error = error;
	if (teller->options->told)
		teller->options->told(teller->options->user, claim, error);
}

int release_all(const struct release_options *options, pid_t *holder, char *what, size_t what_size)
{
	_cleanup_(ledger_closep)
	struct ledger *ledger = NULL;
	_cleanup_(cgroupfs_close)
	struct cgroupfs fs = { .mount_fd = -1 };
	struct teller teller = { .options = options };
	int r, undone;

	r = ledger_open_existing(&ledger, options->state_dir, holder, what, what_size);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = cgroupfs_open(&fs);
	if (r < 0) {
		snprintf(what, what_size, "cgroup2");
		return r;
	}
	undone = ledger_release(ledger, &fs, tell, &teller);
	if (!ledger_holds(ledger))
		frozen_remove(ledger_dir(ledger));
	if (options->remove_pins && options->pin_dir)
		/* Nothing to remove is the usual case, and pins harm nobody. */
		(void)options->remove_pins(options->pin_dir);
	if (undone < 0)
		return undone;
	return teller.error < 0 ? teller.error : undone;
}
