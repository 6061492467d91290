// SPDX-License-Identifier: GPL-2.0-or-later
#include "sense/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/cleanup.h"

#define CALL_TIMEOUT_USEC 3000000

bool watchdog_is_service(const char *name)
{
	static const char suffix[] = ".service";
	size_t n = strlen(name);

	return n >= sizeof(suffix) && strcmp(name + n - (sizeof(suffix) - 1), suffix) == 0;
}

/* --- the child -------------------------------------------------------------------------------- */

/* org.freedesktop.systemd1(5): the object of a unit loads it, be it running or not. */
static int watchdog_usec(sd_bus *bus, const char *name, uint64_t *usec)
{
	_cleanup_free_ char *path = NULL;
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", name, &path);

	if (r < 0)
		return r;
	return sd_bus_get_property_trivial(bus, "org.freedesktop.systemd1", path,
					   "org.freedesktop.systemd1.Service", "WatchdogUSec", NULL,
					   't', usec);
}

/* It leaves everything to its end. */
static void ask(const char *const *names, unsigned int count, int fd)
{
	sd_bus *bus;

	if (sd_bus_open_system(&bus) < 0)
		return;
	(void)sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_USEC);
	for (unsigned int i = 0; i < count; i++) {
		struct watchdog_answer answer = { .index = i };
		int r = watchdog_usec(bus, names[i], &answer.usec);

		if (r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET)
			return;
		if (r < 0)
			continue;
		/* systemd's word for "never". */
		if (answer.usec == UINT64_MAX)
			answer.usec = 0;
		if (write(fd, &answer, sizeof(answer)) != sizeof(answer))
			return;
	}
}

static void run(pid_t parent, const char *const *names, unsigned int count, int fd)
{
	child_begin(parent, fd);
	signal(SIGALRM, SIG_DFL);
	alarm(WATCHDOG_PATIENCE_S);
	ask(names, count, fd);
	_exit(0);
}

/* --- the agent -------------------------------------------------------------------------------- */

int watchdog_ask(struct watchdog_query *query, const char *const *names, unsigned int count)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	pid_t parent = getpid(), pid;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run(parent, names, count, theirs);
	query->pid = pid;
	query->fd = take_fd(ours);
	return 0;
}

static void end(struct watchdog_query *query)
{
	closep(&query->fd);
	query->fd = -1;
	while (waitpid(query->pid, NULL, 0) < 0 && errno == EINTR)
		;
	query->pid = 0;
}

int watchdog_read(struct watchdog_query *query, bool wait, struct watchdog_answer *answer)
{
	struct pollfd ready = { .fd = query->fd, .events = POLLIN };
	ssize_t n;

	if (query->pid == 0)
		return 0;
	if (!wait && poll(&ready, 1, 0) == 0)
		return -EAGAIN;
	/* Answers are written whole. */
	do
		n = read(query->fd, answer, sizeof(*answer));
	while (n < 0 && errno == EINTR);
	if (n == sizeof(*answer))
		return 1;
	end(query);
	return 0;
}

void watchdog_cancel(struct watchdog_query *query)
{
	if (query->pid == 0)
		return;
	(void)kill(query->pid, SIGKILL);
	end(query);
}
