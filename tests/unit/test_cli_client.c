// SPDX-License-Identifier: GPL-2.0-or-later
/* The client's side of the connection against ends that do not behave. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/client.h"
#include "fake_agent.h"
#include "lib/clock.h"

static struct client client;
static int other, saved_stderr;

static int setup(void **state)
{
	int fds[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	client = (struct client){ .path = "here", .fd = fds[0] };
	other = fds[1];
	/* What is told is not the test's output. */
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(null, STDERR_FILENO);
	close(null);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	client_close(&client);
	close(other);
	return 0;
}

static void silence_is_given_up(void **state)
{
	uint64_t begin = monotonic_ns();
	json_t *reply;

	(void)state;
	assert_int_equal(client_receive(&client, 50, &reply, NULL), CLI_FAILED);
	assert_in_range(monotonic_ns() - begin, 50 * NSEC_PER_MSEC, 5 * NSEC_PER_SEC);
	assert_null(reply);
}

static void dripping_does_not_extend_the_time(void **state)
{
	json_t *reply;

	(void)state;
	/* Part of an answer is there; the rest never comes. */
	assert_true(fake_send(other, "{\"parameters\":", 14));
	assert_int_equal(client_receive(&client, 50, &reply, NULL), CLI_FAILED);
}

static void answers_in_one_piece_are_told_apart(void **state)
{
	static const char answers[] =
		"{\"parameters\":{\"n\":1},\"continues\":true}\0{\"parameters\":"
		"{\"n\":2}}\0{\"par";
	bool continues;
	json_t *reply;

	(void)state;
	assert_true(fake_send(other, answers, sizeof(answers) - 1));
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(client_receive(&client, 1000, &reply, &continues), CLI_DONE);
		assert_int_equal(json_integer_value(json_object_get(reply, "n")), i);
		assert_int_equal(continues, i == 1);
		json_decref(reply);
	}
	assert_int_equal(client_receive(&client, 10, &reply, &continues), CLI_FAILED);
	assert_true(fake_send(other, "ameters\":{}}", 13));
	assert_int_equal(client_receive(&client, 1000, &reply, &continues), CLI_DONE);
	json_decref(reply);
}

static void a_refusal_at_the_door_is_still_heard(void **state)
{
	json_t *reply;

	(void)state;
	/* Said and closed before the call was sent: sending fails, and that is not what counts. */
	assert_true(fake_call(other, "{\"error\":\"x\",\"parameters\":{\"message\":\"no\"}}"));
	close(other);
	other = -1;
	assert_int_equal(client_send(&client, "Ping", NULL, false), CLI_DONE);
	assert_int_equal(client_receive(&client, 1000, &reply, NULL), CLI_FAILED);
}

static void a_call_is_a_nul_terminated_object(void **state)
{
	json_t *call;

	(void)state;
	assert_int_equal(client_send(&client, "Events", json_pack("{s:i}", "since", 5), true),
			 CLI_DONE);
	call = fake_receive(other);
	assert_string_equal(json_string_value(json_object_get(call, "method")),
			    "io.culprit.Agent.Events");
	assert_true(json_is_true(json_object_get(call, "more")));
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(call, "parameters"), "since")),
		5);
	json_decref(call);
}

#define with_connection(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_connection(silence_is_given_up),
		with_connection(dripping_does_not_extend_the_time),
		with_connection(answers_in_one_piece_are_told_apart),
		with_connection(a_refusal_at_the_door_is_still_heard),
		with_connection(a_call_is_a_nul_terminated_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
