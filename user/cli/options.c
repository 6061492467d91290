// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/parse.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"

#define HELP_JSON "  --json      the object itself, as culprit(1) describes it\n"
#define HELP_FOR  "  --for D     for so long: 250ms 15s 10m 2h 1d\n"
#define TARGET_IS "TARGET is a workload name, /cgroup/path, unit:NAME or pid:N.\n"

static const struct cli_verb verbs[] = {
	{ "status", "[--json]",
	  "Shows the agent, its senses and what they cannot see, its policies, what it holds and\n"
	  "why, and every kind of loss that is not zero.\n\n" HELP_JSON,
	  NULL, verb_status, CLI_JSON, false },
	{ "top", "[--once] [--json]",
	  "Shows who uses what now: CPU time and swap-in by cgroup and process, and who has a GPU\n"
	  "open. Prints again every two seconds.\n\n"
	  "  --once      print once and end\n" HELP_JSON "              (once)\n",
	  NULL, verb_top, CLI_ONCE | CLI_JSON, false },
	{ "why", "[TARGET] [--json]",
	  "Tells the last decision about a workload, policy, cgroup or process (without one,\n"
	  "of all that is held): the signal, its numbers, the candidates, what undoes "
	  "it.\n" TARGET_IS "\n  --json      one object a line\n",
	  "TARGET", verb_why, CLI_JSON, false },
	{ "events", "[--follow] [--since T] [--json]",
	  "Shows what happened, oldest first. The agent keeps the last 1,000 events; the\n"
	  "journal has the older ones.\n\n"
	  "  --follow    go on with what happens now, until Ctrl-C\n"
	  "  --since T   from then on: 10m (ago), or 2026-01-31T12:00:00Z\n"
	  "  --json      one object a line\n",
	  NULL, verb_events, CLI_FOLLOW | CLI_SINCE | CLI_JSON, false },
	{ "freeze", "TARGET [--for D] [--json]",
	  "Holds a target by hand, until it is thawed.\n" TARGET_IS "\n" HELP_FOR HELP_JSON,
	  "TARGET", verb_freeze, CLI_FOR | CLI_JSON, true },
	{ "thaw", "TARGET [--for D] [--json]",
	  "Lets a target go. A policy that held it stays off it until its signal has been quiet\n"
	  "once; with --for every policy stays off it for so long, held now or not.\n" TARGET_IS
	  "\n" HELP_FOR HELP_JSON,
	  "TARGET", verb_thaw, CLI_FOR | CLI_JSON, true },
	{ "pause", "[POLICY] [--for D] [--json]",
	  "Switches a policy (all of them) off and releases what it holds.\n\n" HELP_FOR HELP_JSON,
	  "POLICY", verb_pause, CLI_FOR | CLI_JSON, false },
	{ "resume", "[POLICY] [--json]",
	  "Switches a paused policy (all of them) on again.\n\n" HELP_JSON, "POLICY", verb_resume,
	  CLI_JSON, false },
	{ "ping", "[--json]",
	  "Is the agent there, and how long does it take to answer?\n\n" HELP_JSON, NULL, verb_ping,
	  CLI_JSON, false },
	{ "reload", "[--json]",
	  "Has the agent read its configuration again. If that has errors, they are shown and the\n"
	  "old one stays in force.\n\n" HELP_JSON,
	  NULL, verb_reload, CLI_JSON, false },
	{ "quit", "", "Has the agent let everything go and end.\n", NULL, verb_quit, 0, false },
	{ NULL },
};

const struct cli_verb *cli_find_verb(const char *name)
{
	for (const struct cli_verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

void cli_error(const char *format, ...)
{
	char raw[2048], text[2 * sizeof(raw)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	/* What was printed before comes before. */
	fflush(stdout);
	fprintf(stderr, "culprit: %s\n", text_printable(text, sizeof(text), raw));
}

/* Only the options that the verb has are known to getopt. */
static void select_options(struct option *out, unsigned int mask)
{
	static const struct {
		unsigned int bit;
		struct option option;
	} all[] = {
		{ CLI_JSON, { "json", no_argument, NULL, 'j' } },
		{ CLI_ONCE, { "once", no_argument, NULL, 'o' } },
		{ CLI_FOLLOW, { "follow", no_argument, NULL, 'f' } },
		{ CLI_SINCE, { "since", required_argument, NULL, 'S' } },
		{ CLI_FOR, { "for", required_argument, NULL, 'F' } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (mask & all[i].bit)
			*out++ = all[i].option;
	*out++ = (struct option){ "socket", required_argument, NULL, 's' };
	*out++ = (struct option){ "help", no_argument, NULL, 'h' };
	*out = (struct option){ 0 };
}

static enum cli_status usage_error(const struct cli_verb *verb, const char *what, const char *which)
{
	cli_error("%s: %s%s%s; see culprit %s --help", verb->name, what, which ? ": " : "",
		  which ? which : "", verb->name);
	return CLI_USAGE;
}

static enum cli_status take_option(struct cli *cli, const struct cli_verb *verb, int option,
				   char **argv)
{
	switch (option) {
	case 'j':
		cli->json = true;
		return CLI_DONE;
	case 'o':
		cli->once = true;
		return CLI_DONE;
	case 'f':
		cli->follow = true;
		return CLI_DONE;
	case 's':
		if (!*optarg)
			return usage_error(verb, "--socket '': name a socket", NULL);
		cli->socket = optarg;
		return CLI_DONE;
	case 'S':
		cli->has_since = true;
		if (parse_since(optarg, (json_int_t)unix_ms(), &cli->since_ms) < 0)
			return usage_error(verb,
					   "--since takes a duration (10m) or a time "
					   "(2026-01-31T12:00:00Z)",
					   optarg);
		return CLI_DONE;
	case 'F':
		cli->has_for = true;
		if (parse_duration(optarg, &cli->for_ms) < 0 || cli->for_ms == 0)
			return usage_error(verb, "--for takes a duration such as 15s 10m 2h",
					   optarg);
		return CLI_DONE;
	default:
		return usage_error(verb, "unknown option or missing value", argv[optind - 1]);
	}
}

enum cli_status cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
			  bool *help)
{
	struct option options[8];
	int option;

	select_options(options, verb->options);
	opterr = 0;
	optind = 0; /* glibc: begin anew, with this argv */
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		enum cli_status status;

		if (option == 'h') {
			*help = true;
			return CLI_DONE;
		}
		status = take_option(cli, verb, option, argv);
		if (status != CLI_DONE)
			return status;
	}
	if (optind < argc && verb->arg)
		cli->arg = argv[optind++];
	if (optind < argc)
		return usage_error(verb, "too many arguments", argv[optind]);
	if (verb->arg_required && !(cli->arg && cli->arg[0]))
		return usage_error(verb, "missing argument", verb->arg);
	return CLI_DONE;
}
