// SPDX-License-Identifier: GPL-2.0-or-later
/* The client program itself, against an agent with canned answers. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_agent.h"

static struct fake_agent agent;

static int start(void **state)
{
	(void)state;
	fake_agent_start(&agent, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fake_agent_stop(&agent);
	return 0;
}

/* --- running it ---------------------------------------------------------------------------- */

struct result {
	int status; /* as the shell has it */
	char out[65536], err[4096];
};

/* build/culprit beside this build/tests/unit/test_client. */
static const char *program(void)
{
	static char path[PATH_MAX + 32];
	char self[PATH_MAX] = "";

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(path, sizeof(path), "%s/culprit", dirname(dirname(dirname(self))));
	return path;
}

static void read_all(int fd, char *buf, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size - 1 && (n = read(fd, buf + used, size - 1 - used)) > 0)
		used += (size_t)n;
	buf[used] = '\0';
	close(fd);
}

static pid_t spawn(char *const argv[], int out, int err)
{
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		setenv("TZ", "UTC", 1);
		execv(argv[0], argv);
		_exit(126);
	}
	return pid;
}

static int wait_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The words of `line`, behind --socket PATH. */
static const struct result *run_on(const char *socket, const char *line)
{
	static struct result result;
	char words[512], *argv[16] = { (char *)program(), "--socket", (char *)socket };
	int out[2], err[2], argc = 3;
	pid_t pid;

	snprintf(words, sizeof(words), "%s", line);
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	assert_return_code(pipe2(err, O_CLOEXEC), errno);
	pid = spawn(argv, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	read_all(out[0], result.out, sizeof(result.out));
	read_all(err[0], result.err, sizeof(result.err));
	result.status = wait_status(pid);
	return &result;
}

static const struct result *run(const char *line)
{
	return run_on(agent.socket, line);
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void assert_one_line(const char *text)
{
	assert_true(strlen(text) > 1);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void assert_done(const struct result *r)
{
	assert_string_equal(r->err, "");
	assert_int_equal(r->status, 0);
}

/* --- verbs --------------------------------------------------------------------------------- */

static void ping_tells_version_and_time(void **state)
{
	const struct result *r = run("ping");

	(void)state;
	assert_done(r);
	assert_has(r->out, "culpritd 0.1.0 (pid ");
	assert_has(r->out, " ms\n");
}

static void status_shows_each_part(void **state)
{
	const struct result *r = run("status");

	(void)state;
	assert_done(r);
	assert_has(r->out, "culpritd 0.1.0  pid 4711  mode enforce  up 2 h 14 min  RSS 4.8 MiB");
	assert_has(r->out, "cpu    tp_btf/sched_switch  -");
	assert_has(r->out, "swap   none                 swap-ins; file refaults");
	assert_has(r->out,
		   "miner-yields  cpu     holding  0.75 CPUs  0.30 CPUs  0.10 CPUs  "
		   "2023-11-14 22:13:20\n    waits for others below 0.10 CPUs (now 0.75 CPUs), "
		   "and then 15 s of that\n");
	assert_has(r->out, "\nleft alone until 2023-11-14 22:13:20: /batch\n");
	assert_has(r->out, "    7  freeze  miner-yields  2023-11-14 22:13:20  4242  "
			   "/background.slice/xmrig.service\n    others used 0.75 CPUs\n");
	assert_has(r->out, "losses: cpu.recursion 3\n");
	assert_null(strstr(r->out, "map_full"));
}

static void top_shows_cgroups_processes_gpus_and_the_kernel(void **state)
{
	const struct result *r = run("top --once");

	(void)state;
	assert_done(r);
	assert_has(r->out,
		   "97.5   12.35 s  3.1 ms    16384        12  frozen          42  miner-yields  "
		   "/background.slice/xmrig.service");
	/* What was frozen a moment ago is nothing to be left out. */
	assert_has(r->out, "-                8  operator      /batch\n    … and 1 idle cgroups");
	assert_has(r->out, "1.0 GiB");
	assert_has(r->out, "/dev/nvidia0      3   99  game  compute");
	assert_has(r->out, "the kernel itself: swap-in 64, swap-out 128");
}

static void names_from_strangers_cannot_command_the_terminal(void **state)
{
	const struct result *r = run("top --once");

	(void)state;
	assert_null(strchr(r->out, '\033'));
	assert_has(r->out, "evil\\x1b[31m");
}

static void why_tells_reason_numbers_candidates_and_undo(void **state)
{
	const struct result *r = run("why pid:4711");

	(void)state;
	assert_done(r);
	assert_has(r->out, "pid 4711 (hog) in /test/hog\n  stopped since 2023-11-14 22:13:20 (");
	assert_has(r->out,
		   ") by policy thrashing\n    because   it swapped in 16384 of 16390 pages\n");
	assert_has(r->out,
		   "measured  in 1 s: 16384 pages swapped in, 16000 of them in vain (churn); "
		   "21 % of the time lost waiting for memory\n");
	assert_has(r->out, "together  16390 pages swapped in since the agent started");
	assert_has(r->out, "let go by  the signal is quiet for 15 s\n");
	assert_has(r->out, "culprit thaw pid:4711");
	assert_has(r->out, "    now        policy thrashing waits for calm\n"
			   "               policy miner-yields is paused\n");
	assert_has(r->out, "pid 1 (init)");
}

static void why_of_what_was_left_alone_names_it(void **state)
{
	const struct result *r = run("why idle");

	(void)state;
	assert_done(r);
	assert_has(r->out, "idle\n  no decision about it is kept");
}

static void json_is_the_object_itself(void **state)
{
	static const struct {
		const char *line, *member;
	} cases[] = {
		{ "status --json", "agent" },	  { "top --json", "cgroups" },
		{ "why --json", "undo" },	  { "ping --json", "version" },
		{ "thaw /a --json", "claims" },	  { "pause --json", "policies" },
		{ "freeze --json /a", "action" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct result *r = run(cases[i].line);
		json_t *object = json_loads(r->out, 0, NULL);

		assert_done(r);
		assert_one_line(r->out);
		assert_non_null(json_object_get(object, cases[i].member));
		json_decref(object);
	}
}

static void events_are_one_line_each(void **state)
{
	const struct result *r;

	(void)state;
	assert_string_equal(run("events")->out, "");
	json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Emit\"}"));
	r = run("events --since 1h");
	assert_done(r);
	assert_one_line(r->out);
	assert_has(r->out, "  frozen         /test/hog by miner-yields: event 0\n");
	assert_string_equal(run("events --since 2100-01-01T00:00:00Z")->out, "");
	r = run("events --json");
	assert_one_line(r->out);
	assert_has(r->out, "{\"schema\":\"culprit.v1\"");
}

/* Follows into `out` and gives the process; returns when it follows. */
static pid_t start_following(int out)
{
	char *argv[] = { (char *)program(), "--socket", agent.socket, "events",
			 "--follow",	    "--json",	NULL };
	pid_t pid = spawn(argv, out, STDERR_FILENO);

	while (fake_stat(&agent, "followers") == 0)
		;
	return pid;
}

static void follow_streams_until_interrupted(void **state)
{
	char line[4096];
	int out[2];
	pid_t pid;
	FILE *f;

	(void)state;
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	pid = start_following(out[1]);
	close(out[1]);
	f = fdopen(out[0], "re");
	for (int i = 0; i < 3; i++) {
		json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Emit\"}"));
		assert_non_null(fgets(line, sizeof(line), f));
		assert_has(line, "\"event\":\"frozen\"");
	}
	kill(pid, SIGINT);
	assert_int_equal(wait_status(pid), 130);
	assert_null(fgets(line, sizeof(line), f));
	fclose(f);
}

static void a_closed_pipe_ends_it_silently(void **state)
{
	int out[2];
	pid_t pid;

	(void)state;
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	pid = start_following(out[1]);
	close(out[1]);
	close(out[0]);
	json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Emit\"}"));
	assert_int_equal(wait_status(pid), 128 + SIGPIPE);
}

static void output_that_cannot_be_written_is_a_failure(void **state)
{
	char *argv[] = { (char *)program(), "--socket", agent.socket, "status", NULL };
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), err[2];
	char text[256];
	pid_t pid;

	(void)state;
	assert_return_code(pipe2(err, O_CLOEXEC), errno);
	pid = spawn(argv, full, err[1]);
	close(err[1]);
	close(full);
	read_all(err[0], text, sizeof(text));
	assert_int_equal(wait_status(pid), 1);
	assert_one_line(text);
	assert_has(text, "No space left");
}

static void holding_and_letting_go_say_what_they_did(void **state)
{
	const struct result *r;

	(void)state;
	assert_has(run("freeze /test/hog")->out, "held: /test/hog (claim 8) until it is thawed");
	assert_has(run("freeze /test/hog --for 10m")->out, "for 10 min");
	assert_has(run("freeze --json --for 250ms /test/hog")->out, "\"for_ms\":250");
	r = run("freeze some");
	assert_int_equal(r->status, 1);
	assert_has(r->out, "held: /test/hog (claim 8)");
	assert_string_equal(r->err, "culprit: /test/idle was not frozen: nothing runs in it\n");
	r = run("freeze --json some");
	assert_int_equal(r->status, 1);
	assert_has(r->out, "\"failed\":[{\"target\":{");
	assert_has(run("thaw /test/hog")->out, "let go: /test/hog (claim 8, freeze by operator)");
	assert_has(run("pause miner-yields --for 2h")->out, "paused: miner-yields, for 2 h\n");
	assert_has(run("pause")->out, "paused: all-of-them, until culprit resume");
	assert_has(run("resume miner-yields")->out, "resumed: miner-yields\n");
}

static void a_refusal_says_why_and_exits_1(void **state)
{
	const struct result *r = run("why nobody");

	(void)state;
	assert_int_equal(r->status, 1);
	assert_string_equal(r->err, "culprit: nothing is known about nobody; see culprit status\n");
	r = run("reload");
	assert_int_equal(r->status, 1);
	assert_has(r->err, "culprit.conf:3: unknown key; see culprit.conf(5)\n");
	assert_has(r->err, "the old one stays in force\n");
}

static void quit_ends_the_agent(void **state)
{
	const struct result *r = run("quit");
	int status;

	(void)state;
	assert_done(r);
	assert_int_equal(waitpid(agent.pid, &status, 0), agent.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rmdir(agent.dir);
	/* For stop(). */
	fake_agent_start(&agent, NULL);
}

/* --- the command line ---------------------------------------------------------------------- */

static void wrong_usage_exits_2_with_one_line(void **state)
{
	static const char *const lines[] = {
		"nothing",
		"status extra",
		"status --once",
		"status --nonsense",
		"freeze",
		"freeze /a /b",
		"freeze /a --for 10",
		"freeze /a --for 0s",
		"freeze /a --for",
		"events --since yesterday",
		"events --since 2026-02-30T00:00:00Z",
		"--nonsense",
		"run -- /bin/true",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		const struct result *r = run(lines[i]);

		assert_int_equal(r->status, 2);
		assert_string_equal(r->out, "");
		assert_one_line(r->err);
	}
	assert_has(run("exporter")->err, "not supported yet");
	assert_int_equal(run_on("", "status")->status, 2);
	assert_has(run_on("", "status")->err, "--socket '': name a socket");
}

static void help_is_there_for_the_program_and_each_verb(void **state)
{
	static const char *const verbs[] = { "status", "top",	 "why",	 "events", "freeze", "thaw",
					     "pause",  "resume", "ping", "reload", "quit" };
	const struct result *r = run("--help");

	(void)state;
	assert_done(r);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		char line[64], usage[64];

		assert_has(run("--help")->out, verbs[i]);
		snprintf(line, sizeof(line), "%s --help", verbs[i]);
		snprintf(usage, sizeof(usage), "usage: culprit [--socket PATH] %s", verbs[i]);
		r = run(line);
		assert_done(r);
		assert_has(r->out, usage);
	}
}

/* --- no agent, or no good one -------------------------------------------------------------- */

static void no_agent_exits_3(void **state)
{
	const struct result *r = run_on("/nonexistent/control", "status");

	(void)state;
	assert_int_equal(r->status, 3);
	assert_string_equal(r->err,
			    "culprit: no agent answers at /nonexistent/control; is culpritd "
			    "running? (systemctl status culpritd)\n");
}

struct stranger {
	int listener;
	const char *says;
	size_t length;
};

static void *answer_once(void *arg)
{
	const struct stranger *s = arg;
	char call[4096];
	int fd = accept(s->listener, NULL, NULL);

	(void)!read(fd, call, sizeof(call));
	fake_send(fd, s->says, s->length);
	close(fd);
	return NULL;
}

static void garbage_from_the_other_end_is_an_error(void **state)
{
	/* The first two are without the NUL that ends an answer. */
	static const char *const cases[] = {
		"",
		"HTTP/1.1 400 Bad Request\r\n\r\n",
		"not json",
		"[]",
		"{}",
		"{\"parameters\":3}",
		"{\"error\":\"org.example.Odd\"}",
		"{\"error\":\"x\",\"parameters\":{\"message\":\"\\u001b[2J\"}}",
	};
	char path[108];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stranger s = { .listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	(void)state;
	snprintf(path, sizeof(path), "%s/stranger", agent.dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_return_code(bind(s.listener, (struct sockaddr *)&address, sizeof(address)), errno);
	assert_return_code(listen(s.listener, 1), errno);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct result *r;
		pthread_t thread;

		s.says = cases[i];
		s.length = strlen(cases[i]) + (i >= 2);
		assert_int_equal(pthread_create(&thread, NULL, answer_once, &s), 0);
		r = run_on(path, "status");
		pthread_join(thread, NULL);
		assert_int_equal(r->status, 1);
		assert_one_line(r->err);
		assert_null(strchr(r->err, '\033'));
		assert_string_equal(r->out, "");
	}
	close(s.listener);
	unlink(path);
}

#define with_agent(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_agent(ping_tells_version_and_time),
		with_agent(status_shows_each_part),
		with_agent(top_shows_cgroups_processes_gpus_and_the_kernel),
		with_agent(names_from_strangers_cannot_command_the_terminal),
		with_agent(why_tells_reason_numbers_candidates_and_undo),
		with_agent(why_of_what_was_left_alone_names_it),
		with_agent(json_is_the_object_itself),
		with_agent(events_are_one_line_each),
		with_agent(follow_streams_until_interrupted),
		with_agent(a_closed_pipe_ends_it_silently),
		with_agent(output_that_cannot_be_written_is_a_failure),
		with_agent(holding_and_letting_go_say_what_they_did),
		with_agent(a_refusal_says_why_and_exits_1),
		with_agent(quit_ends_the_agent),
		with_agent(wrong_usage_exits_2_with_one_line),
		with_agent(help_is_there_for_the_program_and_each_verb),
		with_agent(no_agent_exits_3),
		with_agent(garbage_from_the_other_end_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
