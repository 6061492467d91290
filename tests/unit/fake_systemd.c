// SPDX-License-Identifier: GPL-2.0-or-later
#include "fake_systemd.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define UNITS "/org/freedesktop/systemd1/unit"

static const struct fake_service *find(const struct fake_service *services, const char *path)
{
	_cleanup_free_ char *name = NULL;

	if (!path || sd_bus_path_decode(path, UNITS, &name) <= 0)
		return NULL;
	for (; services->name; services++)
		if (strcmp(services->name, name) == 0)
			return services;
	return NULL;
}

static int on_message(sd_bus_message *m, void *services, sd_bus_error *error)
{
	const struct fake_service *service;

	(void)error;
	if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "Hello"))
		return sd_bus_reply_method_return(m, "s", ":1.7");
	if (!sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get"))
		return 0;
	service = find(services, sd_bus_message_get_path(m));
	if (!service)
		return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.NoSuchUnit", "none");
	return sd_bus_reply_method_return(m, "v", "t", service->watchdog_usec);
}

static void serve(int fd, const struct fake_service *services)
{
	sd_id128_t id = { .bytes = { 1 } };
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_fd(bus, fd, fd);
	if (r >= 0)
		r = sd_bus_set_server(bus, 1, id);
	if (r >= 0)
		r = sd_bus_set_anonymous(bus, 1);
	if (r >= 0)
		r = sd_bus_add_filter(bus, NULL, on_message, (void *)(uintptr_t)services);
	if (r >= 0)
		r = sd_bus_start(bus);
	while (r >= 0) {
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, UINT64_MAX);
	}
	sd_bus_unref(bus);
}

static void run(int listener, const struct fake_service *services)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0 && services)
			serve(fd, services);
	}
}

pid_t fake_systemd_start(const char *dir, const struct fake_service *services)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[sizeof(address.sun_path) + 16];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus", dir);
	(void)unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	snprintf(text, sizeof(text), "unix:path=%s", address.sun_path);
	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", text, 1), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run(fd, services);
	close(fd);
	return pid;
}

void fake_systemd_stop(pid_t pid)
{
	(void)unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}
