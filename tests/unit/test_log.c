// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "tell/log.h"

static int saved_stderr = -1, reader = -1;

/* stderr becomes `fd` (closed), what is written there is read from `from`. */
static void redirect(int fd, int from)
{
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(fd, STDERR_FILENO);
	close(fd);
	reader = from;
	fcntl(reader, F_SETFL, O_NONBLOCK);
}

static void redirect_pipe(void)
{
	int fds[2];

	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	redirect(fds[1], fds[0]);
}

static int restore(void **state)
{
	(void)state;
	if (saved_stderr >= 0) {
		dup2(saved_stderr, STDERR_FILENO);
		close(saved_stderr);
		close(reader);
	}
	saved_stderr = reader = -1;
	unsetenv("JOURNAL_STREAM");
	log_open(LOG_INFO);
	return 0;
}

static const char *read_log(void)
{
	static char text[131072];
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(text) - 1 &&
	       (n = read(reader, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return text;
}

static void set_journal_stream(void)
{
	char stream[64];
	struct stat st;

	assert_return_code(fstat(STDERR_FILENO, &st), errno);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
}

static void a_line_has_its_level(void **state)
{
	(void)state;
	redirect_pipe();
	log_open(LOG_INFO);
	log_warning("%s is %d", "x", 3);
	assert_string_equal(read_log(), "culpritd: warning: x is 3\n");
}

static void what_is_too_verbose_is_left_out(void **state)
{
	(void)state;
	redirect_pipe();
	log_open(LOG_WARNING);
	log_info("no");
	log_set_level(LOG_DEBUG);
	log_debug("yes");
	assert_string_equal(read_log(), "culpritd: debug: yes\n");
}

static void the_journal_gets_priorities(void **state)
{
	(void)state;
	redirect_pipe();
	set_journal_stream();
	log_open(LOG_INFO);
	assert_true(log_is_journal());
	log_error("bad");
	assert_string_equal(read_log(), "<3>bad\n");
}

static void a_redirected_stderr_is_not_the_journal(void **state)
{
	(void)state;
	set_journal_stream();
	redirect_pipe();
	log_open(LOG_INFO);
	assert_false(log_is_journal());
}

static void a_text_stays_one_line(void **state)
{
	(void)state;
	redirect_pipe();
	set_journal_stream();
	log_open(LOG_INFO);
	log_info("comm is %s\n", "a\n<0>forged\x1b[2J\xff");
	assert_string_equal(read_log(), "<6>comm is a\\x0a<0>forged\\x1b[2J\\xff\n");
}

static void a_long_text_is_cut(void **state)
{
	char text[10000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	redirect_pipe();
	log_open(LOG_INFO);
	log_info("%s", text);
	assert_in_range(strlen(read_log()), 1000, 4096);
}

static void assert_full_does_not_block(void)
{
	uint64_t lost = log_lost(), begin = monotonic_ns();

	log_open(LOG_INFO);
	for (int i = 0; i < 20000; i++)
		log_info("line %d", i);
	assert_true(log_lost() > lost);
	assert_true(monotonic_ns() - begin < 5 * NSEC_PER_SEC);
	/* Room again: the next line says what is missing. */
	assert_non_null(strstr(read_log(), "line 0\n"));
	log_info("after");
	assert_non_null(strstr(read_log(), " log lines were lost: stderr was full\nculpritd: "
					   "info: after\n"));
}

static void a_full_pipe_is_not_waited_for(void **state)
{
	(void)state;
	redirect_pipe();
	assert_full_does_not_block();
}

static void a_full_socket_is_not_waited_for(void **state)
{
	int fds[2];

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
	redirect(fds[0], fds[1]);
	assert_full_does_not_block();
}

static void levels_have_names(void **state)
{
	(void)state;
	assert_int_equal(log_level_from_name("error"), LOG_ERR);
	assert_int_equal(log_level_from_name("debug"), LOG_DEBUG);
	assert_int_equal(log_level_from_name("loud"), -1);
	assert_int_equal(log_level_from_name(""), -1);
}

#define with_stderr(test) cmocka_unit_test_teardown(test, restore)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_stderr(a_line_has_its_level),
		with_stderr(what_is_too_verbose_is_left_out),
		with_stderr(the_journal_gets_priorities),
		with_stderr(a_redirected_stderr_is_not_the_journal),
		with_stderr(a_text_stays_one_line),
		with_stderr(a_long_text_is_cut),
		with_stderr(a_full_pipe_is_not_waited_for),
		with_stderr(a_full_socket_is_not_waited_for),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
