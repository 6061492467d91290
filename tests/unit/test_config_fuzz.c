// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random bytes and mutated configurations: every one is either taken or refused with clean lines.
 * Meant for `make asan`; the same bytes in every run.
 */
#include "config_fixture.h"
#include "lib/utf8.h"

#define ROUNDS 4000

static const char valid[] =
	"[agent]\nmode = shadow\nonly = /test\nprotect = exe:/usr/sbin/sshd, unit:db.service,\n"
	"  ; between\n  comm:a*, uid:0\nprefer = /a/[a-z]*\nsocket = /run/s\npulse = 1.5s\n"
	"[workload miner]\nunit = x.service ; c\n[workload b]\ncgroup = /b.slice/*\n"
	"[policy p]\nsignal = cpu\nof = unit:m.service\nenter = 15%\nleave = 0.1cpu\ngrace = 15s\n"
	"window = 250ms\nmax_hold = none\naction = freeze\ntarget = miner,\n b\n"
	"[policy g]\nsignal = gpu\ndevices = /dev/nvidia[0-9]*\nignore = comm:x\nhold = 2s\n"
	"users = any\naction = terminate\ntarget = b\n"
	"[policy t]\nsignal = thrash\naction = stop\ntarget = offender\nslice = 5s\n"
	"[job j]\ncommand = /bin/x\nnice = 5\n"
	"[policy u]\nsignal = pressure\nenter = 60%\nescalate = kill:30s\ntarget = jobs\n";

/* What the grammar is made of, put in at random places. */
static const char *const bits[] = {
	"[",  "]",	  "=",	  "\n",	  " ;",	  "#",	  "\n ",   ",",	    "\\",
	"/*", "[policy ", "[[:",  "]\n[", "\r\n", "\x1f", "\xc3",  "..",    "\n\n[agent]\n",
	"%",  "cpu",	  "none", "1e9",  "0",	  "-",	  "unit:", "comm:", "99999999999999999999",
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void load_and_check(struct fixture *f, const char *data, size_t size)
{
	fixture_write(f, "culprit.conf", data, size);
	(void)fixture_load(f, true);
	for (const char *line = f->said; *line; line = strchr(line, '\n') + 1) {
		char kept[1024] = "";
		size_t n = strcspn(line, "\n");

		if (line[n] == '\0')
			break; /* more was said than the fixture keeps */
		if (n >= sizeof(kept))
			fail_msg("a message of %zu bytes", n);
		memcpy(kept, line, n);
		utf8_clean(kept);
		if (strncmp(kept, line, n) != 0)
			fail_msg("not clean: %s", kept);
	}
}

static void random_bytes_do_no_harm(void **state)
{
	uint64_t seed = 88172645463325252ULL;
	char data[512];

	for (int round = 0; round < ROUNDS / 4; round++) {
		size_t size = next_random(&seed) % sizeof(data);

		for (size_t i = 0; i < size; i++)
			data[i] = (char)next_random(&seed);
		/* Half of them get past the first line. */
		if (round % 2 && size > 8)
			memcpy(data, "[agent]\n", 8);
		load_and_check(*state, data, size);
	}
}

static size_t mutate(uint64_t *seed, char *data, size_t size, size_t room)
{
	size_t at = next_random(seed) % (size + 1);
	const char *bit = bits[next_random(seed) % ARRAY_SIZE(bits)];
	size_t n = strlen(bit), cut;

	switch (next_random(seed) % 4) {
	case 0: /* a byte becomes another */
		if (at < size)
			data[at] = (char)next_random(seed);
		return size;
	case 1: /* some bytes go */
		cut = next_random(seed) % 12;
		cut = cut > size - at ? size - at : cut;
		memmove(data + at, data + at + cut, size - at - cut);
		return size - cut;
	case 2: /* a bit of grammar comes */
		if (size + n > room)
			return size;
		memmove(data + at + n, data + at, size - at);
		memcpy(data + at, bit, n);
		return size + n;
	default: /* the rest goes */
		return next_random(seed) % 8 ? size : at;
	}
}

static void mutated_configurations_do_no_harm(void **state)
{
	uint64_t seed = 362436069123456789ULL;
	struct fixture *f = *state;
	unsigned int taken = 0;
	char data[4096];

	for (int round = 0; round < ROUNDS; round++) {
		/* Up to the jobs all of it is right, so that some stay right. */
		size_t size =
			round % 2 ? sizeof(valid) - 1 : (size_t)(strstr(valid, "[job j]") - valid);

		memcpy(data, valid, size);
		for (uint64_t n = next_random(&seed) % 4; n > 0; n--)
			size = mutate(&seed, data, size, sizeof(data));
		load_and_check(f, data, size);
		taken += f->r == 0;
	}
	/* Both ways were gone, or the texts above are not what they should be. */
	assert_true(taken > ROUNDS / 20 && taken < ROUNDS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(random_bytes_do_no_harm),
		FIXTURE_TEST(mutated_configurations_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
