// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loads of the thrash scenarios:
 *
 *   scenario_load BOARD SLOT NAME ROLE...
 *     touch BASE MIB PAGES      writes to BASE MiB at random, from the start signal on to MIB;
 *                               sleeps 1 ms after each PAGES of them
 *     grow BASE MIB_PER_S MAX   from the start signal on, and never looks at it again
 *     idle MIB
 *     read FILE                 from the start signal on, pages of it at random, by way of mmap(2)
 *     storm N MIB ROUNDS        from the start signal on N children at a time, each of which writes
 *                               to its MiB at random and ends after ROUNDS of 10 ms and more
 *     workers N BASE MIB        N children that do what touch does, more slowly
 *     probe MIB                 wakes each 100 ms and writes to all of it
 *
 * NAME becomes its comm. All sizes are MiB. Each runs until it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fs.h>

#include "lib/clock.h"
#include "scenario.h"

#define PAGE  4096UL
/* Pages, 1 MiB. */
#define STEP  256UL
/* Touches between two looks at the board or the clock: each may take a millisecond. */
#define BATCH 32

/* Of each where there are many, so that the CPUs are enough for all of them. */
#define MANY_BURST	256
#define MANY_PAUSE_USEC 10000

static struct board *board;
static struct board_slot *slot;

static void fail(const char *what)
{
	fprintf(stderr, "scenario_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text) {
		fprintf(stderr, "scenario_load: '%s' is not a number\n", text);
		exit(2);
	}
	return n;
}

/* xorshift64: cheap, and its pages come in no order that readahead could guess. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t seed(void)
{
	return ((uint64_t)getpid() << 32 ^ monotonic_ns()) | 1;
}

static size_t pages_of(unsigned long mib)
{
	return (mib << 20) / PAGE;
}

/* Without huge pages, so that it is as large as it says and goes out page by page. */
static unsigned char *reserve(size_t pages)
{
	unsigned char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	(void)madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	return memory;
}

/* In steps, without a page fault for each page: emulated, one takes a tenth of a millisecond. What
 * is written is not zero, and no two pages are alike, so that none is kept without taking memory.
 */
static void fill(unsigned char *memory, size_t from, size_t to)
{
	while (from < to) {
		size_t n = to - from < STEP ? to - from : STEP;

		(void)madvise(memory + from * PAGE, n * PAGE, MADV_POPULATE_WRITE);
		for (size_t i = from; i < from + n; i++)
			*(uint64_t *)(memory + i * PAGE) =
				i * 0x9e3779b97f4a7c15ULL + (uint64_t)getpid();
		from += n;
	}
}

/* A step more of it, if there is more; how much it has now. While it takes the rest it goes on with
 * what it has, as programs do. */
static size_t fill_some(unsigned char *memory, size_t has, size_t all)
{
	size_t to = all - has < STEP ? all : has + STEP;

	fill(memory, has, to);
	atomic_fetch_add(&slot->touches, to - has);
	return to;
}

static void ready(void)
{
	atomic_store(&slot->pid, (int32_t)getpid());
	atomic_store(&slot->ready, 1);
}

static bool is_go(void)
{
	return atomic_load(&board->go);
}

static void wait_for_go(void)
{
	while (!is_go())
		usleep(2000);
}

static void touch_some(unsigned char *memory, size_t pages, uint64_t *random)
{
	for (int i = 0; i < BATCH; i++)
		(*(uint64_t *)(memory + next_random(random) % pages * PAGE))++;
	atomic_fetch_add(&slot->touches, BATCH);
}

static void touch_for_ever(unsigned char *memory, size_t base, size_t all, unsigned long burst,
			   useconds_t pause_usec)
{
	uint64_t random = seed();
	unsigned long since = 0;
	size_t has = base;

	for (;;) {
		bool go = is_go();

		if (go)
			has = fill_some(memory, has, all);
		touch_some(memory, has, &random);
		since += BATCH;
		/* Before it, the others and the agent want to get ready. */
		if (!go)
			usleep(50000);
		if (since >= burst) {
			usleep(pause_usec);
			since = 0;
		}
	}
}

static void touch(char **args)
{
	size_t base = pages_of(number(args[0])), all = pages_of(number(args[1]));
	unsigned char *memory = reserve(all);

	fill(memory, 0, base);
	ready();
	touch_for_ever(memory, base, all, number(args[2]), 1000);
}

static void grow(char **args)
{
	size_t base = pages_of(number(args[0])), pages_per_s = pages_of(number(args[1]));
	size_t max = pages_of(number(args[2])), has = base;
	unsigned char *memory = reserve(max);
	uint64_t begin;

	fill(memory, 0, base);
	ready();
	wait_for_go();
	begin = monotonic_ns();
	for (;;) {
		uint64_t due = base + (monotonic_ns() - begin) * pages_per_s / NSEC_PER_SEC;

		if (due > max)
			due = max;
		if (due > has) {
			fill(memory, has, due);
			atomic_fetch_add(&slot->touches, due - has);
			has = due;
		}
		usleep(10000);
	}
}

static void idle(char **args)
{
	size_t pages = pages_of(number(args[0]));

	fill(reserve(pages), 0, pages);
	ready();
	for (;;)
		pause();
}

static uint64_t size_of(int fd)
{
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) < 0)
		fail("stat");
	if (S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		fail("size");
	return size;
}

static void read_file(char **args)
{
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	uint64_t random = seed(), size;
	volatile const unsigned char *memory;

	if (fd < 0)
		fail(args[0]);
	size = size_of(fd);
	memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	(void)madvise((void *)memory, size, MADV_RANDOM);
	ready();
	wait_for_go();
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			(void)memory[next_random(&random) % (size / PAGE) * PAGE];
		atomic_fetch_add(&slot->touches, BATCH);
	}
}

/* It ends when its work is done, which takes longer when memory is short. */
static void short_life(size_t pages, unsigned long rounds)
{
	uint64_t random = seed();
	unsigned char *memory = reserve(pages);
	size_t has = 0;

	for (unsigned long round = 0; round < rounds; round++) {
		for (int i = 0; i < 4; i++)
			has = fill_some(memory, has, pages);
		for (int i = 0; i < MANY_BURST / BATCH; i++)
			touch_some(memory, has, &random);
		usleep(MANY_PAUSE_USEC);
	}
	_exit(0);
}

/* A fork that fails for want of memory is tried again. */
static void storm(char **args)
{
	unsigned long n = number(args[0]), rounds = number(args[2]), living = 0;
	size_t pages = pages_of(number(args[1]));

	ready();
	wait_for_go();
	for (;;) {
		while (living < n) {
			pid_t pid = fork();

			if (pid == 0)
				short_life(pages, rounds);
			if (pid < 0)
				break;
			living++;
		}
		if (living == 0)
			usleep(10000);
		else if (wait(NULL) > 0)
			living--;
	}
}

static void workers(char **args)
{
	unsigned long n = number(args[0]);
	size_t base = pages_of(number(args[1])), all = pages_of(number(args[2]));
	int filled[2];
	char byte = 0;

	if (pipe(filled) < 0)
		fail("pipe");
	for (unsigned long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			unsigned char *memory = reserve(all);

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			fill(memory, 0, base);
			if (write(filled[1], &byte, 1) != 1)
				_exit(1);
			touch_for_ever(memory, base, all, MANY_BURST, MANY_PAUSE_USEC);
		}
	}
	for (unsigned long i = 0; i < n; i++)
		if (read(filled[0], &byte, 1) != 1)
			fail("a worker");
	ready();
	for (;;)
		pause();
}

static void note(uint64_t ns)
{
	uint32_t n = atomic_load(&board->n_samples);

	if (n == BOARD_SAMPLES)
		return;
	board->latency_us[n] = (uint32_t)(ns / NSEC_PER_USEC);
	atomic_store(&board->n_samples, n + 1);
}

/* Who waits for an answer each 100 ms waits for all of them: a time at which it could not even
 * wake, because it was still busy with an earlier one, counts from when it was due. */
static void probe(char **args)
{
	size_t pages = pages_of(number(args[0]));
	unsigned char *memory = reserve(pages);
	uint64_t due = monotonic_ns();

	fill(memory, 0, pages);
	ready();
	for (;;) {
		struct timespec ts;
		uint64_t now;

		due += PROBE_PERIOD_MS * NSEC_PER_MSEC;
		atomic_store(&board->due_ns, due);
		ts.tv_sec = (time_t)(due / NSEC_PER_SEC);
		ts.tv_nsec = (long)(due % NSEC_PER_SEC);
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		for (size_t i = 0; i < pages; i++)
			(*(uint64_t *)(memory + i * PAGE))++;
		now = monotonic_ns();
		note(now - due);
		for (; now - due > PROBE_PERIOD_MS * NSEC_PER_MSEC;) {
			due += PROBE_PERIOD_MS * NSEC_PER_MSEC;
			note(now - due);
		}
		atomic_fetch_add(&slot->touches, pages);
	}
}

static const struct {
	const char *name;
	int args;
	void (*run)(char **args);
} roles[] = {
	{ "touch", 3, touch },	  { "grow", 3, grow },	 { "idle", 1, idle },
	{ "read", 1, read_file }, { "storm", 3, storm }, { "workers", 3, workers },
	{ "probe", 1, probe },
};

int main(int argc, char **argv)
{
	int fd;

	if (argc < 5) {
		fprintf(stderr, "usage: scenario_load BOARD SLOT NAME ROLE [ARG...]\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || number(argv[2]) >= BOARD_SLOTS)
		fail(argv[1]);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		fail(argv[1]);
	slot = &board->slots[number(argv[2])];
	(void)prctl(PR_SET_NAME, argv[3]);
	/* Its code comes from the host by way of virtiofs. Whoever had to wait for that each time
	 * that memory is short would not have much to do with swap. */
	if (mlockall(MCL_CURRENT) < 0)
		fail("mlockall");
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(argv[4], roles[i].name) == 0 && argc - 5 == roles[i].args)
			roles[i].run(argv + 5);
	fprintf(stderr, "scenario_load: no role '%s' with %d arguments\n", argv[4], argc - 5);
	return 2;
}
