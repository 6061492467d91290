// SPDX-License-Identifier: GPL-2.0-or-later
#include "scenarios.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "lib/cgroupfs.h"
#include "lib/cleanup.h"
#include "../live/agent.h"
#include "../live/live.h"

/* What the agent, its maps in the kernel, and the programs that are to be read again need. */
#define RESERVE_MIB 48
#define READY_MS    60000

/* --- the machine ------------------------------------------------------------------------------ */

/* The first swap device, as swapon(8) knows it. */
static void swap_device(char *path, size_t size)
{
	char line[512];
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");

	if (!f || !fgets(line, sizeof(line), f) || !fgets(line, sizeof(line), f))
		fail_msg("no swap; run vm.sh with --swap");
	line[strcspn(line, " \t")] = '\0';
	snprintf(path, size, "%s", line);
}

void stage_empty_swap(void)
{
	char device[512];

	swap_device(device, sizeof(device));
	if (swapoff(device) < 0)
		fail_msg("swapoff %s: %s", device, strerror(errno));
	if (swapon(device, 0) < 0)
		fail_msg("swapon %s: %s", device, strerror(errno));
}

/* What the reader has read of it is no program's. */
static void forget_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static unsigned int available_mib(void)
{
	char line[128];
	unsigned long kib = 0;
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	return (unsigned int)(kib >> 10);
}

/* --- the loads -------------------------------------------------------------------------------- */

const char *stage_name(const struct stage *stage, unsigned int slot)
{
	return slot ? stage->scenario->loads[slot - 1].name : "probe";
}

const char *stage_cgroup(const struct stage *stage, unsigned int slot)
{
	if (slot && stage->scenario->loads[slot - 1].in_shell)
		return SESSION_CGROUP;
	return stage_name(stage, slot);
}

static unsigned int mib_of(const struct stage *stage, struct scenario_number number)
{
	unsigned int n = number.per_cent ? stage->room_mib * number.n / 100 : number.n;

	return number.per_cent && n == 0 ? 1 : n;
}

static const char *board_file(void)
{
	return agent_file("board");
}

static struct board *make_board(void)
{
	_cleanup_close_ int fd = open(board_file(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct board *board;

	if (fd < 0 || ftruncate(fd, sizeof(*board)) < 0)
		fail_msg("%s: %s", board_file(), strerror(errno));
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		fail_msg("mmap: %s", strerror(errno));
	return board;
}

struct words {
	char text[10][256];
	char *argv[12];
	unsigned int n;
};

static void say(struct words *words, const char *format, ...)
{
	va_list args;

	assert_true(words->n < ARRAY_SIZE(words->text));
	va_start(args, format);
	vsnprintf(words->text[words->n], sizeof(words->text[0]), format, args);
	va_end(args);
	words->argv[words->n] = words->text[words->n];
	words->argv[++words->n] = NULL;
}

static void command_of(const struct stage *stage, unsigned int slot, struct words *words)
{
	const struct scenario_load *load = slot ? &stage->scenario->loads[slot - 1] : NULL;
	char device[512];

	words->n = 0;
	say(words, "%s", live_program("tests/vm/scenario_load"));
	say(words, "%s", board_file());
	say(words, "%u", slot);
	say(words, "%s", stage_name(stage, slot));
	say(words, "%s", load ? load->role : "probe");
	if (!load) {
		say(words, "%u", SCENARIO_PROBE_MIB);
	} else if (strcmp(load->role, "read") == 0) {
		/* A file that is larger than all memory, and on a disk: the swap disk itself. */
		swap_device(device, sizeof(device));
		say(words, "%s", device);
	} else {
		/* No load has an argument 0 behind which another follows but touch. */
		unsigned int n = strcmp(load->role, "idle") == 0 ? 1 : ARRAY_SIZE(load->args);

		for (unsigned int i = 0; i < n; i++)
			say(words, "%u", mib_of(stage, load->args[i]));
	}
}

struct terminal {
	int slave;
};

static int run_shell(void *terminal)
{
	int slave = ((struct terminal *)terminal)->slave;

	if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		return 1;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			return 1;
	execl("/bin/bash", "bash", "--norc", "--noprofile", "-i", NULL);
	return 127;
}

/* As somebody types it. */
static void start_in_shell(struct stage *stage, const struct words *words)
{
	struct terminal terminal;
	char line[2048] = "";
	size_t n = 0;

	if (openpty(&stage->terminal, &terminal.slave, NULL, NULL, NULL) < 0)
		fail_msg("openpty: %s", strerror(errno));
	(void)fcntl(stage->terminal, F_SETFD, FD_CLOEXEC);
	(void)fcntl(stage->terminal, F_SETFL, O_NONBLOCK);
	live_cgroup(SESSION_CGROUP);
	stage->shell_pid = live_fork(SESSION_CGROUP, run_shell, &terminal);
	close(terminal.slave);
	for (unsigned int i = 0; i < words->n; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%c", words->argv[i],
				      i + 1 < words->n ? ' ' : '\n');
	if (write(stage->terminal, line, n) != (ssize_t)n)
		fail_msg("the terminal: %s", strerror(errno));
}

void stage_listen(struct stage *stage)
{
	ssize_t n;

	while (stage->terminal >= 0 && stage->n_said < sizeof(stage->said) - 1) {
		n = read(stage->terminal, stage->said + stage->n_said,
			 sizeof(stage->said) - 1 - stage->n_said);
		if (n <= 0)
			return;
		stage->n_said += (size_t)n;
	}
}

static void limit(const char *cgroup, unsigned int mib)
{
	char text[32];
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_path(cgroup));
	int r;

	snprintf(text, sizeof(text), "%uM", mib);
	r = dir < 0 ? dir : cgroupfs_write(dir, "memory.max", text);
	if (r < 0)
		fail_msg("memory.max of %s: %s", cgroup, strerror(-r));
}

static void start(struct stage *stage, unsigned int slot)
{
	const struct scenario_load *load = slot ? &stage->scenario->loads[slot - 1] : NULL;
	struct words words;

	command_of(stage, slot, &words);
	if (load && load->in_shell) {
		start_in_shell(stage, &words);
		return;
	}
	live_cgroup(stage_name(stage, slot));
	if (load && load->limit_per_cent)
		limit(stage_name(stage, slot), stage->room_mib * load->limit_per_cent / 100);
	(void)live_exec(stage_name(stage, slot), NULL, words.argv);
}

/* --- the stage -------------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static bool all_ready(void *arg)
{
	struct stage *stage = arg;

	stage_listen(stage);
	for (unsigned int i = 0; i <= stage->scenario->n_loads; i++)
		if (!atomic_load(&stage->board->slots[i].ready))
			return false;
	return true;
}

/* As below systemd, each has a memory cgroup of its own. */
static void delegate_memory(void)
{
	_cleanup_close_ int dir = cgroupfs_open_path(live_fs(), live_root());
	int r = dir < 0 ? dir : cgroupfs_write(dir, "cgroup.subtree_control", "+memory");

	if (r < 0)
		fail_msg("no memory controller below %s: %s", live_root(), strerror(-r));
}

void stage_set(struct stage *stage, const struct scenario *scenario, uint64_t seed)
{
	unsigned int n = scenario->n_loads + 1, available;
	char device[512];

	*stage = (struct stage){ .scenario = scenario, .terminal = -1 };
	stage_empty_swap();
	swap_device(device, sizeof(device));
	forget_file(device);
	available = available_mib();
	if (available < 2 * (RESERVE_MIB + SCENARIO_PROBE_MIB))
		fail_msg("only %u MiB of memory are available", available);
	stage->room_mib = available - RESERVE_MIB - SCENARIO_PROBE_MIB;
	stage->board = make_board();
	delegate_memory();
	for (unsigned int i = 0; i < n; i++) {
		unsigned int j = (unsigned int)(next_random(&seed) % (i + 1));

		stage->order[i] = stage->order[j];
		stage->order[j] = i;
	}
	for (unsigned int i = 0; i < n; i++) {
		start(stage, stage->order[i]);
		/* Longer than a tick of the start times. */
		usleep((useconds_t)(20000 + next_random(&seed) % 200000));
	}
	if (!live_until(all_ready, stage, READY_MS))
		fail_msg("not all loads are ready; the terminal shows: %s", stage->said);
}
