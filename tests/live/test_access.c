// SPDX-License-Identifier: GPL-2.0-or-later
/* Who may do what on the control socket: needs root to be several users. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../unit/fake_agent.h"
#include "live.h"
#include "tell/varlink.h"

#define PING   "{\"method\":\"io.culprit.Agent.Ping\"}"
#define FREEZE "{\"method\":\"io.culprit.Agent.Freeze\",\"parameters\":{\"target\":\"/x\"}}"

/* A group that Debian has from the start; here it stands in for "culprit". */
#define GROUP "games"
#define USER  65534

static struct fake_agent agent;
static gid_t group_id;

static int start(void **state)
{
	const struct group *group = getgrnam(GROUP);

	(void)state;
	if (!group)
		return -1;
	group_id = group->gr_gid;
	fake_agent_start(&agent, GROUP);
	/* Whether others reach the socket is for its own mode to say. */
	return chmod(agent.dir, 0755);
}

static int stop(void **state)
{
	(void)state;
	fake_agent_stop(&agent);
	return 0;
}

/* Runs fn as an ordinary user with this primary and (0: no) supplementary group; its result. */
static int as_user(gid_t gid, gid_t supplementary, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setgroups(supplementary ? 1 : 0, &supplementary) < 0 ||
		    setresgid(gid, gid, gid) < 0 || setresuid(USER, USER, USER) < 0)
			_exit(99);
		_exit(fn());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int connect_error(void)
{
	int fd = fake_connect(agent.socket);

	return fd < 0 ? errno : 0;
}

/* What the error of a reply is: 0 none, 1 denied, 2 something else, 3 no reply. */
static int error_of(int fd, const char *call)
{
	const char *error;
	json_t *reply;
	int r;

	(void)fake_call(fd, call);
	reply = fake_receive(fd);
	if (!reply)
		return 3;
	error = fake_error(reply);
	r = !error[0] ? 0 : strcmp(error, VARLINK_DENIED) == 0 ? 1 : 2;
	json_decref(reply);
	return r;
}

static int look(void)
{
	return error_of(fake_connect(agent.socket), PING);
}

static int freeze(void)
{
	return error_of(fake_connect(agent.socket), FREEZE);
}

static int freeze_then_look(void)
{
	int fd = fake_connect(agent.socket);

	return error_of(fd, FREEZE) == 1 ? error_of(fd, PING) : 97;
}

static int denied_and_closed(void)
{
	int fd = fake_connect(agent.socket);

	return error_of(fd, PING) == 1 && fake_is_closed(fd) ? 0 : 1;
}

_Noreturn static void crowd(void)
{
	int fd = -1;

	for (int i = 0; i < VARLINK_MAX_CLIENTS + 40; i++)
		fd = fake_connect(agent.socket);
	/* The last one has been taken in, or turned away, when this answers. */
	(void)error_of(fd, PING);
	/* Another user's death signal is gone with the change of credentials. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void the_socket_is_the_groups(void **state)
{
	struct stat st;

	(void)state;
	assert_return_code(stat(agent.socket, &st), errno);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, group_id);
}

static void strangers_do_not_even_connect(void **state)
{
	(void)state;
	assert_int_equal(as_user(USER, 0, connect_error), EACCES);
}

static void strangers_that_got_through_are_denied_and_closed(void **state)
{
	(void)state;
	assert_return_code(chmod(agent.socket, 0666), errno);
	assert_int_equal(as_user(USER, 0, denied_and_closed), 0);
	assert_int_equal(fake_stat(&agent, "refused"), 1);
}

static void members_may_look(void **state)
{
	(void)state;
	assert_int_equal(as_user(USER, group_id, look), 0);
	assert_int_equal(as_user(group_id, 0, look), 0);
}

static void members_may_not_act_but_stay(void **state)
{
	(void)state;
	assert_int_equal(as_user(USER, group_id, freeze), 1);
	assert_int_equal(as_user(USER, group_id, freeze_then_look), 0);
}

static void root_may_act(void **state)
{
	(void)state;
	assert_int_equal(freeze(), 0);
}

static bool is_crowded(void *arg)
{
	(void)arg;
	return fake_stat(&agent, "refused") >= VARLINK_ROOT_RESERVE + 40;
}

static void members_cannot_lock_root_out(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (setgroups(1, &group_id) < 0 || setresuid(USER, USER, USER) < 0)
			_exit(99);
		crowd();
	}
	assert_true(live_until(is_crowded, NULL, 10000));
	assert_int_equal(look(), 0);
	/* Those of root come on top, and one that has just closed may still count. */
	assert_in_range(fake_stat(&agent, "clients"), VARLINK_MAX_CLIENTS - VARLINK_ROOT_RESERVE,
			VARLINK_MAX_CLIENTS - VARLINK_ROOT_RESERVE + 3);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Opened as root: the tree may lie where the user cannot get (a clone in /root). */
static int client_fd;

static int run_client(void)
{
	char *const argv[] = { "culprit", "--socket", agent.socket, "ping", NULL };

	fexecve(client_fd, argv, environ);
	return 96;
}

static void the_client_of_a_stranger_exits_1(void **state)
{
	(void)state;
	client_fd = open(live_program("culprit"), O_PATH | O_CLOEXEC);
	assert_true(client_fd >= 0);
	assert_int_equal(as_user(USER, 0, run_client), 1);
	assert_int_equal(as_user(USER, group_id, run_client), 0);
	close(client_fd);
}

#define with_agent(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_agent(the_socket_is_the_groups),
		with_agent(strangers_do_not_even_connect),
		with_agent(strangers_that_got_through_are_denied_and_closed),
		with_agent(members_may_look),
		with_agent(members_may_not_act_but_stay),
		with_agent(root_may_act),
		with_agent(members_cannot_lock_root_out),
		with_agent(the_client_of_a_stranger_exits_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
