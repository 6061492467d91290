// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket's server against clients of every kind of badness. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_agent.h"
#include "lib/clock.h"
#include "tell/varlink.h"
#include "tell/varlink_peer.h"

#define PING "{\"method\":\"io.culprit.Agent.Ping\"}"

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

static int connect_agent(void)
{
	int fd = fake_connect(agent.socket);

	assert_return_code(fd, errno);
	return fd;
}

/* The server lives, and answers within a time that no other client may lengthen. */
static void assert_answers(void)
{
	uint64_t before = monotonic_ns();
	json_t *reply = fake_ask(&agent, PING);

	assert_string_equal(
		json_string_value(json_object_get(json_object_get(reply, "parameters"), "version")),
		"0.1.0");
	assert_true(monotonic_ns() - before < 5 * NSEC_PER_SEC);
	json_decref(reply);
}

static void assert_error(const char *text, const char *error)
{
	json_t *reply = fake_ask(&agent, text);

	assert_string_equal(fake_error(reply), error);
	json_decref(reply);
}

static void until_stat(const char *name, json_int_t value)
{
	uint64_t end = monotonic_ns() + 20 * NSEC_PER_SEC;

	while (fake_stat(&agent, name) != value)
		assert_true(monotonic_ns() < end);
}

static void until_stat_is_at_least(const char *name, json_int_t value)
{
	uint64_t end = monotonic_ns() + 20 * NSEC_PER_SEC;

	while (fake_stat(&agent, name) < value)
		assert_true(monotonic_ns() < end);
}

/* The address sanitizer keeps freed memory in quarantine, so there the size tells nothing. */
static void assert_pages_below(json_int_t pages, json_int_t bytes)
{
#ifndef __SANITIZE_ADDRESS__
	assert_true(pages * sysconf(_SC_PAGESIZE) < bytes);
#else
	(void)pages;
	(void)bytes;
#endif
}

static void a_call_is_answered(void **state)
{
	(void)state;
	assert_answers();
}

static void malformed_json_is_refused_and_the_connection_closed(void **state)
{
	static const char *const texts[] = { "",
					     "{",
					     "[]",
					     "3",
					     "{\"method\":\"a.b\",}",
					     "\xff\xfe",
					     "{\"method\":\"a.b\",\"method\":\"a.b\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int fd = connect_agent();
		json_t *reply;

		assert_true(fake_call(fd, texts[i]));
		reply = fake_receive(fd);
		assert_string_equal(fake_error(reply), VARLINK_REFUSED);
		json_decref(reply);
		assert_true(fake_is_closed(fd));
		close(fd);
	}
	assert_answers();
}

static void a_nul_inside_a_call_ends_it_there(void **state)
{
	static const char call[] = "{\"method\":\"io.cul\0prit.Agent.Ping\"}";
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	assert_true(fake_send(fd, call, sizeof(call)));
	reply = fake_receive(fd);
	assert_string_equal(fake_error(reply), VARLINK_REFUSED);
	json_decref(reply);
	assert_true(fake_is_closed(fd));
	close(fd);
}

static void deep_nesting_is_refused(void **state)
{
	char *text = malloc(500001);
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	memset(text, '[', 500000);
	text[500000] = '\0';
	assert_true(fake_call(fd, text));
	reply = fake_receive(fd);
	assert_string_equal(fake_error(reply), VARLINK_REFUSED);
	json_decref(reply);
	free(text);
	close(fd);
	assert_answers();
}

static void a_call_of_two_megabytes_is_refused(void **state)
{
	char *text = malloc(2 * VARLINK_MAX_MESSAGE);
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	memset(text, 'x', 2 * VARLINK_MAX_MESSAGE);
	(void)fake_send(fd, text, 2 * VARLINK_MAX_MESSAGE);
	reply = fake_receive(fd);
	assert_string_equal(fake_error(reply), VARLINK_REFUSED);
	json_decref(reply);
	assert_true(fake_is_closed(fd));
	close(fd);
	free(text);
	assert_answers();
}

static void a_call_of_the_greatest_length_is_answered(void **state)
{
	char *text = malloc(VARLINK_MAX_MESSAGE + 1);
	json_t *reply;

	(void)state;
	/* JSON may be followed by any amount of space. */
	memset(text, ' ', VARLINK_MAX_MESSAGE);
	memcpy(text, PING, strlen(PING));
	text[VARLINK_MAX_MESSAGE] = '\0';
	reply = fake_ask(&agent, text);
	assert_string_equal(fake_error(reply), "");
	assert_non_null(json_object_get(reply, "parameters"));
	json_decref(reply);
	free(text);
}

static void a_call_that_comes_byte_by_byte_is_answered(void **state)
{
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	for (size_t i = 0; i < sizeof(PING); i++) {
		assert_true(fake_send(fd, PING + i, 1));
		if (i % 8 == 0)
			assert_answers();
	}
	reply = fake_receive(fd);
	assert_string_equal(fake_error(reply), "");
	assert_non_null(reply);
	json_decref(reply);
	close(fd);
}

static void silent_clients_cost_no_wakeups(void **state)
{
	int fds[100];
	json_int_t before, after;

	(void)state;
	for (int i = 0; i < 100; i++)
		fds[i] = connect_agent();
	until_stat("clients", 101);
	before = fake_stat(&agent, "iteration");
	/* Nothing happens for a while; the connections for these two questions are all that does.
	 */
	poll(NULL, 0, 300);
	after = fake_stat(&agent, "iteration");
	assert_true(after - before <= 6);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

static void unfinished_calls_share_a_bounded_memory(void **state)
{
	enum {
		clients = 16,
		part = 1000 * 1000
	};
	char *text = calloc(1, part);
	json_int_t pages = fake_stat(&agent, "rss_pages");
	json_t *reply;
	int fds[clients];

	(void)state;
	memset(text, ' ', part);
	for (int i = 0; i < clients; i++) {
		fds[i] = connect_agent();
		(void)fake_send(fds[i], text, part);
	}
	until_stat_is_at_least("dropped", clients / 2);
	assert_pages_below(fake_stat(&agent, "rss_pages") - pages, 2 * VARLINK_MAX_INPUT);
	/* The first ones have gone, the last one may still finish its call. */
	assert_true(fake_is_closed(fds[0]));
	assert_true(fake_call(fds[clients - 1], PING));
	reply = fake_receive(fds[clients - 1]);
	assert_non_null(json_object_get(reply, "parameters"));
	json_decref(reply);
	for (int i = 0; i < clients; i++)
		close(fds[i]);
	free(text);
	assert_answers();
}

static void a_follower_gets_events_as_they_happen(void **state)
{
	int fd = connect_agent();

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Events\",\"more\":true}"));
	for (int i = 0; i < 3; i++) {
		json_t *reply = fake_receive(fd);
		json_t *events = json_object_get(json_object_get(reply, "parameters"), "events");

		/* First those that are kept: none. */
		assert_true(json_is_true(json_object_get(reply, "continues")));
		assert_int_equal(json_array_size(events), i ? 1 : 0);
		json_decref(reply);
		json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Emit\"}"));
	}
	close(fd);
	until_stat("followers", 0);
}

static void a_follower_that_never_reads_is_dropped_and_counted(void **state)
{
	int fd = connect_agent();

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Events\",\"more\":true}"));
	until_stat("followers", 1);
	for (int i = 0; i < 60 && fake_stat(&agent, "followers") == 1; i++)
		json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Emit\","
					     "\"parameters\":{\"count\":1000}}"));
	assert_int_equal(fake_stat(&agent, "followers"), 0);
	assert_int_equal(fake_stat(&agent, "dropped"), 1);
	close(fd);
	assert_answers();
}

static void unread_replies_share_a_bounded_memory(void **state)
{
	enum {
		clients = 20
	};
	int fds[clients];

	(void)state;
	for (int i = 0; i < clients; i++) {
		fds[i] = connect_agent();
		assert_true(fake_call(fds[i], "{\"method\":\"io.culprit.Test.Big\"}"));
	}
	until_stat_is_at_least("dropped", clients - VARLINK_MAX_OUTPUT / (3 << 20) - 1);
	assert_pages_below(fake_stat(&agent, "rss_pages"), 2 * VARLINK_MAX_OUTPUT);
	for (int i = 0; i < clients; i++)
		close(fds[i]);
	assert_answers();
}

static void a_large_reply_arrives_whole(void **state)
{
	json_t *reply = fake_ask(&agent, "{\"method\":\"io.culprit.Test.Big\"}");

	(void)state;
	assert_int_equal(
		json_string_length(json_object_get(json_object_get(reply, "parameters"), "text")),
		3 * 1024 * 1024);
	json_decref(reply);
}

static void three_hundred_clients_are_bounded_and_told(void **state)
{
	enum {
		clients = 300
	};
	int fds[clients];
	json_t *reply;

	(void)state;
	for (int i = 0; i < clients; i++)
		fds[i] = connect_agent();
	/* The last one is told that there is no room, the first one is served. */
	reply = fake_receive(fds[clients - 1]);
	assert_string_equal(fake_error(reply), VARLINK_REFUSED);
	json_decref(reply);
	assert_true(fake_is_closed(fds[clients - 1]));
	assert_int_equal(fake_stat_over(fds[0], "clients"), VARLINK_MAX_CLIENTS);
	assert_int_equal(fake_stat_over(fds[0], "refused"), clients - VARLINK_MAX_CLIENTS);
	for (int i = 1; i < clients; i++)
		close(fds[i]);
	while (fake_stat_over(fds[0], "clients") != 1)
		;
	close(fds[0]);
}

static void a_half_closed_client_gets_its_answers(void **state)
{
	int fd = connect_agent();

	(void)state;
	assert_true(fake_call(fd, PING) && fake_call(fd, PING));
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 2; i++) {
		json_t *reply = fake_receive(fd);

		assert_non_null(json_object_get(reply, "parameters"));
		json_decref(reply);
	}
	assert_true(fake_is_closed(fd));
	close(fd);
}

static void a_half_closed_follower_costs_no_wakeups(void **state)
{
	int fd = connect_agent();
	json_int_t before;

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Events\",\"more\":true}"));
	shutdown(fd, SHUT_WR);
	json_decref(fake_receive(fd));
	before = fake_stat(&agent, "iteration");
	poll(NULL, 0, 200);
	assert_true(fake_stat(&agent, "iteration") - before <= 6);
	assert_int_equal(fake_stat(&agent, "followers"), 1);
	close(fd);
	until_stat("followers", 0);
}

static void an_unknown_method_is_not_found(void **state)
{
	(void)state;
	assert_error("{\"method\":\"io.culprit.Agent.Nothing\"}",
		     "org.varlink.service.MethodNotFound");
}

static void an_unknown_interface_is_not_found(void **state)
{
	json_t *reply = fake_ask(&agent, "{\"method\":\"org.example.Ping\"}");

	(void)state;
	assert_string_equal(fake_error(reply), "org.varlink.service.InterfaceNotFound");
	assert_string_equal(json_string_value(json_object_get(json_object_get(reply, "parameters"),
							      "interface")),
			    "org.example");
	json_decref(reply);
	assert_error("{\"method\":\"org.varlink.service.GetInfo\"}",
		     "org.varlink.service.MethodNotImplemented");
}

static void wrong_types_are_invalid_parameters(void **state)
{
	static const char *const texts[][2] = {
		{ "{\"method\":3}", "method" },
		{ "{}", "method" },
		{ "{\"method\":\"Ping\"}", "method" },
		{ "{\"method\":\"io.culprit.Agent.Ping\",\"parameters\":[]}", "parameters" },
		{ "{\"method\":\"io.culprit.Agent.Ping\",\"parameters\":{\"x\":1}}", "x" },
		{ "{\"method\":\"io.culprit.Agent.Ping\",\"more\":1}", "more" },
		{ "{\"method\":\"io.culprit.Agent.Ping\",\"oneway\":\"\"}", "oneway" },
		{ "{\"method\":\"io.culprit.Agent.Freeze\"}", "target" },
		{ "{\"method\":\"io.culprit.Agent.Freeze\",\"parameters\":{\"target\":1}}",
		  "target" },
		{ "{\"method\":\"io.culprit.Agent.Freeze\",\"parameters\":"
		  "{\"target\":\"/\",\"for_ms\":\"1s\"}}",
		  "for_ms" },
		{ "{\"method\":\"io.culprit.Agent.Events\",\"parameters\":{\"since\":1.5}}",
		  "since" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *reply = fake_ask(&agent, texts[i][0]);

		assert_string_equal(fake_error(reply), "org.varlink.service.InvalidParameter");
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(reply, "parameters"), "parameter")),
				    texts[i][1]);
		json_decref(reply);
	}
}

static void null_is_an_absent_parameter(void **state)
{
	(void)state;
	assert_error("{\"method\":\"io.culprit.Agent.Ping\",\"parameters\":null}", "");
	assert_error("{\"method\":\"io.culprit.Agent.Events\",\"parameters\":{\"since\":null}}",
		     "");
}

static void pipelined_calls_are_answered_in_order(void **state)
{
	enum {
		calls = 200
	};
	int fd = connect_agent();

	(void)state;
	for (int i = 0; i < calls; i++) {
		char text[128];

		snprintf(text, sizeof(text), "{\"method\":\"org.example.n%d.Call\"}", i);
		assert_true(fake_call(fd, text));
	}
	for (int i = 0; i < calls; i++) {
		json_t *reply = fake_receive(fd);
		char interface[32];

		snprintf(interface, sizeof(interface), "org.example.n%d", i);
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(reply, "parameters"), "interface")),
				    interface);
		json_decref(reply);
	}
	close(fd);
}

static void a_call_behind_a_kept_one_waits_for_it(void **state)
{
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Keep\"}") && fake_call(fd, PING));
	assert_answers();
	json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Release\"}"));
	reply = fake_receive(fd);
	assert_true(json_is_true(json_object_get(json_object_get(reply, "parameters"), "kept")));
	json_decref(reply);
	reply = fake_receive(fd);
	assert_non_null(json_object_get(json_object_get(reply, "parameters"), "version"));
	json_decref(reply);
	close(fd);
}

static void more_on_a_plain_method_gets_one_answer(void **state)
{
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Ping\",\"more\":true}"));
	reply = fake_receive(fd);
	assert_null(json_object_get(reply, "continues"));
	assert_non_null(json_object_get(reply, "parameters"));
	json_decref(reply);
	close(fd);
}

static void a_oneway_call_is_done_and_not_answered(void **state)
{
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Emit\",\"oneway\":true}"));
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Nothing\",\"oneway\":true}"));
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Agent.Events\"}"));
	reply = fake_receive(fd);
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(reply, "parameters"), "events")),
		1);
	json_decref(reply);
	close(fd);
}

static void calls_sent_before_a_disconnect_are_done(void **state)
{
	int fd = connect_agent();
	json_t *reply;

	(void)state;
	for (int i = 0; i < 40; i++)
		assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Emit\",\"oneway\":true}"));
	close(fd);
	until_stat("clients", 1);
	reply = fake_ask(&agent, "{\"method\":\"io.culprit.Agent.Events\"}");
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(reply, "parameters"), "events")),
		40);
	json_decref(reply);
}

static void disconnects_in_the_middle_leave_nothing_behind(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = connect_agent();

		assert_true(fake_send(fd, PING, 1 + (size_t)i % (sizeof(PING) - 1)));
		close(fd);
		fd = connect_agent();
		assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Big\"}"));
		close(fd);
	}
	until_stat("clients", 1);
}

static void a_kept_call_learns_that_its_client_is_gone(void **state)
{
	int fd = connect_agent();

	(void)state;
	assert_true(fake_call(fd, "{\"method\":\"io.culprit.Test.Keep\"}"));
	until_stat("clients", 2);
	close(fd);
	until_stat("closed", 1);
	json_decref(fake_ask(&agent, "{\"method\":\"io.culprit.Test.Release\"}"));
	assert_answers();
}

/* --- the socket file, in this process ------------------------------------------------------ */

static const struct varlink_method no_methods[] = { { NULL } };

static void want_of_descriptors_does_not_spin(void **state)
{
	struct rlimit limit = { 64, 64 };
	json_int_t before, spent;
	int fds[200];

	(void)state;
	assert_return_code(prlimit(agent.pid, RLIMIT_NOFILE, &limit, NULL), errno);
	before = fake_stat(&agent, "cpu_usec");
	for (int i = 0; i < 100; i++)
		fds[i] = connect_agent();
	poll(NULL, 0, 700);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	/* It accepts again when there are some. */
	spent = fake_stat(&agent, "cpu_usec") - before;
	assert_true(spent < 200 * 1000);
	assert_answers();
}

static void make_path(char *path, size_t size)
{
	snprintf(path, size, "%s/other", agent.dir);
}

static void a_living_socket_is_not_replaced(void **state)
{
	struct varlink_options options = { .path = agent.socket, .methods = no_methods };
	struct varlink_server *server;

	(void)state;
	assert_return_code(sd_event_new(&options.event), 0);
	assert_int_equal(varlink_new(&server, &options), -EADDRINUSE);
	sd_event_unref(options.event);
	assert_answers();
}

static void a_stale_socket_is_replaced(void **state)
{
	char path[108];
	struct varlink_options options = { .path = path, .methods = no_methods };
	struct varlink_server *server;
	struct stat st;
	int fd;

	(void)state;
	make_path(path, sizeof(path));
	assert_return_code(sd_event_new(&options.event), 0);
	/* Two at the same place: the second finds the file of the first, on which nobody listens
	 * any more, because its descriptor was closed without removing the file. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_storage address = { .ss_family = AF_UNIX };

		memcpy((char *)&address + sizeof(sa_family_t), path, strlen(path) + 1);
		assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address) - 18),
				   errno);
	}
	close(fd);
	assert_return_code(varlink_new(&server, &options), 0);
	assert_return_code(stat(path, &st), errno);
	/* Without a group it is the owner's alone. */
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = fake_connect(path);
	assert_return_code(fd, errno);
	close(fd);
	varlink_free(server);
	assert_int_equal(access(path, F_OK), -1);
	sd_event_unref(options.event);
}

static void what_is_not_a_socket_is_left_alone(void **state)
{
	char path[108];
	struct varlink_options options = { .path = path, .methods = no_methods };
	struct varlink_server *server;
	FILE *f;

	(void)state;
	make_path(path, sizeof(path));
	f = fopen(path, "we");
	assert_non_null(f);
	fclose(f);
	assert_return_code(sd_event_new(&options.event), 0);
	assert_int_equal(varlink_new(&server, &options), -EEXIST);
	assert_return_code(unlink(path), errno);
	sd_event_unref(options.event);
}

static void a_path_too_long_for_a_socket_is_refused(void **state)
{
	char path[300];
	struct varlink_options options = { .path = path, .methods = no_methods };
	struct varlink_server *server;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_return_code(sd_event_new(&options.event), 0);
	assert_int_equal(varlink_new(&server, &options), -ENAMETOOLONG);
	sd_event_unref(options.event);
}

static void members_of_the_group_may_look_and_strangers_nothing(void **state)
{
	const gid_t groups[] = { 20, 30, 40 };
	struct peer peer = { .uid = 1000, .gid = 10, .groups = groups, .n_groups = 3 };

	(void)state;
	assert_int_equal(peer_rank(&peer, 0, true, 50), PEER_STRANGER);
	assert_int_equal(peer_rank(&peer, 0, true, 10), PEER_LOOKER);
	assert_int_equal(peer_rank(&peer, 0, true, 40), PEER_LOOKER);
	assert_int_equal(peer_rank(&peer, 0, false, 40), PEER_STRANGER);
	peer.uid = 0;
	assert_int_equal(peer_rank(&peer, 0, false, 0), PEER_ROOT);
}

#define with_agent(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_agent(a_call_is_answered),
		with_agent(malformed_json_is_refused_and_the_connection_closed),
		with_agent(a_nul_inside_a_call_ends_it_there),
		with_agent(deep_nesting_is_refused),
		with_agent(a_call_of_two_megabytes_is_refused),
		with_agent(a_call_of_the_greatest_length_is_answered),
		with_agent(a_call_that_comes_byte_by_byte_is_answered),
		with_agent(silent_clients_cost_no_wakeups),
		with_agent(unfinished_calls_share_a_bounded_memory),
		with_agent(a_follower_gets_events_as_they_happen),
		with_agent(a_follower_that_never_reads_is_dropped_and_counted),
		with_agent(unread_replies_share_a_bounded_memory),
		with_agent(a_large_reply_arrives_whole),
		with_agent(three_hundred_clients_are_bounded_and_told),
		with_agent(a_half_closed_client_gets_its_answers),
		with_agent(a_half_closed_follower_costs_no_wakeups),
		with_agent(an_unknown_method_is_not_found),
		with_agent(an_unknown_interface_is_not_found),
		with_agent(wrong_types_are_invalid_parameters),
		with_agent(null_is_an_absent_parameter),
		with_agent(pipelined_calls_are_answered_in_order),
		with_agent(a_call_behind_a_kept_one_waits_for_it),
		with_agent(more_on_a_plain_method_gets_one_answer),
		with_agent(a_oneway_call_is_done_and_not_answered),
		with_agent(calls_sent_before_a_disconnect_are_done),
		with_agent(disconnects_in_the_middle_leave_nothing_behind),
		with_agent(a_kept_call_learns_that_its_client_is_gone),
		with_agent(want_of_descriptors_does_not_spin),
		with_agent(a_living_socket_is_not_replaced),
		with_agent(a_stale_socket_is_replaced),
		with_agent(what_is_not_a_socket_is_left_alone),
		with_agent(a_path_too_long_for_a_socket_is_refused),
		cmocka_unit_test(members_of_the_group_may_look_and_strangers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
