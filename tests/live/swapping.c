// SPDX-License-Identifier: GPL-2.0-or-later
#include "swapping.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

/* Longer than the writing of some hundred MiB takes on a slow disk. */
#define OUT_PATIENCE_NS (20 * NSEC_PER_SEC)

static struct {
	char file[PATH_MAX];
	char device[64]; /* the loop device, or "" */
	bool on;
	int lock;
} swap = { .lock = -1 };

static const char *swapped_on(void)
{
	return swap.device[0] ? swap.device : swap.file;
}

/* Runs a shell command, its first line of output into `line`. */
static int run(const char *command, char *line, size_t size)
{
	FILE *f = popen(command, "r");
	int status;

	if (!f)
		return -1;
	if (!fgets(line, (int)size, f))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	while (fgetc(f) != EOF)
		;
	status = pclose(f);
	return status == 0 ? 0 : -1;
}

/* The pages of others come back with it, and one whose cgroup is at its limit has no room for them
 * just now (-ENOMEM). */
static bool swap_is_off(void *error)
{
	if (swapoff(swapped_on()) == 0)
		return true;
	*(int *)error = errno;
	return false;
}

void live_swap_off(void)
{
	char command[128], line[128];
	int error;

	if (swap.on && !live_until(swap_is_off, &error, 20000))
		fprintf(stderr, "live: swapoff %s: %s\n", swapped_on(), strerror(error));
	swap.on = false;
	if (swap.device[0]) {
		snprintf(command, sizeof(command), "losetup -d %s", swap.device);
		(void)run(command, line, sizeof(line));
		swap.device[0] = '\0';
	}
	if (swap.file[0])
		unlink(swap.file);
	swap.file[0] = '\0';
	closep(&swap.lock);
	swap.lock = -1;
}

/*
 * Two swap files of one priority take turns, page by page: another test's readahead and swapoff
 * would read pages of ours, and they would be booked to it. So one test swaps at a time. The lock
 * is on a directory that every kernel has, and needs no file of its own.
 */
static void wait_for_turn(void)
{
	static const char path[] = "/sys/kernel/mm";

	swap.lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (swap.lock < 0 || flock(swap.lock, LOCK_EX) < 0)
		fail_msg("lock %s: %s", path, strerror(errno));
}

static void make_file(unsigned int mebibytes)
{
	static char zeros[1 << 20];
	char command[PATH_MAX + 64], line[128];

	const char *disk = getenv("CULPRIT_SWAP_DIR");

	if (disk)
		snprintf(swap.file, sizeof(swap.file), "%s/culprit-test-%d.swap", disk,
			 (int)getpid());
	else
		snprintf(swap.file, sizeof(swap.file), "%s/swap", live_tmpdir());

	_cleanup_close_ int fd = open(swap.file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		fail_msg("%s: %s", swap.file, strerror(errno));
	/* Unwritten extents are good enough for ext4 and xfs; others want every block written. */
	if (fallocate(fd, 0, 0, (off_t)mebibytes << 20) < 0)
		for (unsigned int i = 0; i < mebibytes; i++)
			if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
				fail_msg("%s: %s", swap.file, strerror(errno));
	snprintf(command, sizeof(command), "mkswap -q %s 2>&1", swap.file);
	if (run(command, line, sizeof(line)) < 0)
		fail_msg("mkswap: %s", line);
}

void live_swap_on(unsigned int mebibytes)
{
	const int first = SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK;
	char command[PATH_MAX + 64];

	live_on_cleanup(live_swap_off);
	wait_for_turn();
	make_file(mebibytes);
	if (swapon(swap.file, first) < 0) {
		snprintf(command, sizeof(command), "losetup --show -f %s", swap.file);
		if (run(command, swap.device, sizeof(swap.device)) < 0 || !swap.device[0])
			fail_msg("losetup %s failed", swap.file);
		if (swapon(swap.device, first) < 0)
			fail_msg("swapon %s: %s", swap.device, strerror(errno));
	}
	swap.on = true;
}

uint64_t live_vmstat(const char *key)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/vmstat", "re");
	char name[64];
	unsigned long long value;

	if (!f)
		fail_msg("/proc/vmstat: %s", strerror(errno));
	while (fscanf(f, "%63s %llu", name, &value) == 2)
		if (strcmp(name, key) == 0)
			return value;
	fail_msg("/proc/vmstat has no %s", key);
	return 0;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Never zero, so that no page is all zeros (those need no swap device). */
static unsigned char content(size_t page)
{
	return (unsigned char)(1 + page % 251);
}

int own_pages_make(struct own_pages *own, size_t pages)
{
	size_t size = pages * page_size();

	own->pages = pages;
	own->touched = 0;
	own->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own->memory == MAP_FAILED)
		return -errno;
	if (madvise(own->memory, size, MADV_NOHUGEPAGE) < 0)
		return -errno;
	for (size_t i = 0; i < pages; i++)
		own->memory[i * page_size()] = content(i);
	return 0;
}

/* Reads the pages that are in memory, or in the swap cache; how many. */
static size_t touch_resident(const struct own_pages *own, unsigned char *resident)
{
	const volatile unsigned char *memory = own->memory;
	size_t n = 0;

	if (mincore(own->memory, own->pages * page_size(), resident) < 0)
		return own->pages;
	for (size_t i = 0; i < own->pages; i++) {
		if (!(resident[i] & 1))
			continue;
		(void)memory[i * page_size()];
		n++;
	}
	return n;
}

/*
 * A page that was written stays in the swap cache, from where it would come back unread. Mapped
 * again by a read it is clean and still has its place in the swap file (while less than half of
 * that is in use), so that the next time it is dropped at once.
 */
int own_pages_out(struct own_pages *own)
{
	_cleanup_free_ unsigned char *resident = malloc(own->pages);
	uint64_t end_ns = monotonic_ns() + OUT_PATIENCE_NS;

	if (!resident)
		return -ENOMEM;
	for (;;) {
		size_t touched;

		if (madvise(own->memory, own->pages * page_size(), MADV_PAGEOUT) < 0)
			return -errno;
		touched = touch_resident(own, resident);
		if (touched == 0)
			return 0;
		own->touched += touched;
		if (monotonic_ns() > end_ns)
			return -EAGAIN;
		usleep(1000);
	}
}

int own_pages_in(struct own_pages *own)
{
	volatile unsigned char *memory = own->memory;

	for (size_t i = 0; i < own->pages; i++)
		if (memory[i * page_size()] != content(i))
			return -EBADMSG;
	return 0;
}

void own_pages_free(struct own_pages *own)
{
	munmap(own->memory, own->pages * page_size());
}

int load_swap_once(void *pages)
{
	struct own_pages own;
	int r = own_pages_make(&own, (size_t)(uintptr_t)pages);

	if (r == 0)
		r = own_pages_out(&own);
	if (r == 0)
		r = own_pages_in(&own);
	return r < 0 ? -r : 0;
}
