// SPDX-License-Identifier: GPL-2.0-or-later
/* Asking systemd for the WatchdogSec= of services, and not being kept by one that says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fake_systemd.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "sense/watchdog.h"

static const struct fake_service services[] = {
	{ "dogged.service", 30000000 },	     { "free.service", 0 }, { "never.service", UINT64_MAX },
	{ "my\\x2dapp@1.service", 5000000 }, { NULL, 0 },
};
static const char *const names[] = { "dogged.service", "missing.service", "free.service",
				     "never.service", "my\\x2dapp@1.service" };

static char dir[] = "/tmp/culprit-watchdog-XXXXXX";

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/bus", dir);
	(void)unlink(path);
	return rmdir(dir);
}

static void each_service_is_asked_about(void **state)
{
	static const struct watchdog_answer expected[] = {
		{ 0, 0, 30000000 }, { 2, 0, 0 }, { 3, 0, 0 }, { 4, 0, 5000000 }
	};
	pid_t pid = fake_systemd_start(dir, services);
	struct watchdog_query query = { .fd = -1 };
	struct watchdog_answer answer;

	(void)state;
	assert_int_equal(watchdog_ask(&query, names, ARRAY_SIZE(names)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(watchdog_read(&query, true, &answer), 1);
		assert_int_equal(answer.index, expected[i].index);
		assert_int_equal(answer.usec, expected[i].usec);
	}
	assert_int_equal(watchdog_read(&query, true, &answer), 0);
	assert_int_equal(query.pid, 0);
	assert_int_equal(query.fd, -1);
	/* Another one can be begun. */
	assert_int_equal(watchdog_ask(&query, names, 1), 0);
	assert_int_equal(watchdog_read(&query, true, &answer), 1);
	watchdog_cancel(&query);
	assert_int_equal(query.pid, 0);
	fake_systemd_stop(pid);
}

static void without_a_bus_there_are_no_answers(void **state)
{
	struct watchdog_query query = { .fd = -1 };
	struct watchdog_answer answer;

	(void)state;
	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
	assert_int_equal(watchdog_ask(&query, names, ARRAY_SIZE(names)), 0);
	assert_int_equal(watchdog_read(&query, true, &answer), 0);
	(void)unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static void a_bus_that_says_nothing_keeps_nobody(void **state)
{
	pid_t pid = fake_systemd_start(dir, NULL);
	struct watchdog_query query = { .fd = -1 };
	struct watchdog_answer answer;
	uint64_t begun = monotonic_ns();

	(void)state;
	assert_int_equal(watchdog_ask(&query, names, ARRAY_SIZE(names)), 0);
	assert_int_equal(watchdog_read(&query, false, &answer), -EAGAIN);
	assert_int_equal(watchdog_read(&query, true, &answer), 0);
	assert_true(monotonic_ns() - begun < (WATCHDOG_PATIENCE_S + 10) * NSEC_PER_SEC);
	fake_systemd_stop(pid);
}

static void only_services_have_it(void **state)
{
	(void)state;
	assert_true(watchdog_is_service("a.service"));
	assert_false(watchdog_is_service(".service"));
	assert_false(watchdog_is_service("a.scope"));
	assert_false(watchdog_is_service("a.service.d"));
	assert_false(watchdog_is_service(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_service_is_asked_about),
		cmocka_unit_test(without_a_bus_there_are_no_answers),
		cmocka_unit_test(a_bus_that_says_nothing_keeps_nobody),
		cmocka_unit_test(only_services_have_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
