// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/table.h"
#include "lib/clock.h"

static bool begins(const json_t *event)
{
	static const char *const kinds[] = { "frozen", "stopped", "demoted", "terminated",
					     "killed" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(member_text(event, "event"), kinds[i]) == 0)
			return true;
	return false;
}

/*
 * "frozen since 2026-01-31 13:00:00 (2 min 5 s) by policy miner-yields" and, below it, the sentence
 * that gives the reason. until: of the event that ended it; 0: it lasts.
 */
static void print_event_of(const json_t *event, json_int_t until)
{
	const char *kind = member_text(event, "event"), *policy = member_text(event, "policy");
	json_int_t ts = member_int(event, "ts"), now = (json_int_t)unix_ms();
	json_int_t end = until ? until : now;
	bool since = begins(event) && !until;
	char time[FORMAT_SIZE], span[FORMAT_SIZE];

	print_line("  %s%s %s %s (%s%s%s)%s%s",
		   json_is_true(json_object_get(event, "shadow")) ? "would have been " : "", kind,
		   since ? "since" : "at", format_time(time, ts), until ? "for " : "",
		   format_duration(span, end > ts ? end - ts : 0), since || until ? "" : " ago",
		   !policy[0]			 ? ""
		   : strcmp(kind, "config") == 0 ? " of policy "
						 : " by policy ",
		   policy);
	print_line("    because   %s", member_text(event, "reason"));
}

static void print_thrash(const json_t *e, const char *window)
{
	print_line("    measured  in %s: %lld pages swapped in, %lld of them in vain (churn); %.3g "
		   "%% of "
		   "the time lost waiting for memory",
		   window, (long long)member_int(e, "swapin_pages"),
		   (long long)member_int(e, "churn_pages"), member_real(e, "stall") * 100);
	print_line(
		"    together  %lld pages swapped in since the agent started, by the kernel's own "
		"count (pswpin)",
		(long long)member_int(e, "pswpin_pages"));
}

static void print_evidence(const json_t *e)
{
	const char *unit = member_text(e, "unit"), *device = member_text(e, "device");
	char value[FORMAT_SIZE], enter[FORMAT_SIZE], leave[FORMAT_SIZE], window[FORMAT_SIZE];

	format_duration(window, member_int(e, "window_ms"));
	if (json_object_get(e, "swapin_pages"))
		print_thrash(e, window);
	else if (strcmp(unit, "holders") == 0)
		print_line("    measured  %s open in %.0f process%s that counts", device,
			   member_real(e, "value"), member_real(e, "value") == 1 ? "" : "es");
	else if (unit[0])
		print_line("    measured  %s over %s; it begins at %s and ends below %s",
			   format_value(value, member_real(e, "value"), unit), window,
			   format_value(enter, member_real(e, "enter"), unit),
			   format_value(leave, member_real(e, "leave"), unit));
	if (member_int(e, "wakeups") > 0)
		print_line("    of which  %lld of %lld wake-ups waited %s or longer",
			   (long long)member_int(e, "late_wakeups"),
			   (long long)member_int(e, "wakeups"),
			   format_value(enter, member_real(e, "enter"), unit));
	if (member_int(e, "latency_us") > 0)
		print_line("    acted     %.*f ms after the kernel's record",
			   member_int(e, "latency_us") < 100000 ? 2 : 0,
			   (double)member_int(e, "latency_us") / 1000);
}

/* The last decision; and when that let go, the one before it, which had begun it. */
static void print_decision(const json_t *events)
{
	size_t n = json_array_size(events);
	const json_t *last = json_array_get(events, n - 1), *first = last;

	if (n == 0) {
		print_line("  no decision about it is kept; see journalctl -u culpritd");
		return;
	}
	print_event_of(last, 0);
	for (size_t i = n; i > 0 && !begins(first); i--)
		first = json_array_get(events, i - 1);
	if (first != last && begins(first))
		print_event_of(first, member_int(last, "ts"));
	else
		first = last;
	if (json_is_object(json_object_get(first, "evidence")))
		print_evidence(json_object_get(first, "evidence"));
}

static void print_candidates(const json_t *candidates, bool colour)
{
	static const char *const titles[] = {
		"    CANDIDATES",      ">SIZE", ">GROWTH", ">SWAP-IN", ">CHURN", ">WEIGHT",
		"PASSED OVER BECAUSE", NULL
	};
	struct table *table = table_new(titles);
	char target[TARGET_SIZE], size[FORMAT_SIZE], growth[FORMAT_SIZE];
	double page = (double)sysconf(_SC_PAGESIZE);
	const json_t *c;
	size_t i;

	json_array_foreach (candidates, i, c) {
		const char *refusal = member_text(c, "refusal");

		table_cell(table, "    %s",
			   format_target(target, sizeof(target), json_object_get(c, "target")));
		table_cell(table, "%s",
			   format_size(size, member_real(c, "footprint_pages") * page));
		table_cell(table, "%s", format_size(growth, member_real(c, "growth_pages") * page));
		table_cell(table, "%lld", (long long)member_int(c, "swapin_pages"));
		table_cell(table, "%lld", (long long)member_int(c, "churn_pages"));
		table_cell(table, "%.3g", member_real(c, "weight"));
		table_cell(table, "%s", refusal[0] ? refusal : "-");
	}
	table_print(table, colour);
}

/* asked: what stands for the target while nothing has been decided about it. */
static void print_why(const json_t *why, const char *asked, bool colour)
{
	const json_t *target = json_object_get(why, "target");
	const json_t *events = json_object_get(why, "events"), *undo, *next;
	const char *cgroup = member_text(target, "cgroup");
	char name[TARGET_SIZE];
	size_t i;

	print_line("%s%s%s",
		   json_is_object(target) ? format_target(name, sizeof(name), target) : asked,
		   cgroup[0] ? " in " : "", cgroup);
	print_decision(events);
	json_array_foreach (json_object_get(why, "undo"), i, undo)
		print_line("    %s  %s", i ? "      or" : "let go by",
			   json_is_string(undo) ? json_string_value(undo) : "?");
	json_array_foreach (json_object_get(why, "next"), i, next)
		print_line("    %s  %s", i ? "         " : "now      ",
			   json_is_string(next) ? json_string_value(next) : "?");
	print_candidates(json_object_get(why, "candidates"), colour);
}

enum cli_status verb_why(const struct cli *cli)
{
	json_t *parameters = cli->arg ? json_pack("{s:s}", "name", cli->arg) : NULL, *reply;
	const json_t *list, *why;
	enum cli_status r;
	size_t i;

	if (cli->arg && !parameters) {
		cli_error("the name is not valid UTF-8: %s", cli->arg);
		return CLI_USAGE;
	}
	r = client_call(cli, "Why", parameters, &reply);
	if (r != CLI_DONE)
		return r;
	list = json_object_get(reply, "why");
	json_array_foreach (list, i, why) {
		if (cli->json) {
			print_json(why);
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_why(why, cli->arg ? cli->arg : "", cli->colour);
	}
	if (json_array_size(list) == 0 && !cli->json)
		puts("nothing is held");
	json_decref(reply);
	return CLI_DONE;
}
