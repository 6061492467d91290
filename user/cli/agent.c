// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs that are about the agent itself. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/print.h"
#include "lib/clock.h"

enum cli_status verb_ping(const struct cli *cli)
{
	uint64_t begin = monotonic_ns();
	json_t *reply;
	enum cli_status r = client_call(cli, "Ping", NULL, &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->json)
		print_json(reply);
	else
		print_line("culpritd %s (pid %lld) answers in %.2f ms",
			   member_text(reply, "version"), (long long)member_int(reply, "pid"),
			   (double)(monotonic_ns() - begin) / (double)NSEC_PER_MSEC);
	json_decref(reply);
	return CLI_DONE;
}

enum cli_status verb_reload(const struct cli *cli)
{
	json_t *reply;
	enum cli_status r = client_call(cli, "Reload", NULL, &reply);

	if (r != CLI_DONE)
		return r;
	if (cli->json)
		print_json(reply);
	else
		print_line("the configuration was read again; policies in force: %lld",
			   (long long)member_int(reply, "policies"));
	json_decref(reply);
	return CLI_DONE;
}

enum cli_status verb_quit(const struct cli *cli)
{
	json_t *reply;
	enum cli_status r = client_call(cli, "Quit", NULL, &reply);

	json_decref(reply);
	return r;
}
