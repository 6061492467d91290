// SPDX-License-Identifier: GPL-2.0-or-later
/* What the agent runs without, and says so: once in the log, and in status as long as it is so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "live.h"
#include "mini.h"
#include "sense/support.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

static json_t *status(void)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	json_t *object;

	if (!reply)
		fail_msg("GetStatus: %s", error);
	object = json_incref(json_object_get(reply, "status"));
	json_decref(reply);
	return object;
}

/* How many of agent.degraded hold this text. */
static unsigned int degraded(const char *text)
{
	json_t *object = status();
	const json_t *line;
	unsigned int n = 0;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(object, "agent"), "degraded"), i, line)
		n += strstr(json_string_value(line), text) != NULL;
	json_decref(object);
	return n;
}

/* The source that a sense uses, "" for none. */
static const char *source(const char *sense)
{
	static char name[64];
	json_t *object = status();
	const json_t *s;
	size_t i;

	snprintf(name, sizeof(name), "absent");
	json_array_foreach (json_object_get(object, "senses"), i, s) {
		const char *its = json_string_value(json_object_get(s, "source"));

		if (strcmp(json_string_value(json_object_get(s, "name")), sense) != 0)
			continue;
		snprintf(name, sizeof(name), "%s", its ? its : "");
		/* Whoever sees nothing says so, and why. */
		if (!its) {
			assert_int_not_equal(json_array_size(json_object_get(s, "blind")), 0);
			assert_string_not_equal(json_string_value(json_object_get(s, "why")), "");
		}
	}
	json_decref(object);
	return name;
}

static unsigned int logged_times(const char *text)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fopen(agent_file("agent.log"), "re");
	unsigned int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	return n;
}

/* Starts the agent in a mount namespace of its own, after this shell command. */
static void start_after(const char *command, const char *text)
{
	char script[PATH_MAX + 128];

	snprintf(script, sizeof(script), "%s && exec \"$@\"", command);
	agent_start_with(LIST("unshare", "-m", "sh", "-c", script, "sh"), NULL, text);
}

/* Runs it in the agent's mount namespace. */
static void in_its_namespace(const char *command)
{
	char pid[32];
	char *const argv[] = { "nsenter", "-m", "-t", pid, "sh", "-c", (char *)(uintptr_t)command,
			       NULL };

	snprintf(pid, sizeof(pid), "%d", (int)agent_pid());
	assert_int_equal(live_wait(live_exec(NULL, NULL, argv)), 0);
}

static void it_still_freezes_and_thaws(void)
{
	pid_t front = live_fork("front", load_spin, NULL);

	assert_true(live_until(live_is_frozen, "hog", 8000));
	live_kill(front);
	assert_true(live_until(live_is_thawed, "hog", 8000));
}

static void make_cgroups(void)
{
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
}

static void a_missing_bpffs_is_mounted(void **state)
{
	(void)state;
	start_after("{ umount /sys/fs/bpf || :; }", "");
	assert_int_equal(degraded("bpffs"), 0);
	assert_int_equal(agent_stop(), 0);
}

static void without_a_bpffs_the_maps_are_not_pinned(void **state)
{
	(void)state;
	make_cgroups();
	start_after("mount -t tmpfs none /sys/fs/bpf", agent_hog_yields);
	assert_int_equal(degraded("no bpffs"), 1);
	assert_int_equal(logged_times("no bpffs"), 1);
	it_still_freezes_and_thaws();
	assert_int_equal(agent_stop(), 0);
}

static void without_btf_cpu_time_is_polled_and_the_rest_says_blind(void **state)
{
	(void)state;
	make_cgroups();
	start_after("mount -t tmpfs none /sys/kernel/btf", agent_hog_yields);
	assert_int_equal(degraded("no BTF"), 1);
	assert_int_equal(logged_times("no BTF"), 1);
	assert_int_equal(degraded("the gpu sense has no source"), 1);
	assert_int_equal(degraded("the swap sense has no source"), 1);
	assert_string_equal(source("cpu"), "cpu.stat");
	assert_string_equal(source("census"), "/proc");
	assert_string_equal(source("tree"), "scan");
	assert_string_equal(source("gpu"), "");
	assert_string_equal(source("swap"), "");
	it_still_freezes_and_thaws();
	assert_int_equal(agent_stop(), 0);
}

static void without_psi_thrash_is_told_by_other_means(void **state)
{
	(void)state;
	start_after("mount -t tmpfs none /proc/pressure",
		    "[policy t]\nsignal = thrash\naction = freeze\ntarget = offender\n");
	assert_int_equal(degraded("no PSI"), 1);
	assert_int_equal(logged_times("no PSI"), 1);
	assert_string_not_equal(source("swap"), "");
	assert_int_equal(agent_stop(), 0);
}

/* The one of the two functions that this kernel has not: the second took the place of the first. */
static const char *missing_swap_source(void)
{
	struct support *support;
	bool old;

	assert_int_equal(support_open(&support), 0);
	old = support_function(support, "swap_readpage");
	support_close(support);
	return old ? "swap=fentry/swap_read_folio" : "swap=fentry/swap_readpage";
}

static void a_forced_source_that_fails_leaves_the_others_alone(void **state)
{
	(void)state;
	agent_start_with(NULL,
			 LIST("--source", missing_swap_source(), "--source", "census=/proc",
			      "--source", "tree=scan"),
			 "");
	assert_int_equal(degraded("the swap sense has no source"), 1);
	assert_int_equal(logged_times("the swap sense has no source"), 1);
	assert_string_equal(source("swap"), "");
	assert_string_equal(source("census"), "/proc");
	assert_string_equal(source("tree"), "scan");
	assert_string_not_equal(source("cpu"), "");
	json_decref(agent_call("GetTop", NULL, (char[128]){ 0 }, 128));
	assert_string_equal(source("swap"), "");
	assert_int_equal(agent_stop(), 0);
}

static void set_file_limit(rlim_t limit)
{
	struct rlimit l = { limit, RLIM_INFINITY };

	assert_int_equal(prlimit(agent_pid(), RLIMIT_FSIZE, &l, NULL), 0);
}

static bool quiet(void *policy)
{
	char name[32];

	agent_policy_state(policy, name, sizeof(name));
	return strcmp(name, "quiet") == 0;
}

static void a_ledger_that_cannot_be_written_means_no_new_action(void **state)
{
	json_t *event;
	pid_t front;

	(void)state;
	make_cgroups();
	/* Its log through a pipe, which has no size that could be limited. */
	agent_start_with(LIST("bash", "-c", "exec \"$@\" 2> >(exec cat)", "bash"), NULL,
			 agent_hog_yields);
	set_file_limit(0);
	front = live_fork("front", load_spin, NULL);
	event = agent_wait_event("error", "front-first", 5000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")),
			       "the ledger cannot be written"));
	json_decref(event);
	assert_false(live_frozen("hog"));
	/* It is tried again as long as the signal holds, and told once. */
	usleep(400 * 1000);
	assert_int_equal(agent_count_events("error", "front-first"), 1);
	assert_false(live_frozen("hog"));
	assert_int_equal(logged_times("the ledger cannot be written"), 1);
	set_file_limit(RLIM_INFINITY);
	assert_true(live_until(live_is_frozen, "hog", 2000));
	live_kill(front);
	assert_true(live_until(live_is_thawed, "hog", 3000));
	assert_int_equal(agent_stop(), 0);
}

static void what_is_held_is_let_go_though_the_ledger_cannot_be_written(void **state)
{
	pid_t front;

	(void)state;
	make_cgroups();
	agent_start(agent_hog_yields);
	front = live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	set_file_limit(0);
	live_kill(front);
	assert_true(live_until(live_is_thawed, "hog", 3000));
	assert_true(live_until(quiet, "front-first", 3000));
	set_file_limit(RLIM_INFINITY);
	json_decref(agent_wait_event("thawed", "front-first", 4000));
	it_still_freezes_and_thaws();
	assert_int_equal(agent_stop(), 0);
}

/* It does not switch: on this source its time shows when it does, or never. */
static void a_source_that_is_blind_to_a_lone_spinner_says_so(void **state)
{
	static const char text[] = "the cpu sense runs on sched_switch and cannot see the time of "
				   "a task that does not switch";
	char command[PATH_MAX + 128], line[512];
	bool said = false;
	FILE *f;

	(void)state;
	agent_start_with(NULL, LIST("--source", "cpu=sched_switch"), "");
	assert_string_equal(source("cpu"), "sched_switch");
	assert_int_equal(degraded(text), 1);
	assert_int_equal(logged_times(text), 1);
	assert_int_equal(agent_stop(), 0);
	snprintf(command, sizeof(command), "%s --support --source cpu=sched_switch 2>&1",
		 live_program("culpritd"));
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		said |= strstr(line, "cannot see: the time of a task that does not switch") != NULL;
	assert_int_equal(pclose(f), 0);
	assert_true(said);
}

static void the_best_source_of_cpu_time_is_not_degraded(void **state)
{
	(void)state;
	agent_start("");
	assert_int_equal(degraded("the cpu sense"), 0);
	assert_int_equal(agent_stop(), 0);
}

static pid_t guardian(void)
{
	json_t *object = status();
	json_int_t pid = json_integer_value(
		json_object_get(json_object_get(object, "agent"), "guardian_pid"));

	json_decref(object);
	return (pid_t)pid;
}

/* Whom the programs of a sense take for the guardian; other agents may have loaded theirs, too. */
static bool programs_know_guardian(const char *map, pid_t pid)
{
	char command[128], line[512], wanted[64];
	bool known = false;
	FILE *f;

	snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin bpftool map dump name %s", map);
	snprintf(wanted, sizeof(wanted), "\"guardian_tgid\": %d", (int)pid);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		known |= strstr(line, wanted) != NULL;
	(void)pclose(f);
	return known;
}

static void a_lost_guardian_is_told_and_replaced_and_the_new_one_undoes(void **state)
{
	json_t *event;
	pid_t old;

	(void)state;
	make_cgroups();
	agent_start(agent_hog_yields);
	live_fork("front", load_spin, NULL);
	json_decref(agent_wait_event("frozen", "front-first", 5000));
	old = guardian();
	assert_true(old > 1);
	/* The guardian is the agent's child: the pid is its own as long as the agent lives. */
	assert_int_equal(kill(old, SIGKILL), 0);
	event = agent_wait_event("error", NULL, 3000);
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")), "guardian"));
	json_decref(event);
	assert_int_not_equal(guardian(), old);
	assert_int_not_equal(guardian(), 0);
	assert_true(programs_know_guardian("cpu_bpf.bss", guardian()));
	assert_true(programs_know_guardian("gpu_bpf.bss", guardian()));
	assert_true(live_frozen("hog"));
	assert_true(agent_logged("guardian"));
	live_kill(agent_pid());
	assert_true(live_until(live_is_thawed, "hog", 100));
}

/* As an agent leaves it that was killed together with its guardian. */
static void leave_frozen(const char *name, uint64_t cgroup)
{
	struct claim claim = { .id = 7, .action = CLAIM_FREEZE, .holds = true, .policy = "gone" };
	char what[PATH_MAX];
	pid_t holder;
	struct ledger *ledger;

	claim.target = mini_cgroup_target(cgroup);
	assert_int_equal(ledger_open(&ledger, mini_state_dir(), &holder, what, sizeof(what)), 0);
	assert_int_equal(ledger_write(ledger, &claim), 0);
	ledger_close(ledger);
	mini_write_freeze(name, "1");
	assert_true(live_until(live_is_frozen, (void *)(uintptr_t)name, 2000));
}

static void what_an_earlier_agent_held_is_let_go_as_soon_as_the_kernel_lets_it(void **state)
{
	char readonly[PATH_MAX + 64], writable[PATH_MAX + 64];
	uint64_t id;

	(void)state;
	id = live_cgroup("hog");
	live_fork("hog", load_spin, NULL);
	snprintf(readonly, sizeof(readonly), "mount -o remount,bind,ro %s", live_fs()->mount);
	snprintf(writable, sizeof(writable), "mount -o remount,bind,rw %s", live_fs()->mount);
	leave_frozen("hog", id);
	fclose(fopen(agent_file("state/frozen"), "we"));
	start_after(readonly, "");
	json_decref(agent_wait_event("error", "gone", 2000));
	assert_int_equal(degraded("an earlier agent held"), 1);
	/* Nor does the guardian forget it. */
	live_kill(agent_pid());
	start_after(readonly, "");
	json_decref(agent_wait_event("error", "gone", 2000));
	assert_true(live_frozen("hog"));
	usleep(1500 * 1000);
	assert_int_equal(agent_count_events("error", "gone"), 1);
	/* Who monitors sees that something is held still. */
	assert_int_equal(access(agent_file("state/frozen"), F_OK), 0);
	in_its_namespace(writable);
	json_decref(agent_wait_event("recovered", "gone", 5000));
	assert_int_equal(access(agent_file("state/frozen"), F_OK), -1);
	assert_false(live_frozen("hog"));
	assert_int_equal(degraded("an earlier agent held"), 0);
	assert_int_equal(mini_ledger_count(), 0);
	assert_int_equal(agent_stop(), 0);
}

static void a_damaged_entry_of_the_ledger_is_told_as_such(void **state)
{
	char what[PATH_MAX];
	struct ledger *ledger;
	json_t *event;
	pid_t holder;

	(void)state;
	assert_int_equal(ledger_open(&ledger, mini_state_dir(), &holder, what, sizeof(what)), 0);
	assert_int_equal(pwrite(ledger_fd(ledger), "what is this", 12, 5 * LEDGER_SLOT_SIZE), 12);
	ledger_close(ledger);
	agent_start("");
	event = agent_wait_event("error", NULL, 2000);
	assert_null(json_object_get(event, "target"));
	assert_non_null(strstr(json_string_value(json_object_get(event, "reason")),
			       "an entry of the ledger is damaged ('what is this"));
	json_decref(event);
	assert_int_equal(mini_ledger_count(), 0);
	assert_int_equal(agent_stop(), 0);
}

static bool socket_is_back(void *path)
{
	return access(path, F_OK) == 0;
}

static bool ledger_is_missed(void *unused)
{
	(void)unused;
	return degraded("the ledger was removed") == 1;
}

static bool ledger_is_found(void *unused)
{
	return !ledger_is_missed(unused);
}

static void files_that_somebody_removes_are_missed(void **state)
{
	char path[256], away[256], error[128];

	(void)state;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_sleep, NULL);
	agent_start(agent_hog_yields);
	snprintf(path, sizeof(path), "%s", agent_file("control"));
	assert_int_equal(unlink(path), 0);
	assert_true(live_until(socket_is_back, path, 5000));
	/* Moved away it may come back. */
	snprintf(away, sizeof(away), "%s", agent_file("state/away"));
	assert_int_equal(rename(agent_file("state/ledger"), away), 0);
	assert_true(live_until(ledger_is_missed, NULL, 5000));
	assert_int_equal(rename(away, agent_file("state/ledger")), 0);
	assert_true(live_until(ledger_is_found, NULL, 5000));
	assert_int_equal(unlink(agent_file("state/ledger")), 0);
	/* It answers at the new socket, and holds nothing that a new agent could not find. */
	assert_null(agent_call("Freeze", json_pack("{s:s}", "target", live_path("hog")), error,
			       sizeof(error)));
	assert_string_equal(error, "io.culprit.Agent.Refused");
	assert_false(live_frozen("hog"));
	assert_int_equal(agent_stop(), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static bool misses_only(void *want)
{
	return degraded("only: there is no cgroup ") == (want ? 1 : 0);
}

static void an_only_that_names_no_cgroup_is_told_as_long_as_it_is_so(void **state)
{
	char later[128];

	(void)state;
	snprintf(later, sizeof(later), "%s", live_path("later"));
	agent_start_with(NULL, LIST("--only", later), "");
	assert_int_equal(degraded(later), 1);
	assert_int_equal(logged_times(later), 1);
	live_cgroup("later");
	assert_true(live_until(misses_only, NULL, 4000));
	live_rmdir("later");
	assert_true(live_until(misses_only, "", 4000));
	assert_int_equal(logged_times(later), 2);
	assert_int_equal(agent_stop(), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, live_setup, live_teardown)
	const struct CMUnitTest tests[] = {
		T(a_missing_bpffs_is_mounted),
		T(without_a_bpffs_the_maps_are_not_pinned),
		T(without_btf_cpu_time_is_polled_and_the_rest_says_blind),
		T(without_psi_thrash_is_told_by_other_means),
		T(a_source_that_is_blind_to_a_lone_spinner_says_so),
		T(the_best_source_of_cpu_time_is_not_degraded),
		T(a_forced_source_that_fails_leaves_the_others_alone),
		T(a_ledger_that_cannot_be_written_means_no_new_action),
		T(what_is_held_is_let_go_though_the_ledger_cannot_be_written),
		T(files_that_somebody_removes_are_missed),
		T(an_only_that_names_no_cgroup_is_told_as_long_as_it_is_so),
		T(a_lost_guardian_is_told_and_replaced_and_the_new_one_undoes),
		T(what_an_earlier_agent_held_is_let_go_as_soon_as_the_kernel_lets_it),
		T(a_damaged_entry_of_the_ledger_is_told_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
