/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * culprit, the client: one verb a file, the command line taken apart in one place. All it knows of
 * the agent it asks over the control socket.
 */
#ifndef CULPRIT_CLI_CLI_H
#define CULPRIT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#define CLI_DEFAULT_SOCKET "/run/culprit/control"

enum cli_status {
	CLI_DONE = 0,
	CLI_FAILED = 1, /* refused or failed; one line has said why and what to do */
	CLI_USAGE = 2,
	CLI_NO_AGENT = 3
};

/* What a verb takes besides --socket and --help. */
enum cli_option {
	CLI_JSON = 1 << 0,
	CLI_ONCE = 1 << 1,
	CLI_FOLLOW = 1 << 2,
	CLI_SINCE = 1 << 3,
	CLI_FOR = 1 << 4
};

/* The command line, checked. */
struct cli {
	const char *socket;
	bool json, once, follow;
	bool colour;
	bool has_since, has_for;
	json_int_t since_ms; /* Unix milliseconds */
	json_int_t for_ms;
	const char *arg; /* the verb's argument, or NULL */
};

struct cli_verb {
	const char *name;
	const char *usage; /* what follows the name */
	const char *help;
	const char *arg; /* what its argument is called; NULL: it has none */
	enum cli_status (*run)(const struct cli *cli);
	unsigned int options; /* enum cli_option */
	bool arg_required;
};

/* The verb of that name, or NULL. */
const struct cli_verb *cli_find_verb(const char *name);

/* Takes argv[1…] of the verb apart. CLI_DONE, or (told already) CLI_USAGE; *help: the user asked
 * for help instead. */
enum cli_status cli_parse(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
			  bool *help);

/* One line on stderr: "culprit: …", made printable. */
__attribute__((format(printf, 1, 2))) void cli_error(const char *format, ...);

enum cli_status verb_status(const struct cli *cli);
enum cli_status verb_top(const struct cli *cli);
enum cli_status verb_why(const struct cli *cli);
enum cli_status verb_events(const struct cli *cli);
enum cli_status verb_freeze(const struct cli *cli);
enum cli_status verb_thaw(const struct cli *cli);
enum cli_status verb_pause(const struct cli *cli);
enum cli_status verb_resume(const struct cli *cli);
enum cli_status verb_ping(const struct cli *cli);
enum cli_status verb_reload(const struct cli *cli);
enum cli_status verb_quit(const struct cli *cli);

#endif
