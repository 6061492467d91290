// SPDX-License-Identifier: GPL-2.0-or-later
#include "fake_agent.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "tell/event.h"
#include "tell/feed.h"
#include "tell/varlink.h"

/* Only what fails takes so long. */
#define TIMEOUT_MS 20000

#define BIG_SIZE (3 * 1024 * 1024)

/* --- the agent's side ---------------------------------------------------------------------- */

struct agent {
	sd_event *event;
	struct varlink_server *server;
	struct events *events;
	struct feed *feed;
	struct varlink_call *kept;
	int closed; /* kept calls whose client went away */
};

static const char status_text[] =
	"{\"agent\":{\"pid\":4711,\"version\":\"0.1.0\",\"mode\":\"enforce\",\"uptime_s\":8040,"
	"\"rss_bytes\":5033164,\"wakeups\":8101},"
	"\"senses\":[{\"name\":\"cpu\",\"source\":\"tp_btf/sched_switch\",\"blind\":[]},"
	"{\"name\":\"swap\",\"source\":\"none\",\"blind\":[\"swap-ins\",\"file refaults\"]}],"
	"\"policies\":[{\"name\":\"miner-yields\",\"signal\":\"cpu\",\"state\":\"holding\","
	"\"value\":0.75,\"enter\":0.3,\"leave\":0.1,\"unit\":\"cpus\",\"since\":1700000000000,"
	"\"next\":\"waits for others below 0.10 CPUs (now 0.75 CPUs), and then 15 s of that\"},"
	"{\"name\":\"gpu-wanted\",\"signal\":\"gpu\",\"state\":\"quiet\",\"value\":0,\"enter\":1,"
	"\"leave\":1,\"unit\":\"holders\",\"since\":1700000000000}],"
	"\"claims\":[{\"id\":7,\"action\":\"freeze\",\"policy\":\"miner-yields\",\"target\":"
	"{\"kind\":\"cgroup\",\"path\":\"/background.slice/xmrig.service\",\"id\":4242},"
	"\"since\":1700000000000,\"reason\":\"others used 0.75 CPUs\"}],"
	"\"free\":[{\"target\":{\"kind\":\"cgroup\",\"path\":\"/batch\",\"id\":4243},"
	"\"until\":1700000000000}],"
	"\"losses\":{\"cpu\":{\"map_full\":0,\"recursion\":3},\"events\":0}}";

static const char top_text[] =
	"{\"cgroups\":[{\"path\":\"/background.slice/xmrig.service\",\"id\":4242,"
	"\"cpu_usec\":12345678,\"cpu_pct\":97.5,\"delay_ms\":3.14,\"swapin_pages\":16384,\"swapout_"
	"pages\":12,"
	"\"frozen\":true,\"frozen_pct\":41.7,\"frozen_by\":\"miner-yields\"},"
	"{\"path\":\"/batch\",\"id\":4243,\"cpu_usec\":0,\"cpu_pct\":0,\"swapin_pages\":0,"
	"\"swapout_pages\":0,\"frozen\":false,\"frozen_pct\":8.2,\"frozen_by\":\"operator\"},"
	"{\"path\":\"/idle\",\"id\":4244,\"cpu_usec\":5,\"cpu_pct\":0,\"swapin_pages\":0,"
	"\"swapout_pages\":0,\"frozen\":false,\"frozen_pct\":0}],"
	"\"processes\":[{\"pid\":4711,\"start_time\":123456789,\"comm\":\"evil\\u001b[31m\","
	"\"uid\":1000,\"cgroup\":\"/user.slice\",\"cpu_usec\":1500,\"cpu_pct\":0.25,"
	"\"swapin_pages\":16384,\"swapout_by_pages\":0,\"footprint_pages\":262144,"
	"\"churn_pages\":16000,\"stopped\":false}],"
	"\"gpus\":[{\"device\":\"/dev/nvidia0\",\"major\":195,\"minor\":0,\"opens\":3,"
	"\"holders\":[{\"pid\":99,\"comm\":\"game\",\"uid\":1000,\"cgroup\":\"/user.slice\","
	"\"since\":1700000000000,\"kind\":\"compute\",\"ours\":false}]}],"
	"\"kernel\":{\"swapin_pages\":64,\"swapout_pages\":128}}";

static const char why_text[] =
	"[{\"target\":{\"kind\":\"process\",\"pid\":4711,\"start_time\":5,\"comm\":\"hog\","
	"\"cgroup\":\"/test/hog\"},\"events\":[{\"schema\":\"culprit.v1\",\"ts\":1700000000000,"
	"\"event\":\"stopped\",\"policy\":\"thrashing\",\"target\":{\"kind\":\"process\","
	"\"pid\":4711,\"start_time\":5,\"comm\":\"hog\",\"cgroup\":\"/test/hog\"},\"evidence\":"
	"{\"signal\":\"thrash\",\"value\":0.21,\"enter\":0.1,\"leave\":0.05,\"unit\":\"share\","
	"\"window_ms\":1000,\"swapin_pages\":16384,\"churn_pages\":16000,\"pswpin_pages\":16390,"
	"\"stall\":0.21},\"reason\":\"it swapped in 16384 of 16390 pages\"}],"
	"\"undo\":[\"the signal is quiet for 15 s\",\"culprit thaw pid:4711\"],\"candidates\":["
	"{\"target\":{\"kind\":\"process\",\"pid\":4711,\"start_time\":5,\"comm\":\"hog\","
	"\"cgroup\":\"/test/hog\"},\"footprint_pages\":51200,\"growth_pages\":0,"
	"\"swapin_pages\":16384,\"churn_pages\":16000,\"weight\":1.0},"
	"{\"target\":{\"kind\":\"process\",\"pid\":1,\"start_time\":1,\"comm\":\"init\","
	"\"cgroup\":\"/init.scope\"},\"footprint_pages\":100,\"growth_pages\":0,"
	"\"swapin_pages\":6,\"churn_pages\":0,\"weight\":1.0,\"refusal\":\"pid 1\"}],\"next\":["
	"\"policy thrashing waits for calm\",\"policy miner-yields is paused\"]}]";

static const char claim_text[] =
	"{\"id\":8,\"action\":\"freeze\",\"policy\":\"operator\",\"target\":{\"kind\":\"cgroup\","
	"\"path\":\"/test/hog\",\"id\":77},\"since\":1700000000000,\"reason\":\"by hand\"}";

static json_t *canned(const char *text)
{
	return json_loads(text, 0, NULL);
}

static void ping(void *user, struct varlink_call *call, json_t *parameters)
{
	const struct varlink_field none[] = { { NULL } };

	(void)user;
	if (varlink_fields(call, parameters, none))
		varlink_reply(call, json_pack("{s:s, s:i}", "version", "0.1.0", "pid", getpid()));
}

static void get_status(void *user, struct varlink_call *call, json_t *parameters)
{
	(void)user;
	(void)parameters;
	varlink_reply(call, json_pack("{s:o}", "status", canned(status_text)));
}

static void get_top(void *user, struct varlink_call *call, json_t *parameters)
{
	(void)user;
	(void)parameters;
	varlink_reply(call, json_pack("{s:o}", "top", canned(top_text)));
}

static void why(void *user, struct varlink_call *call, json_t *parameters)
{
	const char *name = "";
	const struct varlink_field fields[] = {
		{ "name", VARLINK_STRING, false, &name, NULL },
		{ NULL },
	};

	(void)user;
	if (!varlink_fields(call, parameters, fields))
		return;
	if (strcmp(name, "nobody") == 0)
		varlink_errorf(call, "io.culprit.Agent.NoSuchTarget",
			       "nothing is known about %s; see culprit status", name);
	else if (strcmp(name, "idle") == 0)
		varlink_reply(call, json_pack("{s:[{s:[],s:[],s:[]}]}", "why", "events", "undo",
					      "candidates"));
	else
		varlink_reply(call, json_pack("{s:o}", "why", canned(why_text)));
}

static void get_events(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;

	feed_answer(agent->feed, call, parameters);
}

static void hold(void *user, struct varlink_call *call, json_t *parameters)
{
	const char *target = NULL;
	int64_t for_ms = 0;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &target, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, NULL },
		{ NULL },
	};
	json_t *claim;

	(void)user;
	if (!varlink_fields(call, parameters, fields))
		return;
	claim = canned(claim_text);
	json_object_set_new(claim, "for_ms", json_integer(for_ms));
	/* Of a name with "some" in it one target is held and another is not. */
	varlink_reply(call, json_pack("{s:O,s:[o],s:o}", "claim", claim, "claims", claim, "failed",
				      target && strstr(target, "some")
					      ? canned("[{\"target\":{\"kind\":\"cgroup\","
						       "\"path\":\"/test/idle\",\"id\":9},"
						       "\"reason\":\"nothing runs in it\"}]")
					      : json_array()));
}

static void thaw(void *user, struct varlink_call *call, json_t *parameters)
{
	const char *target = NULL;
	const struct varlink_field fields[] = {
		{ "target", VARLINK_STRING, true, &target, NULL },
		{ NULL },
	};

	(void)user;
	if (varlink_fields(call, parameters, fields))
		varlink_reply(call, json_pack("{s:[o]}", "claims", canned(claim_text)));
}

static void switch_policy(void *user, struct varlink_call *call, json_t *parameters)
{
	const char *policy = "all-of-them";
	int64_t for_ms = 0;
	const struct varlink_field fields[] = {
		{ "policy", VARLINK_STRING, false, &policy, NULL },
		{ "for_ms", VARLINK_INT, false, &for_ms, NULL },
		{ NULL },
	};

	(void)user;
	if (varlink_fields(call, parameters, fields))
		varlink_reply(call, json_pack("{s:[s]}", "policies", policy));
}

static void reload(void *user, struct varlink_call *call, json_t *parameters)
{
	(void)user;
	(void)parameters;
	varlink_error(call, "io.culprit.Agent.BadConfiguration",
		      json_pack("{s:s, s:[s]}", "message",
				"the configuration has errors; the old one stays in force", "lines",
				"culprit.conf:3: unknown key; see culprit.conf(5)"));
}

static void quit(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;

	(void)parameters;
	varlink_reply(call, NULL);
	sd_event_exit(agent->event, 0);
}

/* --- what only tests call ------------------------------------------------------------------ */

static void kept_closed(void *user, struct varlink_call *call)
{
	struct agent *agent = user;

	if (agent->kept == call)
		agent->kept = NULL;
	agent->closed++;
}

static void keep(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;

	(void)parameters;
	agent->kept = call;
	varlink_on_close(call, kept_closed, agent);
}

static void release(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;

	(void)parameters;
	if (agent->kept)
		varlink_reply(agent->kept, json_pack("{s:b}", "kept", true));
	agent->kept = NULL;
	varlink_reply(call, NULL);
}

static void emit(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;
	int64_t count = 1;
	const struct varlink_field fields[] = {
		{ "count", VARLINK_INT, false, &count, NULL },
		{ NULL },
	};

	if (!varlink_fields(call, parameters, fields))
		return;
	for (int64_t i = 0; i < count; i++) {
		struct event event = {
			.kind = EVENT_FROZEN,
			.ts_ms = unix_ms(),
			.policy = "miner-yields",
			.has_target = true,
			.target = { .kind = TARGET_CGROUP, .cgroup = 77, .path = "/test/hog" },
		};

		snprintf(event.reason, sizeof(event.reason), "event %lld", (long long)i);
		event_put(agent->events, &event);
		events_flush(agent->events);
	}
	varlink_reply(call, NULL);
}

static void big(void *user, struct varlink_call *call, json_t *parameters)
{
	FILE *stream = varlink_begin(call);
	char block[4096];

	(void)user;
	(void)parameters;
	memset(block, 'x', sizeof(block));
	fputs("{\"text\":\"", stream);
	for (int i = 0; i < BIG_SIZE; i += (int)sizeof(block))
		fwrite(block, 1, sizeof(block), stream);
	fputs("\"}", stream);
	varlink_end(call, false);
}

static json_int_t cpu_usec(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (json_int_t)USEC_PER_SEC +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static json_int_t rss_pages(void)
{
	long long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		(void)!fscanf(f, "%lld %lld", &size, &resident);
		fclose(f);
	}
	return resident;
}

static void stats(void *user, struct varlink_call *call, json_t *parameters)
{
	struct agent *agent = user;
	uint64_t iteration = 0;

	(void)parameters;
	sd_event_get_iteration(agent->event, &iteration);
	varlink_reply(call,
		      json_pack("{s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:I}", "clients",
				(json_int_t)varlink_clients(agent->server), "dropped",
				(json_int_t)varlink_dropped(agent->server), "refused",
				(json_int_t)varlink_refused(agent->server), "closed", agent->closed,
				"followers", (json_int_t)feed_followers(agent->feed), "cpu_usec",
				cpu_usec(), "rss_pages", rss_pages(), "iteration",
				(json_int_t)iteration));
}

static const struct varlink_method methods[] = {
	{ "io.culprit.Agent.Ping", VARLINK_LOOK, ping },
	{ "io.culprit.Agent.GetStatus", VARLINK_LOOK, get_status },
	{ "io.culprit.Agent.GetTop", VARLINK_LOOK, get_top },
	{ "io.culprit.Agent.Why", VARLINK_LOOK, why },
	{ "io.culprit.Agent.Events", VARLINK_LOOK, get_events },
	{ "io.culprit.Agent.Freeze", VARLINK_ROOT, hold },
	{ "io.culprit.Agent.Thaw", VARLINK_ROOT, thaw },
	{ "io.culprit.Agent.Pause", VARLINK_ROOT, switch_policy },
	{ "io.culprit.Agent.Resume", VARLINK_ROOT, switch_policy },
	{ "io.culprit.Agent.Reload", VARLINK_ROOT, reload },
	{ "io.culprit.Agent.Quit", VARLINK_ROOT, quit },
	{ "io.culprit.Test.Keep", VARLINK_LOOK, keep },
	{ "io.culprit.Test.Release", VARLINK_LOOK, release },
	{ "io.culprit.Test.Emit", VARLINK_LOOK, emit },
	{ "io.culprit.Test.Big", VARLINK_LOOK, big },
	{ "io.culprit.Test.Stats", VARLINK_LOOK, stats },
	{ NULL },
};

static int on_term(sd_event_source *source, const struct signalfd_siginfo *si, void *user)
{
	(void)si;
	(void)user;
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int run(const char *path, const char *group, int ready)
{
	struct agent agent = { 0 };
	struct varlink_options options = {
		.path = path,
		.group = group,
		.methods = methods,
		.user = &agent,
	};
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	if (sd_event_new(&agent.event) < 0 || events_new(&agent.events) < 0 ||
	    feed_new(&agent.feed, agent.events) < 0 ||
	    sd_event_add_signal(agent.event, NULL, SIGTERM, on_term, NULL) < 0)
		return 1;
	/* Neither the machine's journal nor the test's output is the place for these events. */
	events_set_journal(agent.events, "/nonexistent/journal");
	options.event = agent.event;
	if (varlink_new(&agent.server, &options) < 0 || write(ready, "", 1) != 1)
		return 1;
	close(ready);
	(void)sd_event_loop(agent.event);
	feed_free(agent.feed);
	varlink_free(agent.server);
	events_free(agent.events);
	sd_event_unref(agent.event);
	return 0;
}

/* --- the test's side ----------------------------------------------------------------------- */

void fake_agent_start(struct fake_agent *agent, const char *group)
{
	int ready[2];
	char byte;

	snprintf(agent->dir, sizeof(agent->dir), "/tmp/culprit-fake-XXXXXX");
	assert_non_null(mkdtemp(agent->dir));
	snprintf(agent->socket, sizeof(agent->socket), "%s/control", agent->dir);
	assert_return_code(pipe(ready), errno);
	agent->pid = fork();
	assert_return_code(agent->pid, errno);
	if (agent->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		(void)!freopen("/dev/null", "w", stderr);
		exit(run(agent->socket, group, ready[1]));
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

void fake_agent_stop(struct fake_agent *agent)
{
	bool socket_left;
	int status;

	kill(agent->pid, SIGTERM);
	assert_int_equal(waitpid(agent->pid, &status, 0), agent->pid);
	/* Away with all of it first: what is asserted may not be so. */
	socket_left = unlink(agent->socket) == 0;
	assert_return_code(rmdir(agent->dir), errno);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_false(socket_left);
}

int fake_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

bool fake_send(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

bool fake_call(int fd, const char *text)
{
	return fake_send(fd, text, strlen(text) + 1);
}

/* Byte by byte where it matters not: a test must not read into the next message. */
json_t *fake_receive(int fd)
{
	size_t size = 4096, used = 0;
	char *text = malloc(size);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	json_t *message = NULL;

	while (poll(&p, 1, TIMEOUT_MS) == 1) {
		ssize_t peeked, n;
		char *nul;

		if (size - used < 4096)
			text = realloc(text, size *= 2);
		peeked = recv(fd, text + used, size - used, MSG_PEEK);
		if (peeked <= 0)
			break;
		nul = memchr(text + used, '\0', (size_t)peeked);
		n = recv(fd, text + used, nul ? (size_t)(nul - text) - used + 1 : (size_t)peeked,
			 0);
		if (nul) {
			message = json_loads(text, 0, NULL);
			break;
		}
		used += (size_t)n;
	}
	free(text);
	return message;
}

json_t *fake_ask(const struct fake_agent *agent, const char *text)
{
	int fd = fake_connect(agent->socket);
	json_t *reply;

	assert_return_code(fd, errno);
	assert_true(fake_call(fd, text));
	reply = fake_receive(fd);
	close(fd);
	return reply;
}

bool fake_is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&p, 1, TIMEOUT_MS) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

const char *fake_error(json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));

	return error ? error : "";
}

json_int_t fake_stat_over(int fd, const char *name)
{
	json_t *reply, *value;
	json_int_t number;

	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Stats\"}"));
	reply = fake_receive(fd);
	value = json_object_get(json_object_get(reply, "parameters"), name);
	assert_true(json_is_integer(value));
	number = json_integer_value(value);
	json_decref(reply);
	return number;
}

json_int_t fake_stat(const struct fake_agent *agent, const char *name)
{
	int fd = fake_connect(agent->socket);
	json_int_t number;

	assert_return_code(fd, errno);
	number = fake_stat_over(fd, name);
	close(fd);
	return number;
}
