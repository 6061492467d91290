// SPDX-License-Identifier: GPL-2.0-or-later
/* One ledger slot as text: what is written is read back, whatever bytes are in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/format.h"

#define BOOT  "01234567-89ab-cdef-0123-456789abcdef"
#define OTHER "fedcba98-89ab-cdef-0123-456789abcdef"

static struct claim frozen_cgroup(const char *path, const char *reason)
{
	struct claim claim = {
		.id = 7,
		.action = CLAIM_FREEZE,
		.holds = true,
		.since_ms = 1790000000123,
		.target = { .kind = TARGET_CGROUP, .cgroup = 4711 },
		.policy = "miner-yields",
	};

	snprintf(claim.target.path, sizeof(claim.target.path), "%s", path);
	snprintf(claim.reason, sizeof(claim.reason), "%s", reason);
	return claim;
}

static struct claim stopped_process(void)
{
	return (struct claim){
		.id = 8,
		.action = CLAIM_STOP,
		.holds = true,
		.since_ms = 5,
		.n_shells = 2,
		.shells = { { 41, 1000000000 }, { 40, 990000000 } },
		.target = { .kind = TARGET_PROCESS,
			    .cgroup = UINT64_MAX - 1,
			    .pid = 42,
			    .start_time_ns = 123456789012345678,
			    .comm = "a \"hog\" (1)",
			    .path = "/x" },
		.policy = "p",
		.reason = "r",
	};
}

static void assert_round_trip(const struct claim *claim)
{
	char slot[LEDGER_SLOT_SIZE];
	struct claim back;

	format_claim(slot, claim, BOOT);
	assert_int_equal(slot[LEDGER_SLOT_SIZE - 1], '\n');
	assert_int_equal(parse_claim(slot, BOOT, &back), 0);
	assert_int_equal(back.id, claim->id);
	assert_int_equal(back.action, claim->action);
	assert_int_equal(back.holds, claim->holds);
	assert_int_equal(back.since_ms, claim->since_ms);
	assert_int_equal(back.target.kind, claim->target.kind);
	assert_int_equal(back.target.cgroup, claim->target.cgroup);
	assert_int_equal(back.target.pid, claim->target.pid);
	assert_int_equal(back.target.start_time_ns, claim->target.start_time_ns);
	assert_string_equal(back.target.comm, claim->target.comm);
	assert_string_equal(back.target.path, claim->target.path);
	assert_string_equal(back.policy, claim->policy);
	assert_string_equal(back.reason, claim->reason);
	assert_int_equal(back.n_shells, claim->n_shells);
	assert_memory_equal(back.shells, claim->shells, sizeof(back.shells));
	assert_memory_equal(back.weights, claim->weights, sizeof(back.weights));
}

static void the_weights_of_a_demotion_read_back(void **state)
{
	struct claim claim = frozen_cgroup("/background.slice", "r");

	(void)state;
	claim.action = CLAIM_DEMOTE;
	claim.weights[WEIGHT_CPU_IDLE] = (struct claim_weight){ .old = 0, .ours = 1 };
	claim.weights[WEIGHT_CPU] = (struct claim_weight){ .old = 10000, .ours = 0 };
	assert_round_trip(&claim);
	claim.weights[WEIGHT_IO] = (struct claim_weight){ .old = 500, .ours = 1 };
	assert_round_trip(&claim);
	claim.weights[WEIGHT_CPU_IDLE] = claim.weights[WEIGHT_CPU] = (struct claim_weight){ 0 };
	assert_round_trip(&claim);
}

static void weights_of_an_unknown_file_are_damage(void **state)
{
	struct claim claim = frozen_cgroup("/a", "r"), back;
	char slot[LEDGER_SLOT_SIZE], *file;

	(void)state;
	claim.action = CLAIM_DEMOTE;
	claim.weights[WEIGHT_IO] = (struct claim_weight){ .old = 100, .ours = 1 };
	format_claim(slot, &claim, BOOT);
	file = strstr(slot, "io.weight");
	assert_non_null(file);
	memcpy(file, "memory.hi", 9);
	assert_int_equal(parse_claim(slot, BOOT, &back), -EBADMSG);
}

static void a_cgroup_claim_reads_back(void **state)
{
	struct claim claim = frozen_cgroup("/background.slice/xmrig.service", "21% > 15%");

	(void)state;
	assert_round_trip(&claim);
}

static void a_process_claim_with_its_shells_reads_back(void **state)
{
	struct claim claim = stopped_process();

	(void)state;
	assert_round_trip(&claim);
}

static void every_byte_reads_back(void **state)
{
	(void)state;
	for (int byte = 1; byte < 256; byte++) {
		char path[] = { '/', 'a', (char)byte, 'b', (char)byte, '\0' };
		struct claim claim = frozen_cgroup(path, path);

		assert_round_trip(&claim);
	}
}

static void names_that_look_like_our_escapes_read_back(void **state)
{
	static const char *const names[] = {
		"/dev-disk-by\\x2duuid.swap",
		"/\\x5c",
		"/\\\\x5c",
		"/\\xff",
		"/\\x5cxff",
		"/\\xfg",
		"/\\",
		"/\\x",
		"/\\x5\xff",
		"/\\\xff",
		"/\xc3\xa4\xc3",
		"/\xed\xa0\x80",
		"/\xf0\x9f\x90\xa2",
		"/\xc0\xaf",
		"/\xe0\x80\x80",
		"/\xf4\x90\x80\x80",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct claim claim = frozen_cgroup(names[i], names[i]);

		assert_round_trip(&claim);
	}
}

static void random_bytes_read_back(void **state)
{
	unsigned int seed = 2;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		char path[200];
		size_t n = (size_t)rand_r(&seed) % (sizeof(path) - 1);

		for (size_t i = 0; i < n; i++)
			path[i] = "\\x5cef\x80\xff\x01\n\"\xc3\xa4"[(size_t)rand_r(&seed) % 13];
		path[n] = '\0';

		struct claim claim = frozen_cgroup(path, "random");

		assert_round_trip(&claim);
	}
}

static void systemd_names_stay_readable(void **state)
{
	struct claim claim = frozen_cgroup("/dev\\x2dsda.swap", "");
	char slot[LEDGER_SLOT_SIZE];

	(void)state;
	format_claim(slot, &claim, BOOT);
	json_auto_t *json = json_loadb(slot, sizeof(slot), 0, NULL);

	assert_string_equal(json_string_value(json_object_get(json, "path")), "/dev\\x2dsda.swap");
}

static void a_long_path_reads_back_whole(void **state)
{
	char path[CLAIM_PATH_LEN];
	struct claim claim;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	claim = frozen_cgroup(path, "long");
	assert_round_trip(&claim);
}

static void the_worst_names_still_fit_and_only_the_path_is_cut(void **state)
{
	struct claim claim = stopped_process(), back;
	char slot[LEDGER_SLOT_SIZE];

	(void)state;
	memset(claim.target.path, '\x01', sizeof(claim.target.path) - 1);
	memset(claim.reason, '\x01', sizeof(claim.reason) - 1);
	memset(claim.policy, '\x01', sizeof(claim.policy) - 1);
	memset(claim.target.comm, '\x01', sizeof(claim.target.comm) - 1);
	format_claim(slot, &claim, BOOT);
	assert_int_equal(parse_claim(slot, BOOT, &back), 0);
	assert_string_equal(back.reason, claim.reason);
	assert_string_equal(back.policy, claim.policy);
	assert_string_equal(back.target.comm, claim.target.comm);
	assert_true(strlen(back.target.path) > 100);
	assert_memory_equal(back.target.path, claim.target.path, strlen(back.target.path));
}

static void an_empty_slot_is_empty(void **state)
{
	char slot[LEDGER_SLOT_SIZE];
	struct claim claim;

	(void)state;
	format_empty(slot);
	assert_int_equal(parse_claim(slot, BOOT, &claim), -ENODATA);
	memset(slot, 0, sizeof(slot));
	assert_int_equal(parse_claim(slot, BOOT, &claim), -ENODATA);
}

static void every_truncation_is_damage(void **state)
{
	struct claim claim = stopped_process(), back;
	char slot[LEDGER_SLOT_SIZE], cut[LEDGER_SLOT_SIZE];
	size_t len;

	(void)state;
	format_claim(slot, &claim, BOOT);
	len = (size_t)((char *)memrchr(slot, '}', sizeof(slot)) - slot);
	for (size_t n = 1; n <= len; n++) {
		format_empty(cut);
		memcpy(cut, slot, n);
		assert_int_equal(parse_claim(cut, BOOT, &back), -EBADMSG);
		assert_int_equal(back.id, 0);
	}
}

static void damage_keeps_the_beginning_of_what_was_there(void **state)
{
	char slot[LEDGER_SLOT_SIZE];
	struct claim claim;

	(void)state;
	format_empty(slot);
	memcpy(slot, "{\"id\":3,\"act", 12);
	assert_int_equal(parse_claim(slot, BOOT, &claim), -EBADMSG);
	assert_memory_equal(claim.reason, "{\"id\":3,\"act", 12);
}

static void values_of_the_wrong_kind_are_damage(void **state)
{
	static const char *const slots[] = {
		"[]",
		"7",
		"{\"id\":0}",
		"{\"id\":1,\"action\":\"explode\",\"holds\":true,\"kind\":\"cgroup\",\"cgroup\":1,"
		"\"since\":1,\"boot\":\"" BOOT "\",\"policy\":\"\",\"reason\":\"\",\"path\":\"\"}",
		"{\"id\":1,\"action\":\"freeze\",\"holds\":1,\"kind\":\"cgroup\",\"cgroup\":1,"
		"\"since\":1,\"boot\":\"" BOOT "\",\"policy\":\"\",\"reason\":\"\",\"path\":\"\"}",
		"{\"id\":1,\"action\":\"stop\",\"holds\":true,\"kind\":\"process\",\"cgroup\":1,"
		"\"since\":1,\"boot\":\"" BOOT "\",\"pid\":-1,\"start_time\":1,\"shells\":[],"
		"\"comm\":\"\",\"policy\":\"\",\"reason\":\"\",\"path\":\"\"}",
		"{\"id\":1,\"action\":\"stop\",\"holds\":true,\"kind\":\"process\",\"cgroup\":1,"
		"\"since\":1,\"boot\":\"" BOOT
		"\",\"pid\":5,\"start_time\":1,\"shells\":[{},{},{},{}],"
		"\"comm\":\"\",\"policy\":\"\",\"reason\":\"\",\"path\":\"\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		char slot[LEDGER_SLOT_SIZE];
		struct claim claim;

		format_empty(slot);
		memcpy(slot, slots[i], strlen(slots[i]));
		assert_int_equal(parse_claim(slot, BOOT, &claim), -EBADMSG);
	}
}

static void a_claim_of_an_earlier_boot_is_stale(void **state)
{
	struct claim claim = frozen_cgroup("/a", "b"), back;
	char slot[LEDGER_SLOT_SIZE];

	(void)state;
	format_claim(slot, &claim, OTHER);
	assert_int_equal(parse_claim(slot, BOOT, &back), -ESTALE);
}

static void what_a_guardian_undid_reads_as_that_and_holds_nothing(void **state)
{
	struct claim claim = frozen_cgroup("/a", "b"), back;
	char slot[LEDGER_SLOT_SIZE];
	json_t *json;

	(void)state;
	/* However long its names are: there is always a place for it. */
	for (int i = 0; i < 2; i++) {
		format_claim(slot, &claim, BOOT);
		assert_int_equal(parse_claim(slot, BOOT, &back), 0);
		assert_false(back.undone);
		assert_true(back.holds);
		format_undone(slot);
		assert_int_equal(slot[LEDGER_SLOT_SIZE - 1], '\n');
		assert_int_equal(parse_claim(slot, BOOT, &back), 0);
		assert_true(back.undone);
		assert_false(back.holds);
		assert_int_equal(back.id, claim.id);
		assert_string_equal(back.policy, claim.policy);
		/* Others read it, too. */
		json = json_loadb(slot, sizeof(slot), 0, NULL);
		assert_true(json_is_true(json_object_get(json, "undone")));
		json_decref(json);
		memset(claim.reason, 1, sizeof(claim.reason) - 1);
		memset(claim.policy, 1, sizeof(claim.policy) - 1);
		memset(claim.target.path, 1, sizeof(claim.target.path) - 1);
		for (int file = 0; file < CLAIM_WEIGHTS; file++)
			claim.weights[file] = (struct claim_weight){ UINT32_MAX, 1 };
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cgroup_claim_reads_back),
		cmocka_unit_test(a_process_claim_with_its_shells_reads_back),
		cmocka_unit_test(the_weights_of_a_demotion_read_back),
		cmocka_unit_test(weights_of_an_unknown_file_are_damage),
		cmocka_unit_test(every_byte_reads_back),
		cmocka_unit_test(names_that_look_like_our_escapes_read_back),
		cmocka_unit_test(random_bytes_read_back),
		cmocka_unit_test(systemd_names_stay_readable),
		cmocka_unit_test(a_long_path_reads_back_whole),
		cmocka_unit_test(the_worst_names_still_fit_and_only_the_path_is_cut),
		cmocka_unit_test(an_empty_slot_is_empty),
		cmocka_unit_test(every_truncation_is_damage),
		cmocka_unit_test(damage_keeps_the_beginning_of_what_was_there),
		cmocka_unit_test(values_of_the_wrong_kind_are_damage),
		cmocka_unit_test(a_claim_of_an_earlier_boot_is_stale),
		cmocka_unit_test(what_a_guardian_undid_reads_as_that_and_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
