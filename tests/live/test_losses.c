// SPDX-License-Identifier: GPL-2.0-or-later
/* The losses map and the counters that others add to the list. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"
#include "sense/losses.h"

static struct losses *losses;

static int setup(void **state)
{
	(void)state;
	return losses_open(&losses);
}

static int teardown(void **state)
{
	(void)state;
	losses_close(losses);
	return 0;
}

static void counters_of_the_map_are_read(void **state)
{
	struct culprit_losses set = { .swap_process_full = 5, .tree_record_dropped = 7 };
	struct culprit_losses counts;
	__u32 zero = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(losses_fd(losses), &zero, &set, 0), 0);
	assert_int_equal(losses_read(losses, &counts), 0);
	assert_memory_equal(&counts, &set, sizeof(set));
}

static uint64_t forty_two(void *user)
{
	(void)user;
	return 42;
}

struct wanted {
	const char *name;
	uint64_t count;
	unsigned int seen, all;
};

static void look_for(void *user, const char *name, const char *text, uint64_t count)
{
	struct wanted *wanted = user;

	assert_true(text[0] != '\0');
	wanted->all++;
	if (strcmp(name, wanted->name) == 0) {
		wanted->seen++;
		wanted->count = count;
	}
}

static void added_counters_are_in_the_same_list(void **state)
{
	struct wanted map = { .name = "swap_process_full" };
	struct wanted added = { .name = "events_dropped" };

	(void)state;
	assert_int_equal(losses_add(losses, "events_dropped", "events", forty_two, NULL), 0);
	assert_int_equal(losses_each(losses, look_for, &map), 0);
	assert_int_equal(losses_each(losses, look_for, &added), 0);
	assert_int_equal(map.seen, 1);
	assert_int_equal(map.count, 5);
	assert_int_equal(added.seen, 1);
	assert_int_equal(added.count, 42);
	assert_int_equal(added.all, sizeof(struct culprit_losses) / sizeof(__u64) + 1);
}

static void more_counters_than_fit_are_refused(void **state)
{
	int r = 0;

	(void)state;
	for (int i = 0; i < LOSSES_MAX_ADDED && r == 0; i++)
		r = losses_add(losses, "more", "more", forty_two, NULL);
	assert_int_equal(r, -ENOSPC);
}

/* Beside the losses that programs count, what the kernel did not run them for, of every sense. */
static void status_shows_them_and_the_missed_events_of_every_sense(void **state)
{
	static const char *const wanted[] = { "cpu_events_missed",  "gpu_events_missed",
					      "swap_events_missed", "tree_events_missed",
					      "gpu_look_full",	    "gpu_file_full",
					      "gpu_holding_full",   "tree_record_dropped" };
	char error[128];
	json_t *reply, *shown;

	(void)state;
	assert_int_equal(live_setup(NULL), 0);
	agent_start("");
	reply = agent_call("GetStatus", NULL, error, sizeof(error));
	assert_non_null(reply);
	shown = json_object_get(json_object_get(reply, "status"), "losses");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!json_is_integer(json_object_get(shown, wanted[i])))
			fail_msg("status does not show %s", wanted[i]);
	json_decref(reply);
	assert_int_equal(agent_stop(), 0);
	live_cleanup();
}

static void the_map_dumps_with_the_names_of_its_fields(void **state)
{
	char path[64], output[4096];
	size_t n;
	FILE *f;

	(void)state;
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(losses_fd(losses), &info, &size), 0);
	snprintf(path, sizeof(path), "bpftool map dump id %u", info.id);
	f = popen(path, "r");
	assert_non_null(f);
	n = fread(output, 1, sizeof(output) - 1, f);
	output[n] = '\0';
	assert_int_equal(pclose(f), 0);
	assert_non_null(strstr(output, "\"swap_process_full\": 5"));
	assert_non_null(strstr(output, "\"tree_record_dropped\": 7"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_of_the_map_are_read),
		cmocka_unit_test(added_counters_are_in_the_same_list),
		cmocka_unit_test(more_counters_than_fit_are_refused),
		cmocka_unit_test(status_shows_them_and_the_missed_events_of_every_sense),
		cmocka_unit_test(the_map_dumps_with_the_names_of_its_fields),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
