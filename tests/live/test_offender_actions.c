// SPDX-License-Identifier: GPL-2.0-or-later
/* What is done to an offender that signal = thrash has found: each action, and each rung of
 * escalate. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent.h"
#include "lib/clock.h"
#include "limit.h"
#include "live.h"
#include "mini.h"
#include "thrashing.h"

#define POLICY(action, more)                                                                   \
	"[policy thrashing]\nsignal = thrash\ntarget = offender\ngrace = 1s\naction = " action \
	"\n" more
/* Among these no process makes half of what they all do. */
#define N_WORKERS  5
#define WORKER_MIB 26
/* Fits beside a few others, and has its pages taken by one who does not. */
#define VICTIM_MIB 48

static void exit_politely(int sig)
{
	(void)sig;
	_exit(7);
}

static int thrash_politely(void *mebibytes)
{
	signal(SIGTERM, exit_politely);
	return load_thrash(mebibytes);
}

static int thrash_stubbornly(void *mebibytes)
{
	signal(SIGTERM, SIG_IGN);
	return load_thrash(mebibytes);
}

static int thrash_protected(void *mebibytes)
{
	prctl(PR_SET_NAME, "untouchable");
	return load_thrash(mebibytes);
}

static pid_t start(const char *cgroup, int (*load)(void *), unsigned int mebibytes)
{
	return live_fork(cgroup, load, (void *)(uintptr_t)mebibytes);
}

static void make(const char *cgroup)
{
	live_cgroup(cgroup);
	live_limit(cgroup, LIMIT_MIB);
}

static json_int_t number(const json_t *event, const char *outer, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(event, outer), key));
}

static const char *text(const json_t *event, const char *outer, const char *key)
{
	return json_string_value(json_object_get(json_object_get(event, outer), key));
}

static bool is_alive(pid_t pid)
{
	char state = mini_state(pid);

	return state != '-' && state != 'Z' && state != 'X';
}

static bool is_stopped(void *pid)
{
	return mini_state(*(pid_t *)pid) == 'T';
}

static bool runs(void *pid)
{
	return is_alive(*(pid_t *)pid) && !is_stopped(pid);
}

/* What why says of it, in one of its lists. */
static bool why_says(const char *name, const char *list, const char *says)
{
	char error[128];
	json_t *reply = agent_call("Why", json_pack("{s:s}", "name", name), error, sizeof(error));
	const json_t *one;
	bool found = false;
	size_t i;

	if (!reply)
		fail_msg("Why %s: %s", name, error);
	json_array_foreach (json_object_get(json_array_get(json_object_get(reply, "why"), 0), list),
			    i, one) {
		const char *line = json_is_object(one)
					   ? json_string_value(json_object_get(one, "reason"))
					   : json_string_value(one);

		found |= strstr(line, says) != NULL;
	}
	if (!found)
		print_message("    why %s: not a word of '%s'\n", name, says);
	json_decref(reply);
	return found;
}

static const char *pid_name(pid_t pid)
{
	static char name[32];

	snprintf(name, sizeof(name), "pid:%d", (int)pid);
	return name;
}

static void stop_stops_the_process_and_continues_it(void **state)
{
	json_t *event;
	pid_t pid;

	(void)state;
	make("thrasher");
	agent_start(POLICY("stop", ""));
	pid = start("thrasher", load_thrash, THRASH_MIB);
	event = agent_wait_event("stopped", "thrashing", PATIENCE_MS);
	/* Although it is all that runs there. */
	assert_string_equal(text(event, "target", "kind"), "process");
	assert_int_equal(number(event, "target", "pid"), pid);
	assert_int_equal(number(event, "offender", "pid"), pid);
	json_decref(event);
	assert_true(is_stopped(&pid));
	assert_false(mini_asked_to_freeze("thrasher"));
	assert_true(why_says(pid_name(pid), "events", "memory thrashes"));
	assert_true(why_says(pid_name(pid), "undo", "thrashing: "));
	event = agent_wait_event("continued", "thrashing", 10000);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	assert_true(live_until(runs, &pid, 1000));
	assert_int_equal(agent_stop(), 0);
	assert_true(runs(&pid));
}

static void start_workers(pid_t workers[N_WORKERS], int (*load)(void *))
{
	for (int i = 0; i < N_WORKERS; i++)
		workers[i] = start("workers", load, WORKER_MIB);
}

static void stop_freezes_where_no_process_stands_out(void **state)
{
	pid_t workers[N_WORKERS];
	json_t *event;

	(void)state;
	make("workers");
	agent_start(POLICY("stop", ""));
	start_workers(workers, load_thrash);
	event = agent_wait_event("frozen", "thrashing", PATIENCE_MS);
	assert_string_equal(text(event, "target", "path"), live_path("workers"));
	assert_string_equal(text(event, "offender", "kind"), "cgroup");
	json_decref(event);
	assert_true(live_frozen("workers"));
	assert_int_equal(agent_stop(), 0);
	assert_false(live_frozen("workers"));
}

static void terminate_asks_all_of_a_cgroup_to_end(void **state)
{
	pid_t workers[N_WORKERS];
	json_t *event;

	(void)state;
	make("workers");
	agent_start(POLICY("terminate", ""));
	start_workers(workers, thrash_politely);
	event = agent_wait_event("terminated", "thrashing", PATIENCE_MS);
	assert_string_equal(text(event, "target", "path"), live_path("workers"));
	if (!strstr(json_string_value(json_object_get(event, "reason")), "together"))
		fail_msg("of many it is said: %s",
			 json_string_value(json_object_get(event, "reason")));
	json_decref(event);
	for (int i = 0; i < N_WORKERS; i++)
		assert_int_equal(live_wait(workers[i]), 7);
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_count_events("terminated", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

static void terminate_beside_others_asks_the_process_alone(void **state)
{
	pid_t pid, other;
	json_t *event;

	(void)state;
	make("shared");
	other = live_fork("shared", load_sleep, NULL);
	agent_start(POLICY("terminate", ""));
	pid = start("shared", thrash_politely, THRASH_MIB);
	event = agent_wait_event("terminated", "thrashing", PATIENCE_MS);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	assert_int_equal(live_wait(pid), 7);
	assert_true(is_alive(other));
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_true(why_says(pid_name(pid), "events", "memory thrashes"));
	assert_int_equal(agent_stop(), 0);
	assert_true(is_alive(other));
}

/* It goes on thrashing until it is killed, and others suffer from it: none of them is the next. */
static void while_one_has_its_time_to_end_nobody_else_is_asked(void **state)
{
	pid_t pid, victim;
	json_t *event;
	uint64_t begin;

	(void)state;
	make("shared");
	victim = start("shared", load_thrash, VICTIM_MIB);
	agent_start(POLICY("terminate", ""));
	pid = start("shared", thrash_stubbornly, THRASH_MIB);
	begin = monotonic_ns();
	event = agent_wait_event("killed", "thrashing", PATIENCE_MS + 10000);
	assert_true(monotonic_ns() - begin >= 9500 * NSEC_PER_MSEC);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "thrashing", 5000));
	/* It has room now. */
	usleep(2500 * 1000);
	assert_true(is_alive(victim));
	assert_int_equal(agent_count_events("terminated", NULL), 1);
	assert_int_equal(agent_count_events("killed", NULL), 1);
	assert_int_equal(agent_stop(), 0);
	assert_true(is_alive(victim));
}

static void kill_kills_a_whole_cgroup_at_once(void **state)
{
	json_t *event;
	pid_t pid;

	(void)state;
	make("thrasher");
	agent_start(POLICY("kill", ""));
	pid = start("thrasher", thrash_stubbornly, THRASH_MIB);
	event = agent_wait_event("killed", "thrashing", PATIENCE_MS);
	assert_string_equal(text(event, "target", "path"), live_path("thrasher"));
	assert_int_equal(number(event, "offender", "pid"), pid);
	if (!strstr(json_string_value(json_object_get(event, "reason")), "memory thrashes"))
		fail_msg("of a kill it is said: %s",
			 json_string_value(json_object_get(event, "reason")));
	json_decref(event);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "thrashing", 5000));
	assert_false(mini_asked_to_freeze("thrasher"));
	assert_true(why_says(live_path("thrasher"), "events", "memory thrashes"));
	/* What begins there next is somebody else. */
	pid = live_fork("thrasher", load_sleep, NULL);
	usleep(500 * 1000);
	assert_true(is_alive(pid));
	assert_int_equal(agent_stop(), 0);
}

static void kill_beside_others_kills_the_process_alone(void **state)
{
	pid_t pid, victim;
	json_t *event;

	(void)state;
	make("shared");
	victim = start("shared", load_thrash, VICTIM_MIB);
	agent_start(POLICY("kill", ""));
	pid = start("shared", thrash_stubbornly, THRASH_MIB);
	event = agent_wait_event("killed", "thrashing", PATIENCE_MS);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "thrashing", 5000));
	usleep(2500 * 1000);
	assert_true(is_alive(victim));
	assert_int_equal(agent_count_events("killed", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

/* Someone who may not be touched goes on thrashing, so that the signal stays. */
#define PROTECT "protect = comm:untouchable\n"

static void a_frozen_offender_is_killed_when_it_thrashes_on(void **state)
{
	pid_t pid, protected;
	uint64_t frozen;
	json_t *event;

	(void)state;
	make("thrasher");
	make("other");
	agent_start(PROTECT POLICY("freeze", "escalate = kill:2s\n"));
	pid = start("thrasher", thrash_stubbornly, THRASH_MIB);
	event = agent_wait_event("frozen", "thrashing", PATIENCE_MS);
	frozen = (uint64_t)json_integer_value(json_object_get(event, "ts"));
	json_decref(event);
	protected = start("other", thrash_protected, THRASH_MIB);
	assert_true(why_says(live_path("thrasher"), "next", "kill in "));
	event = agent_wait_event("killed", "thrashing", PATIENCE_MS);
	assert_string_equal(text(event, "target", "path"), live_path("thrasher"));
	assert_true((uint64_t)json_integer_value(json_object_get(event, "ts")) >= frozen + 1900);
	json_decref(event);
	assert_int_equal(live_wait(pid), 128 + SIGKILL);
	json_decref(agent_wait_event("terminated", "thrashing", 5000));
	assert_false(mini_asked_to_freeze("thrasher"));
	assert_true(is_alive(protected));
	assert_int_equal(agent_count_events("killed", NULL), 1);
	assert_int_equal(agent_stop(), 0);
}

static void a_frozen_offender_is_not_killed_when_it_is_calm(void **state)
{
	pid_t pid;

	(void)state;
	make("thrasher");
	/* The grace time is longer than the rung: in it nothing speaks for more. */
	agent_start("[policy thrashing]\nsignal = thrash\ntarget = offender\ngrace = 5s\n"
		    "action = freeze\nescalate = kill:2s\n");
	pid = start("thrasher", thrash_stubbornly, THRASH_MIB);
	json_decref(agent_wait_event("frozen", "thrashing", PATIENCE_MS));
	json_decref(agent_wait_event("thawed", "thrashing", 10000));
	assert_true(is_alive(pid));
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

static void a_stopped_offender_can_handle_the_sigterm_of_a_later_rung(void **state)
{
	json_t *event;
	pid_t pid;

	(void)state;
	make("shared");
	make("other");
	live_fork("shared", load_sleep, NULL);
	agent_start(PROTECT POLICY("freeze", "escalate = terminate:2s, kill:20s\n"));
	pid = start("shared", thrash_politely, THRASH_MIB);
	event = agent_wait_event("stopped", "thrashing", PATIENCE_MS);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	start("other", thrash_protected, THRASH_MIB);
	event = agent_wait_event("terminated", "thrashing", PATIENCE_MS);
	assert_int_equal(number(event, "target", "pid"), pid);
	json_decref(event);
	assert_int_equal(live_wait(pid), 7);
	assert_int_equal(agent_count_events("killed", NULL), 0);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, thrashing_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(stop_stops_the_process_and_continues_it),
		T(stop_freezes_where_no_process_stands_out),
		T(terminate_asks_all_of_a_cgroup_to_end),
		T(terminate_beside_others_asks_the_process_alone),
		T(while_one_has_its_time_to_end_nobody_else_is_asked),
		T(kill_kills_a_whole_cgroup_at_once),
		T(kill_beside_others_kills_the_process_alone),
		T(a_frozen_offender_is_killed_when_it_thrashes_on),
		T(a_frozen_offender_is_not_killed_when_it_is_calm),
		T(a_stopped_offender_can_handle_the_sigterm_of_a_later_rung),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
