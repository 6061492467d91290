// SPDX-License-Identifier: GPL-2.0-or-later
#include "scenarios.h"

#include "lib/cleanup.h"

#define N(number)               \
	{                       \
		(number), false \
	}
/* Of the memory that there is. */
#define P(number)              \
	{                      \
		(number), true \
	}

/* Busy all the time, with all of its memory; sleeps a little in between, as most programs do. */
#define VICTIM(its_name, size)                   \
	{                                        \
		its_name, INNOCENT, "touch",     \
		{                                \
			P(size), P(size), N(256) \
		}                                \
	}

/* Loads that only together are too much: each fits before the start signal, so that the agent has
 * seen a calm machine. */
const struct scenario scenarios[] = {
	{
		.name = "slow-grower",
		.about = "one grows by 10 MiB/s among busy victims",
		.loads = { VICTIM("victim-a", 45),
			   VICTIM("victim-b", 45),
			   { "grower", CULPRIT, "grow", { N(8), N(10), N(300) } } },
		.n_loads = 3,
		.seconds = 10,
	},
	{
		.name = "fast-grower",
		.about = "one grows by 100 MiB/s among busy victims",
		.loads = { VICTIM("victim-a", 45),
			   VICTIM("victim-b", 45),
			   { "grower", CULPRIT, "grow", { N(8), N(100), N(300) } } },
		.n_loads = 3,
		.seconds = 10,
	},
	{
		.name = "two-hogs",
		.about = "two that do not fit together",
		.loads = { { "hog-a", CULPRIT, "touch", { P(30), P(85), N(256) } },
			   { "hog-b", CULPRIT, "touch", { P(30), P(85), N(256) } } },
		.n_loads = 2,
		.seconds = 10,
	},
	{
		.name = "idle-giant",
		.about = "a small thrasher beside a large idle process",
		.loads = { { "giant", INNOCENT, "idle", { P(60) } },
			   VICTIM("victim", 15),
			   { "thrasher",
			     CULPRIT,
			     "touch",
			     { P(8), P(40), N(256) },
			     .limit_per_cent = 22 } },
		.n_loads = 3,
		.seconds = 10,
	},
	{
		.name = "file-faults",
		.about = "a swap thrasher beside many file faults",
		.loads = { { "reader", INNOCENT, "read" },
			   VICTIM("victim", 15),
			   { "thrasher", CULPRIT, "touch", { P(30), P(115), N(256) } } },
		.n_loads = 3,
		.seconds = 10,
	},
	{
		.name = "fork-storm",
		.about = "short-lived workers, one after the other",
		.loads = { VICTIM("victim", 40),
			   { "storm", CULPRIT, "storm", { N(20), P(6), N(200) } } },
		.n_loads = 2,
		.seconds = 10,
	},
	{
		.name = "many-workers",
		.about = "twenty in one cgroup, none of which stands out",
		.loads = { VICTIM("victim", 35),
			   { "workers", CULPRIT, "workers", { N(20), P(1), P(5) } } },
		.n_loads = 2,
		.seconds = 10,
	},
	{
		.name = "shell-job",
		.about = "a job of an interactive shell",
		.loads = { VICTIM("victim", 30),
			   { "job",
			     CULPRIT,
			     "touch",
			     { P(20), P(105), N(256) },
			     .in_shell = true } },
		.n_loads = 2,
		.process = true,
		.seconds = 10,
	},
	{
		.name = "protected",
		.about = "the first to blame is protected",
		.loads = { { "precious", PROTECTED, "touch", { P(20), P(110), N(256) } },
			   { "next", CULPRIT, "touch", { P(30), P(45), N(256) } } },
		.n_loads = 2,
		.seconds = 10,
	},
};
const unsigned int n_scenarios = ARRAY_SIZE(scenarios);
