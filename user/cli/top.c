// SPDX-License-Identifier: GPL-2.0-or-later
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/table.h"

#define PERIOD_S 2

/* Rows of each of the two long tables when they have to fit a screen; 0: all. */
static size_t rows_that_fit(const struct cli *cli)
{
	struct winsize size;

	if (cli->once || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return 0;
	/* Titles, gaps, the GPUs and the last line take about 14. */
	return size.ws_row > 24 ? (size.ws_row - 14u) / 2 : 5;
}

static void pages_cell(struct table *table, const json_t *object, const char *name)
{
	table_cell(table, "%lld", (long long)member_int(object, name));
}

static void delay_cell(struct table *table, const json_t *cgroup)
{
	char delay[FORMAT_SIZE];

	if (json_is_number(json_object_get(cgroup, "delay_ms")))
		table_cell(table, "%s", format_value(delay, member_real(cgroup, "delay_ms"), "ms"));
	else
		table_cell(table, "-");
}

static void held_cell(struct table *table, const char *held)
{
	table_cell(table, "%s", held ? held : "-");
	table_colour(table, held ? colour_of(held) : NULL);
}

/* A cgroup or a process with its place in the table. */
struct row {
	const json_t *object;
	const char *held; /* how: "frozen" or "stopped"; NULL: not */
	unsigned int rank;
	size_t place; /* in the agent's order, which is by CPU */
};

struct rows {
	struct row *rows;
	size_t n, idle; /* the idle ones come last and are not in n */
};

/* What is held first, then what has something to show. */
static unsigned int rank_of(const json_t *object, const char *held)
{
	if (held)
		return 0;
	/* 0.05 is the least that is printed as something else than 0.0. */
	if (member_real(object, "cpu_pct") >= 0.05 || member_real(object, "frozen_pct") > 0 ||
	    member_int(object, "swapin_pages") || member_int(object, "churn_pages"))
		return 1;
	return 2;
}

static int by_rank(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static bool is_below(const char *path, const char *above)
{
	size_t n = strlen(above);

	return strncmp(path, above, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* How it is held: by itself, or with its cgroup or one above. */
static const char *held_how(const json_t *object, const json_t *frozen)
{
	const char *path = member_text(object, json_object_get(object, "path") ? "path" : "cgroup");
	const json_t *cgroup;
	size_t i;

	if (json_is_true(json_object_get(object, "stopped")))
		return "stopped";
	json_array_foreach (frozen, i, cgroup)
		if (is_below(path, json_string_value(cgroup)))
			return "frozen";
	return NULL;
}

static json_t *frozen_paths(const json_t *cgroups)
{
	json_t *paths = json_array();
	const json_t *c;
	size_t i;

	json_array_foreach (cgroups, i, c)
		if (json_is_true(json_object_get(c, "frozen")))
			json_array_append_new(paths, json_string(member_text(c, "path")));
	return paths;
}

/* rows is the caller's to free. */
static struct rows rows_of(const json_t *objects, const json_t *frozen)
{
	struct rows list = { .rows = calloc(json_array_size(objects) + 1, sizeof(*list.rows)) };
	const json_t *object;
	size_t i;

	if (!list.rows)
		err(CLI_FAILED, "no memory");
	json_array_foreach (objects, i, object) {
		const char *held = held_how(object, frozen);
		unsigned int rank = rank_of(object, held);

		list.rows[i] = (struct row){ object, held, rank, i };
		list.idle += rank == 2;
	}
	list.n = i - list.idle;
	qsort(list.rows, i, sizeof(*list.rows), by_rank);
	return list;
}

static void print_idle(size_t idle, const char *what)
{
	if (idle)
		print_line("    … and %zu idle %s (--json has them all)", idle, what);
}

/* How much of the last minute it was frozen by the agent, and for which policy. */
static void share_cells(struct table *table, const json_t *cgroup)
{
	const char *by = member_text(cgroup, "frozen_by");

	if (*by)
		table_cell(table, "%.0f", member_real(cgroup, "frozen_pct"));
	else
		table_cell(table, "-");
	table_cell(table, "%s", *by ? by : "-");
}

static void print_cgroups(const json_t *cgroups, const json_t *frozen, size_t limit, bool colour)
{
	static const char *const titles[] = { ">CPU %",	   ">CPU TIME", ">DELAY",      ">SWAP-IN",
					      ">SWAP-OUT", "HELD",	">% OF 1 MIN", "BY",
					      "CGROUP",	   NULL };
	struct table *table = table_new(titles);
	struct rows list = rows_of(cgroups, frozen);
	char time[FORMAT_SIZE];

	for (size_t i = 0; i < list.n; i++) {
		const json_t *c = list.rows[i].object;

		table_cell(table, "%.1f", member_real(c, "cpu_pct"));
		table_cell(table, "%s", format_cpu_time(time, member_int(c, "cpu_usec")));
		delay_cell(table, c);
		pages_cell(table, c, "swapin_pages");
		pages_cell(table, c, "swapout_pages");
		held_cell(table, list.rows[i].held);
		share_cells(table, c);
		table_cell(table, "%s", member_text(c, "path"));
	}
	table_limit(table, limit);
	table_print(table, colour);
	print_idle(list.idle, "cgroups");
	free(list.rows);
}

static void print_processes(const json_t *processes, const json_t *frozen, size_t limit,
			    bool colour)
{
	static const char *const titles[] = { ">PID",	"COMM",	 ">CPU %", ">CPU TIME", ">SWAP-IN",
					      ">CHURN", ">SIZE", "HELD",   "CGROUP",	NULL };
	struct table *table = table_new(titles);
	char time[FORMAT_SIZE], size[FORMAT_SIZE];
	double page = (double)sysconf(_SC_PAGESIZE);
	struct rows list = rows_of(processes, frozen);

	for (size_t i = 0; i < list.n; i++) {
		const json_t *p = list.rows[i].object;

		table_cell(table, "%lld", (long long)member_int(p, "pid"));
		table_cell(table, "%s", member_text(p, "comm"));
		table_cell(table, "%.1f", member_real(p, "cpu_pct"));
		table_cell(table, "%s", format_cpu_time(time, member_int(p, "cpu_usec")));
		pages_cell(table, p, "swapin_pages");
		pages_cell(table, p, "churn_pages");
		table_cell(table, "%s",
			   format_size(size, member_real(p, "footprint_pages") * page));
		held_cell(table, list.rows[i].held);
		table_cell(table, "%s", member_text(p, "cgroup"));
	}
	table_limit(table, limit);
	table_print(table, colour);
	print_idle(list.idle, "processes");
	free(list.rows);
}

static void holder_cells(struct table *table, const json_t *holder)
{
	char since[FORMAT_SIZE];

	table_cell(table, "%lld", (long long)member_int(holder, "pid"));
	table_cell(table, "%s", member_text(holder, "comm"));
	table_cell(table, "%s", member_text(holder, "kind"));
	table_cell(table, "%s", format_time(since, member_int(holder, "since")));
	table_cell(table, "%s%s", member_text(holder, "cgroup"),
		   json_is_true(json_object_get(holder, "ours")) ? " (ours)" : "");
}

static void device_cells(struct table *table, const json_t *gpu, size_t row)
{
	table_cell(table, "%s", row ? "" : member_text(gpu, "device"));
	if (row)
		table_cell(table, "%s", "");
	else
		table_cell(table, "%lld", (long long)member_int(gpu, "opens"));
}

static void print_gpus(const json_t *gpus, bool colour)
{
	static const char *const titles[] = { "GPU",  ">OPENS", ">PID",	  "COMM",
					      "KIND", "SINCE",	"CGROUP", NULL };
	struct table *table = table_new(titles);
	const json_t *gpu, *holder;
	size_t i, j;

	json_array_foreach (gpus, i, gpu) {
		const json_t *holders = json_object_get(gpu, "holders");

		json_array_foreach (holders, j, holder) {
			device_cells(table, gpu, j);
			holder_cells(table, holder);
		}
		if (json_array_size(holders) == 0) {
			device_cells(table, gpu, 0);
			table_cell(table, "-");
			table_cell(table, "nobody");
			for (int k = 0; k < 3; k++)
				table_cell(table, "-");
		}
	}
	if (json_array_size(gpus) > 0)
		putchar('\n');
	table_print(table, colour);
}

static void print_top(const struct cli *cli, const json_t *top)
{
	const json_t *kernel = json_object_get(top, "kernel");
	json_t *frozen = frozen_paths(json_object_get(top, "cgroups"));
	size_t limit = rows_that_fit(cli);

	print_cgroups(json_object_get(top, "cgroups"), frozen, limit, cli->colour);
	putchar('\n');
	print_processes(json_object_get(top, "processes"), frozen, limit, cli->colour);
	json_decref(frozen);
	print_gpus(json_object_get(top, "gpus"), cli->colour);
	putchar('\n');
	print_line(
		"the kernel itself: swap-in %lld, swap-out %lld. Swap and churn (pages that came "
		"back in vain) in pages of %ld KiB, since the agent started",
		(long long)member_int(kernel, "swapin_pages"),
		(long long)member_int(kernel, "swapout_pages"), sysconf(_SC_PAGESIZE) / 1024);
}

enum cli_status verb_top(const struct cli *cli)
{
	bool tty = isatty(STDOUT_FILENO);

	for (;;) {
		json_t *reply;
		enum cli_status r = client_call(cli, "GetTop", NULL, &reply);

		if (r != CLI_DONE)
			return r;
		if (!cli->once && !cli->json && tty)
			fputs("\033[H\033[2J", stdout);
		if (cli->json)
			print_json(json_object_get(reply, "top"));
		else
			print_top(cli, json_object_get(reply, "top"));
		json_decref(reply);
		/* close_stdout() says why. */
		if (fflush(stdout) != 0 || cli->once || cli->json)
			return CLI_DONE;
		sleep(PERIOD_S);
		if (!tty)
			putchar('\n');
	}
}
