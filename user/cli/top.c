// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
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

static void held_cell(struct table *table, const json_t *object, const char *name)
{
	bool held = json_is_true(json_object_get(object, name));

	table_cell(table, "%s", held ? name : "-");
	table_colour(table, held ? colour_of(name) : NULL);
}

static void print_cgroups(const json_t *cgroups, size_t limit, bool colour)
{
	static const char *const titles[] = { ">CPU %", ">CPU TIME", ">SWAP-IN", ">SWAP-OUT",
					      "HELD",	"CGROUP",    NULL };
	struct table *table = table_new(titles);
	char time[FORMAT_SIZE];
	const json_t *c;
	size_t i;

	json_array_foreach (cgroups, i, c) {
		table_cell(table, "%.1f", member_real(c, "cpu_pct"));
		table_cell(table, "%s", format_cpu_time(time, member_int(c, "cpu_usec")));
		pages_cell(table, c, "swapin_pages");
		pages_cell(table, c, "swapout_pages");
		held_cell(table, c, "frozen");
		table_cell(table, "%s", member_text(c, "path"));
	}
	table_limit(table, limit);
	table_print(table, colour);
}

static void print_processes(const json_t *processes, size_t limit, bool colour)
{
	static const char *const titles[] = { ">PID",	"COMM",	 ">CPU %", ">CPU TIME", ">SWAP-IN",
					      ">CHURN", ">SIZE", "HELD",   "CGROUP",	NULL };
	struct table *table = table_new(titles);
	char time[FORMAT_SIZE], size[FORMAT_SIZE];
	double page = (double)sysconf(_SC_PAGESIZE);
	const json_t *p;
	size_t i;

	json_array_foreach (processes, i, p) {
		table_cell(table, "%lld", (long long)member_int(p, "pid"));
		table_cell(table, "%s", member_text(p, "comm"));
		table_cell(table, "%.1f", member_real(p, "cpu_pct"));
		table_cell(table, "%s", format_cpu_time(time, member_int(p, "cpu_usec")));
		pages_cell(table, p, "swapin_pages");
		pages_cell(table, p, "churn_pages");
		table_cell(table, "%s",
			   format_size(size, member_real(p, "footprint_pages") * page));
		held_cell(table, p, "stopped");
		table_cell(table, "%s", member_text(p, "cgroup"));
	}
	table_limit(table, limit);
	table_print(table, colour);
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
	size_t limit = rows_that_fit(cli);

	print_cgroups(json_object_get(top, "cgroups"), limit, cli->colour);
	putchar('\n');
	print_processes(json_object_get(top, "processes"), limit, cli->colour);
	print_gpus(json_object_get(top, "gpus"), cli->colour);
	putchar('\n');
	print_line("the kernel itself: swap-in %lld, swap-out %lld; swap and churn in pages of "
		   "%ld KiB",
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
