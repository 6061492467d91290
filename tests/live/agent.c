// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "live.h"

const char agent_hog_yields[] = "[workload hog]\ncgroup = %s/hog\n"
				"[policy front-first]\nsignal = cpu\nof = cgroup:%s/front\n"
				"window = 250ms\nenter = 0.04cpu\ngrace = 300ms\n"
				"action = freeze\ntarget = hog\n";

int agent_hog_setup(void **state)
{
	if (live_setup(state) < 0)
		return -1;
	live_cgroup("hog");
	live_cgroup("front");
	live_fork("hog", load_spin, NULL);
	return 0;
}

static struct {
	pid_t pid;
	size_t waited;	    /* how many events, in the agent's order, were looked at */
	const char *source; /* what --source says, or NULL */
} agent;

void agent_force(const char *source)
{
	agent.source = source;
}

pid_t agent_pid(void)
{
	return agent.pid;
}

const char *agent_file(const char *name)
{
	static char ring[8][256];
	static unsigned int next;
	char *buf = ring[next++ % ARRAY_SIZE(ring)];

	snprintf(buf, sizeof(ring[0]), "%s/%s", live_tmpdir(), name);
	return buf;
}

const char *agent_pin_dir(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/fs/bpf/culprit-test-%d", (int)getpid());
	return path;
}

void agent_write_config(const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(agent_file("culprit.conf.new"), "we");

	assert_non_null(f);
	fprintf(f, "[agent]\nonly = %s\nstate_dir = %s\nsocket = %s\npin_dir = %s\n", live_root(),
		agent_file("state"), agent_file("control"), agent_pin_dir());
	for (const char *p = text; *p; p++) {
		if (p[0] == '%' && p[1] == 's') {
			fputs(live_root(), f);
			p++;
		} else {
			fputc(*p, f);
		}
	}
	fflush(f);
	assert_int_equal(rename(agent_file("culprit.conf.new"), agent_file("culprit.conf")), 0);
}

pid_t agent_spawn_with(const char *const *before, const char *const *options, const char *text)
{
	char program[PATH_MAX], config[256], log[256];
	const char *argv[32];
	unsigned int n = 0;

	agent_write_config(text);
	snprintf(program, sizeof(program), "%s", live_program("culpritd"));
	snprintf(config, sizeof(config), "%s", agent_file("culprit.conf"));
	snprintf(log, sizeof(log), "%s", agent_file("agent.log"));
	(void)unlink(log);
	while (before && before[n]) {
		argv[n] = before[n];
		n++;
	}
	argv[n++] = program;
	argv[n++] = "--config";
	argv[n++] = config;
	if (agent.source) {
		argv[n++] = "--source";
		argv[n++] = agent.source;
	}
	for (unsigned int i = 0; options && options[i]; i++)
		argv[n++] = options[i];
	assert_true(n < ARRAY_SIZE(argv));
	argv[n] = NULL;
	agent.pid = live_exec(NULL, log, (char *const *)argv);
	agent.waited = 0;
	return agent.pid;
}

pid_t agent_spawn(const char *text)
{
	return agent_spawn_with(NULL, NULL, text);
}

static bool answers(void *unused)
{
	char error[128];
	json_t *reply = agent_call("Ping", NULL, error, sizeof(error));

	(void)unused;
	json_decref(reply);
	return reply != NULL;
}

void agent_print_log(void)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fopen(agent_file("agent.log"), "re");

	while (f && fgets(line, sizeof(line), f))
		print_message("    agent: %s", line);
}

bool agent_logged(const char *text)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fopen(agent_file("agent.log"), "re");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, text))
			return true;
	return false;
}

unsigned int agent_log_lines(void)
{
	char line[1024];
	_cleanup_fclose_ FILE *f = fopen(agent_file("agent.log"), "re");
	unsigned int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n++;
	return n;
}

pid_t agent_start_with(const char *const *before, const char *const *options, const char *text)
{
	agent_spawn_with(before, options, text);
	if (!live_until(answers, NULL, 30000)) {
		agent_print_log();
		fail_msg("culpritd does not answer");
	}
	return agent.pid;
}

pid_t agent_start(const char *text)
{
	return agent_start_with(NULL, NULL, text);
}

int agent_stop(void)
{
	kill(agent.pid, SIGTERM);
	return live_wait(agent.pid);
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_file("control"));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(fd);
}

json_t *agent_call(const char *method, json_t *parameters, char *error, size_t size)
{
	_cleanup_close_ int fd = dial();
	_cleanup_free_ char *text = NULL, *reply = NULL;
	char name[128];
	json_t *call, *answer, *result = NULL;
	size_t used = 0, room = 0;

	snprintf(error, size, "no agent");
	snprintf(name, sizeof(name), "io.culprit.Agent.%s", method);
	call = json_pack("{s:s,s:o}", "method", name, "parameters",
			 parameters ? parameters : json_object());
	text = json_dumps(call, JSON_COMPACT);
	json_decref(call);
	if (fd < 0 || write(fd, text, strlen(text) + 1) < 0)
		return NULL;
	for (;;) {
		ssize_t n;

		if (used == room) {
			room = room ? room * 2 : 65536;
			reply = realloc(reply, room);
			assert_non_null(reply);
		}
		n = read(fd, reply + used, room - used);
		if (n <= 0)
			return NULL;
		used += (size_t)n;
		if (reply[used - 1] == '\0')
			break;
	}
	answer = json_loads(reply, 0, NULL);
	assert_non_null(answer);
	if (json_object_get(answer, "error"))
		snprintf(error, size, "%s", json_string_value(json_object_get(answer, "error")));
	else
		result = json_incref(json_object_get(answer, "parameters"));
	json_decref(answer);
	return result;
}

static json_t *events(void)
{
	char error[128];
	json_t *reply = agent_call("Events", NULL, error, sizeof(error));
	json_t *list;

	if (!reply) {
		agent_print_log();
		fail_msg("Events: %s", error);
	}
	list = json_incref(json_object_get(reply, "events"));
	json_decref(reply);
	return list;
}

static bool is_event(const json_t *event, const char *kind, const char *policy)
{
	const char *its_policy = json_string_value(json_object_get(event, "policy"));

	return strcmp(json_string_value(json_object_get(event, "event")), kind) == 0 &&
	       (!policy || (its_policy && strcmp(its_policy, policy) == 0));
}

json_t *agent_wait_event(const char *kind, const char *policy, unsigned int timeout_ms)
{
	uint64_t end = monotonic_ns() + timeout_ms * NSEC_PER_MSEC;

	do {
		json_t *list = events();

		for (size_t i = agent.waited; i < json_array_size(list); i++) {
			json_t *event = json_array_get(list, i);

			if (!is_event(event, kind, policy))
				continue;
			agent.waited = i + 1;
			json_incref(event);
			json_decref(list);
			return event;
		}
		json_decref(list);
		usleep(2000);
	} while (monotonic_ns() < end);
	agent_print_log();
	fail_msg("no '%s' event of %s within %u ms", kind, policy ? policy : "anyone", timeout_ms);
	return NULL;
}

unsigned int agent_count_events(const char *kind, const char *policy)
{
	json_t *list = events();
	unsigned int n = 0;

	for (size_t i = 0; i < json_array_size(list); i++)
		n += is_event(json_array_get(list, i), kind, policy);
	json_decref(list);
	return n;
}

void agent_policy_state(const char *policy, char *state, size_t size)
{
	char error[128];
	json_t *reply = agent_call("GetStatus", NULL, error, sizeof(error));
	json_t *list, *p;
	size_t i;

	if (!reply)
		fail_msg("GetStatus: %s", error);
	snprintf(state, size, "absent");
	list = json_object_get(json_object_get(reply, "status"), "policies");
	json_array_foreach (list, i, p) {
		if (strcmp(json_string_value(json_object_get(p, "name")), policy) == 0)
			snprintf(state, size, "%s", json_string_value(json_object_get(p, "state")));
	}
	json_decref(reply);
}
