// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent killed at bad moments: nothing stays frozen, and nothing is in the way of the next. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"

static void wait_ms(long least, long most)
{
	usleep((useconds_t)(1000 * (least + random() % (most - least + 1))));
}

static void release(void)
{
	const char *argv[] = { live_program("culpritd"),
			       "--release",
			       "--state-dir",
			       agent_file("state"),
			       "--socket",
			       agent_file("control"),
			       "--pin-dir",
			       agent_pin_dir(),
			       NULL };

	assert_int_equal(live_wait(live_exec(NULL, agent_file("release.log"), (char *const *)argv)),
			 0);
}

/* Neither a hold, nor a pin, nor a socket, nor a claim, nor a word about one. */
static void nothing_is_left(void)
{
	char line[256] = "";
	_cleanup_fclose_ FILE *ledger = fopen(agent_file("state/ledger"), "re");

	assert_false(live_frozen("hog"));
	assert_int_equal(access(agent_pin_dir(), F_OK), -1);
	assert_int_equal(access(agent_file("control"), F_OK), -1);
	assert_int_equal(access(agent_file("control.new"), F_OK), -1);
	assert_int_equal(access(agent_file("state/frozen"), F_OK), -1);
	assert_int_equal(access(agent_file("state/frozen.new"), F_OK), -1);
	while (ledger && fgets(line, sizeof(line), ledger))
		assert_null(strchr(line, '{'));
}

static void killed_while_it_starts_it_leaves_nothing_behind(void **state)
{
	(void)state;
	/* The work goes on, so that it freezes as soon as it can. */
	live_fork("front", load_spin, NULL);
	for (int i = 0; i < 50; i++) {
		agent_spawn(agent_hog_yields);
		wait_ms(0, 300);
		live_kill(agent_pid());
		/* Every other time the next agent finds things as the dead one left them. */
		if (i % 2 == 0)
			continue;
		release();
		nothing_is_left();
	}
	agent_start(agent_hog_yields);
	assert_true(live_until(live_is_frozen, "hog", 5000));
	assert_int_equal(agent_stop(), 0);
	nothing_is_left();
}

static void killed_while_it_reloads_it_leaves_nothing_behind(void **state)
{
	(void)state;
	live_fork("front", load_spin, NULL);
	for (int i = 0; i < 10; i++) {
		agent_start(agent_hog_yields);
		assert_true(live_until(live_is_frozen, "hog", 5000));
		kill(agent_pid(), SIGHUP);
		wait_ms(0, 8);
		live_kill(agent_pid());
		assert_true(live_until(live_is_thawed, "hog", 100));
		release();
		nothing_is_left();
	}
}

static void killed_while_it_stops_it_leaves_nothing_behind(void **state)
{
	(void)state;
	live_fork("front", load_spin, NULL);
	for (int i = 0; i < 10; i++) {
		agent_start(agent_hog_yields);
		assert_true(live_until(live_is_frozen, "hog", 5000));
		kill(agent_pid(), SIGTERM);
		wait_ms(0, 20);
		live_kill(agent_pid());
		assert_true(live_until(live_is_thawed, "hog", 100));
		release();
		nothing_is_left();
	}
}

static void killed_with_its_guardian_the_ledger_is_enough(void **state)
{
	char error[128];

	(void)state;
	live_fork("front", load_spin, NULL);
	for (int restart = 0; restart < 2; restart++) {
		json_t *reply;
		pid_t guardian;

		agent_start(agent_hog_yields);
		assert_true(live_until(live_is_frozen, "hog", 5000));
		reply = agent_call("GetStatus", NULL, error, sizeof(error));
		assert_non_null(reply);
		guardian = (pid_t)json_integer_value(
			json_object_get(json_object_get(json_object_get(reply, "status"), "agent"),
					"guardian_pid"));
		json_decref(reply);
		/* Stopped, the agent can neither notice nor replace it. */
		kill(agent_pid(), SIGSTOP);
		assert_true(guardian > 1);
		kill(guardian, SIGKILL);
		live_kill(agent_pid());
		assert_true(live_frozen("hog"));
		if (restart) {
			agent_start("");
			json_decref(agent_wait_event("recovered", NULL, 3000));
			assert_false(live_frozen("hog"));
			assert_int_equal(agent_stop(), 0);
		} else {
			release();
		}
		nothing_is_left();
	}
}

static void what_its_guardian_let_go_is_told_by_whoever_comes_next(void **state)
{
	char line[256], all[4096] = "";
	json_t *event;
	FILE *f;

	(void)state;
	live_fork("front", load_spin, NULL);
	for (int i = 0; i < 2; i++) {
		agent_start(agent_hog_yields);
		assert_true(live_until(live_is_frozen, "hog", 5000));
		live_kill(agent_pid());
		assert_true(live_until(live_is_thawed, "hog", 100));
		if (i > 0)
			break;
		agent_start("");
		event = agent_wait_event("recovered", "front-first", 3000);
		assert_non_null(strstr(json_string_value(json_object_get(event, "reason")),
				       "its guardian let it go"));
		json_decref(event);
		assert_int_equal(agent_stop(), 0);
		nothing_is_left();
	}
	release();
	nothing_is_left();
	f = fopen(agent_file("release.log"), "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		strncat(all, line, sizeof(all) - strlen(all) - 1);
	fclose(f);
	assert_non_null(strstr(all, "its guardian let go"));
	assert_non_null(strstr(all, live_path("hog")));
}

/* The kernel releases a dying process's files from the highest number down. */
static void the_guardian_hears_of_its_death_before_any_program_comes_off(void **state)
{
	char directory[64], path[96], to[64] = "";
	struct dirent *file;
	int highest = 0;
	DIR *files;

	(void)state;
	agent_start("");
	snprintf(directory, sizeof(directory), "/proc/%d/fd", (int)agent_pid());
	files = opendir(directory);
	assert_non_null(files);
	while ((file = readdir(files)))
		if (atoi(file->d_name) > highest)
			highest = atoi(file->d_name);
	closedir(files);
	snprintf(path, sizeof(path), "%s/%d", directory, highest);
	assert_true(readlink(path, to, sizeof(to) - 1) > 0);
	if (strncmp(to, "socket:", strlen("socket:")) != 0)
		fail_msg("the last file that the agent has open is %d, %s", highest, to);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, agent_hog_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(killed_while_it_starts_it_leaves_nothing_behind),
		T(killed_while_it_reloads_it_leaves_nothing_behind),
		T(killed_while_it_stops_it_leaves_nothing_behind),
		T(killed_with_its_guardian_the_ledger_is_enough),
		T(what_its_guardian_let_go_is_told_by_whoever_comes_next),
		T(the_guardian_hears_of_its_death_before_any_program_comes_off),
	};

	srandom((unsigned int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
