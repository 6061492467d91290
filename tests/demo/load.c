// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The work that the demo shows: a busy loop, a program that keeps a device open for a while, and
 * one that touches more memory than it may have.
 *
 *   load spin                 for ever
 *   load spin SECONDS
 *   load hold NODE SECONDS    opens NODE and keeps it
 *   load thrash MIB           touches MIB at random for ever; prints touches/s each second
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int spin(double seconds)
{
	double end = now() + seconds;

	while (seconds <= 0 || now() < end)
		for (volatile int i = 0; i < 100000; i++)
			;
	return 0;
}

static int hold(const char *node, double seconds)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "load: %s: %s\n", node, strerror(errno));
		return 1;
	}
	usleep((useconds_t)(seconds * 1e6));
	close(fd);
	return 0;
}

/* xorshift64: cheap, and its pages come in no order that readahead could guess. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int thrash(size_t mib)
{
	size_t pages = (mib << 20) / 4096;
	uint64_t state = 88172645463325252ULL, touches = 0;
	double begin = now();
	char *memory =
		mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		fprintf(stderr, "load: %zu MiB: %s\n", mib, strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < pages; i++)
		memset(memory + i * 4096, (int)(i % 251) + 1, 4096);
	for (;;) {
		memory[next(&state) % pages * 4096]++;
		if (++touches % 64 == 0 && now() - begin >= 1) {
			printf("%.0f\n", (double)touches / (now() - begin));
			fflush(stdout);
			begin = now();
			touches = 0;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "spin") == 0)
		return spin(argc > 2 ? atof(argv[2]) : 0);
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2], atof(argv[3]));
	if (argc == 3 && strcmp(argv[1], "thrash") == 0)
		return thrash((size_t)strtoul(argv[2], NULL, 10));
	fprintf(stderr, "usage: load spin [SECONDS] | hold NODE SECONDS | thrash MIB\n");
	return 2;
}
