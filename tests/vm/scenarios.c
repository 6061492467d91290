// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The scenario suite of the signal `thrash`, on a machine that is ours alone:
 *
 *   make vm-thrash [RUNS=20] [SCENARIO=NAME]
 *
 * Each run is a process of its own, so that what goes wrong in one is the end of that one only. In
 * each round all scenarios have one run, in random order, with their loads started in random order.
 */
#include "scenarios.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/cleanup.h"

/* A run takes 10 to 40 s, emulated. */
#define RUN_TIMEOUT_S 240
#define MAX_RUNS      1000

struct suite {
	unsigned int runs, compare;
	uint64_t seed;
	bool json;
	const struct scenario *only;
	struct scenario_result *result; /* shared with the child of the run */
	struct scenario_score *score;
};

static const char usage_text[] =
	"usage: scenarios [--runs N] [--compare N] [--scenario NAME] [--seed N] [--json]\n"
	"  --runs N         runs of each scenario until the first pick (20)\n"
	"  --compare N      runs of a fixed time, with and without the agent (1)\n"
	"  --scenario NAME  only this one\n"
	"  --seed N         repeats the order of another time\n"
	"  --json           a JSON object for each run and each scenario\n";

/* It acts on the whole machine and switches its swap off: nothing for one that is in use. */
static bool is_guest(void)
{
	char name[64] = "";
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/hostname", "re");

	return geteuid() == 0 && f && fgets(name, sizeof(name), f) &&
	       strcmp(name, "culprit-vm\n") == 0 && access("/run/culprit-vm/token", F_OK) == 0;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 16;
}

static bool wait_for(pid_t pid, unsigned int seconds)
{
	uint64_t end = monotonic_ns() + seconds * NSEC_PER_SEC;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (monotonic_ns() >= end)
			return false;
		usleep(20000);
	}
	return true;
}

static void run(struct suite *suite, const struct scenario_order *order, unsigned int number)
{
	pid_t pid;

	memset(suite->result, 0, sizeof(*suite->result));
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("scenarios: fork");
		exit(1);
	}
	if (pid == 0) {
		scenario_run(order, suite->result);
		exit(0);
	}
	/* On SIGTERM it still removes what it has made. */
	if (!wait_for(pid, RUN_TIMEOUT_S)) {
		kill(pid, SIGTERM);
		if (!wait_for(pid, 30)) {
			kill(pid, SIGKILL);
			(void)waitpid(pid, NULL, 0);
		}
	}
	score_add(suite->score, order, suite->result);
	score_print_run(order, suite->result, number, suite->json);
}

/* One round: each scenario once. */
static void round_of(struct suite *suite, unsigned int number, bool to_the_end, bool with_agent)
{
	unsigned int order[32];

	for (unsigned int i = 0; i < n_scenarios && i < ARRAY_SIZE(order); i++) {
		unsigned int j = (unsigned int)(next_random(&suite->seed) % (i + 1));

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned int i = 0; i < n_scenarios && i < ARRAY_SIZE(order); i++) {
		const struct scenario_order one = {
			.scenario = &scenarios[order[i]],
			/* Fits into a JSON integer. */
			.seed = next_random(&suite->seed) >> 1,
			.with_agent = with_agent,
			.to_the_end = to_the_end,
		};

		if (!suite->only || suite->only == one.scenario)
			run(suite, &one, number);
	}
}

static const struct scenario *find(const char *name)
{
	for (unsigned int i = 0; i < n_scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	fprintf(stderr, "scenarios: there is no '%s'; there are:\n", name);
	for (unsigned int i = 0; i < n_scenarios; i++)
		fprintf(stderr, "  %-12s  %s\n", scenarios[i].name, scenarios[i].about);
	exit(2);
}

static unsigned long long number(const char *text, unsigned long long max)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (*end || end == text || n > max) {
		fprintf(stderr, "scenarios: '%s' is not a number up to %llu\n%s", text, max,
			usage_text);
		exit(2);
	}
	return n;
}

static void parse(struct suite *suite, int argc, char **argv)
{
	static const struct option options[] = {
		{ "runs", required_argument, NULL, 'r' },
		{ "compare", required_argument, NULL, 'c' },
		{ "scenario", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'e' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			suite->runs = (unsigned int)number(optarg, MAX_RUNS);
			break;
		case 'c':
			suite->compare = (unsigned int)number(optarg, MAX_RUNS);
			break;
		case 's':
			suite->only = find(optarg);
			break;
		case 'e':
			suite->seed = number(optarg, UINT64_MAX);
			break;
		case 'j':
			suite->json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		default:
			fputs(usage_text, stderr);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct suite suite = { .runs = 20, .compare = 1, .seed = unix_ms() };
	uint64_t begin = monotonic_ns();
	bool good;

	parse(&suite, argc, argv);
	if (!is_guest()) {
		fprintf(stderr, "scenarios: they act on a whole machine, so they run in a guest of "
				"scripts/vm.sh only; use make vm-thrash\n");
		return 1;
	}
	suite.result = mmap(NULL, sizeof(*suite.result), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (suite.result == MAP_FAILED) {
		perror("scenarios: mmap");
		return 1;
	}
	suite.score = score_new();
	if (!suite.json)
		printf("seed %llu\n", (unsigned long long)suite.seed);
	for (unsigned int i = 1; i <= suite.compare; i++) {
		round_of(&suite, i, true, false);
		round_of(&suite, i, true, true);
	}
	for (unsigned int i = 1; i <= suite.runs; i++)
		round_of(&suite, i, false, true);
	good = score_print(suite.score, suite.json);
	printf("| took %llu s\n", (unsigned long long)((monotonic_ns() - begin) / NSEC_PER_SEC));
	score_free(suite.score);
	return good ? 0 : 1;
}
