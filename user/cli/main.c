// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char overview[] =
	"culprit - ask and steer culpritd, the agent that keeps machines usable\n"
	"\n"
	"usage: culprit [--socket PATH] VERB\n"
	"\n"
	"  status                the agent, its senses, policies, claims and losses\n"
	"  top                   who uses what now, and what is held\n"
	"  why [TARGET]          the last decision about it: numbers, candidates, what undoes it\n"
	"  events                what happened\n"
	"  freeze TARGET         hold it by hand          thaw TARGET       let it go\n"
	"  pause [POLICY]        switch a policy off      resume [POLICY]   and on again\n"
	"  ping                  is the agent there?      reload            read its "
	"configuration\n"
	"  quit                  let everything go and end the agent\n"
	"\n"
	"TARGET is a workload name, /cgroup/path, unit:NAME or pid:N.\n"
	"culprit VERB --help says more; so does culprit(1).\n"
	"Exit status: 0 done, 1 refused or failed, 2 usage, 3 no agent there.\n";

/* Verbs of the design whose time has not come. */
static const char *const later[] = { "run",  "list",   "inspect", "stats",  "logs",	"wait",
				     "kill", "remove", "replay",  "report", "exporter", NULL };

static bool is_later(const char *name)
{
	for (const char *const *v = later; *v; v++)
		if (strcmp(*v, name) == 0)
			return true;
	return false;
}

static void interrupted(int signal)
{
	_exit(128 + signal);
}

/* A reader that has seen enough (| head) ends us quietly, Ctrl-C without a word. */
static void set_signals(void)
{
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, interrupted);
}

/* Output that did not reach its file is a failure, wherever it was written. */
static enum cli_status close_stdout(enum cli_status status)
{
	bool failed = ferror(stdout) != 0;

	if (fclose(stdout) != 0 || failed) {
		cli_error("cannot write the output: %s", strerror(errno));
		return status == CLI_DONE ? CLI_FAILED : status;
	}
	return status;
}

static enum cli_status run_verb(struct cli *cli, int argc, char **argv)
{
	const struct cli_verb *verb = cli_find_verb(argv[0]);
	enum cli_status status;
	bool help = false;

	if (!verb && is_later(argv[0])) {
		cli_error("%s is not supported yet; see culprit --help for what is", argv[0]);
		return CLI_USAGE;
	}
	if (!verb) {
		cli_error("unknown verb '%s'; see culprit --help", argv[0]);
		return CLI_USAGE;
	}
	status = cli_parse(cli, verb, argc, argv, &help);
	if (status != CLI_DONE)
		return status;
	if (help) {
		printf("usage: culprit [--socket PATH] %s%s%s\n\n%s", verb->name,
		       verb->usage[0] ? " " : "", verb->usage, verb->help);
		return CLI_DONE;
	}
	return verb->run(cli);
}

static bool want_colour(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && term &&
	       strcmp(term, "dumb") != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL },
	};
	struct cli cli = { .socket = CLI_DEFAULT_SOCKET, .colour = want_colour() };
	int option;

	set_signals();
	opterr = 0;
	/* "+": what stands behind the verb is the verb's. */
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (option) {
		case 's':
			if (!*optarg) {
				cli_error("--socket '': name a socket; see culprit --help");
				return CLI_USAGE;
			}
			cli.socket = optarg;
			break;
		case 'h':
			fputs(overview, stdout);
			return close_stdout(CLI_DONE);
		case 'V':
			printf("culprit %s\n", CULPRIT_VERSION);
			return close_stdout(CLI_DONE);
		default:
			cli_error("unknown option or missing value: %s; see culprit --help",
				  argv[optind - 1]);
			return CLI_USAGE;
		}
	}
	if (optind == argc) {
		fputs(overview, stderr);
		return CLI_USAGE;
	}
	return close_stdout(run_verb(&cli, argc - optind, argv + optind));
}
