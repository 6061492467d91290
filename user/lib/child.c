// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

void child_begin(pid_t parent, int keep)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (keep > 3)
		(void)close_range(3, (unsigned int)keep - 1, 0);
	(void)close_range((unsigned int)keep + 1, ~0U, 0);
	if (getppid() != parent)
		_exit(1);
}
