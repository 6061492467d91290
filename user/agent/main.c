// SPDX-License-Identifier: GPL-2.0-or-later
/* culpritd's command line. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act/release.h"
#include "agent/agent.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/units.h"
#include "tell/log.h"

enum {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2
};

static const char usage_text[] =
	"usage: culpritd [--config FILE] [--shadow] [--only CGROUP] [--state-dir DIR] [--socket "
	"PATH]\n"
	"                [--pin-dir DIR] [--log-level LEVEL] [--source SENSE=SOURCE]\n"
	"       culpritd --check [--config FILE]\n"
	"       culpritd --support [--json] [--source SENSE=SOURCE]\n"
	"       culpritd --release [--state-dir DIR] [--socket PATH] [--pin-dir DIR]\n"
	"       culpritd --version\n"
	"\n"
	"  --config FILE      read FILE and the conf.d beside it (default " CONFIG_DEFAULT_FILE
	")\n"
	"  --check            check the configuration and end: 0 it is good, 2 it is not\n"
	"  --support          say which kernel sources each sense uses here, and what they cannot "
	"see\n"
	"  --release          undo all that a dead agent's ledger still holds, and end\n"
	"  --shadow           decide and tell, but touch nothing\n"
	"  --only CGROUP      act only on cgroups below this path\n"
	"  --state-dir DIR    where the ledger is (default /run/culprit)\n"
	"  --socket PATH      the control socket (default /run/culprit/control)\n"
	"  --pin-dir DIR      where maps are pinned (default /sys/fs/bpf/culprit)\n"
	"  --log-level LEVEL  error, warning, notice, info or debug; with any of these\n"
	"  --source SENSE=S   force one source of a sense, as --support names them\n"
	"\n"
	"Runs in the foreground. Exit status: 0 done, 1 refused or failed, 2 usage or "
	"configuration.\n";

enum {
	OPT_CONFIG = 256,
	OPT_CHECK,
	OPT_SUPPORT,
	OPT_JSON,
	OPT_RELEASE,
	OPT_SHADOW,
	OPT_ONLY,
	OPT_STATE_DIR,
	OPT_SOCKET,
	OPT_PIN_DIR,
	OPT_LOG_LEVEL,
	OPT_SOURCE,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "support", no_argument, NULL, OPT_SUPPORT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "release", no_argument, NULL, OPT_RELEASE },
	{ "shadow", no_argument, NULL, OPT_SHADOW },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "pin-dir", required_argument, NULL, OPT_PIN_DIR },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "source", required_argument, NULL, OPT_SOURCE },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

enum mode {
	MODE_RUN,
	MODE_CHECK,
	MODE_SUPPORT,
	MODE_RELEASE
};

struct command_line {
	struct options options;
	enum mode mode;
	bool json;
	unsigned int given; /* GIVEN() of each option that stands there */
};

#define GIVEN(option) (1U << ((option)-OPT_CONFIG))

/* What each mode listens to. --log-level goes with all of them. */
static const struct {
	const char *name;
	unsigned int takes;
} modes[] = {
	[MODE_RUN] = { NULL, ~GIVEN(OPT_JSON) },
	[MODE_CHECK] = { "--check", GIVEN(OPT_CHECK) | GIVEN(OPT_CONFIG) | GIVEN(OPT_LOG_LEVEL) },
	[MODE_SUPPORT] = { "--support", GIVEN(OPT_SUPPORT) | GIVEN(OPT_JSON) | GIVEN(OPT_SOURCE) |
						GIVEN(OPT_LOG_LEVEL) },
	[MODE_RELEASE] = { "--release", GIVEN(OPT_RELEASE) | GIVEN(OPT_STATE_DIR) |
						GIVEN(OPT_SOCKET) | GIVEN(OPT_PIN_DIR) |
						GIVEN(OPT_LOG_LEVEL) },
};

__attribute__((format(printf, 1, 2))) static int bad_usage(const char *format, ...)
{
	char raw[2048], text[2 * sizeof(raw)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	fprintf(stderr, "culpritd: %s; culpritd --help tells more\n",
		text_printable(text, sizeof(text), raw));
	return EXIT_USAGE;
}

static int add_source(struct options *o, char *text)
{
	char *equals = strchr(text, '=');
	char hint[256];

	if (!equals)
		return bad_usage("--source %s: say SENSE=SOURCE, as culpritd --support names them",
				 text);
	if (o->n_sources == MAX_SOURCES)
		return bad_usage("--source %s: one too many; give one for each sense", text);
	*equals = '\0';
	if (!senses_known(text, equals + 1, hint, sizeof(hint)))
		return bad_usage("--source %s=%s: %s", text, equals + 1, hint);
	o->sources[o->n_sources].sense = text;
	o->sources[o->n_sources++].source = equals + 1;
	return EXIT_DONE;
}

/* One mode only: --check --release would leave open what is meant. */
static int set_mode(struct command_line *c, enum mode mode, const char *name)
{
	if (c->mode != MODE_RUN && c->mode != mode)
		return bad_usage("%s: --check, --support and --release exclude one another", name);
	c->mode = mode;
	return EXIT_DONE;
}

/* What would change nothing was meant to change something. */
static int check_given(const struct command_line *c)
{
	unsigned int surplus = c->given & ~modes[c->mode].takes;

	for (const struct option *o = long_options; o->name; o++) {
		if (o->val < OPT_CONFIG || !(surplus & GIVEN(o->val)))
			continue;
		if (c->mode == MODE_RUN)
			return bad_usage("--%s: it goes with --support only", o->name);
		return bad_usage("--%s: %s does not listen to it; leave it out", o->name,
				 modes[c->mode].name);
	}
	return EXIT_DONE;
}

static bool to_is_made(const char *name)
{
	return strcmp(name, "--only") != 0;
}

static int absolute(const char **to, const char *name, const char *path, size_t most)
{
	size_t length = strlen(path);

	if (path[0] != '/')
		return bad_usage("%s '%s': give an absolute path, one that begins with /", name,
				 path);
	if (length > most)
		return bad_usage("%s: its path has %zu bytes; choose one of at most %zu", name,
				 length, most);
	/* All but --only are made, and hold what is the agent's alone. */
	if (strspn(path, "/") == length && to_is_made(name))
		return bad_usage("%s %s: is the root directory; choose a path below it", name,
				 path);
	if (strstr(path, "/../") || (length >= 3 && strcmp(path + length - 3, "/..") == 0))
		return bad_usage("%s %s: give a path without ..", name, path);
	*to = path;
	return EXIT_DONE;
}

/* `text` is the argument that the option was read from. */
static int handle(struct command_line *c, int option, const char *text)
{
	struct options *o = &c->options;

	if (option >= OPT_CONFIG)
		c->given |= GIVEN(option);
	switch (option) {
	case OPT_CONFIG:
		if (!*optarg)
			return bad_usage("--config '': name a configuration file");
		o->config_file = optarg;
		o->config_required = true;
		return EXIT_DONE;
	case OPT_CHECK:
		return set_mode(c, MODE_CHECK, "--check");
	case OPT_SUPPORT:
		return set_mode(c, MODE_SUPPORT, "--support");
	case OPT_RELEASE:
		return set_mode(c, MODE_RELEASE, "--release");
	case OPT_JSON:
		c->json = true;
		return EXIT_DONE;
	case OPT_SHADOW:
		o->shadow = true;
		return EXIT_DONE;
	case OPT_ONLY:
		return absolute(&o->only, "--only", optarg, ONLY_MAX);
	case OPT_STATE_DIR:
		return absolute(&o->state_dir, "--state-dir", optarg, PATH_MAX - NAME_MAX);
	case OPT_SOCKET:
		return absolute(&o->socket, "--socket", optarg, PATH_MAX - NAME_MAX);
	case OPT_PIN_DIR:
		return absolute(&o->pin_dir, "--pin-dir", optarg, PATH_MAX - NAME_MAX);
	case OPT_LOG_LEVEL:
		o->log_level = log_level_from_name(optarg);
		if (o->log_level < 0)
			return bad_usage(
				"--log-level '%s': say error, warning, notice, info or debug",
				optarg);
		return EXIT_DONE;
	case OPT_SOURCE:
		return add_source(o, optarg);
	case ':':
		return bad_usage("%s: its value is missing", text);
	default:
		return bad_usage("%s: no such option, or it takes no value", text);
	}
}

static void on_check_message(void *user, bool warning, const char *line)
{
	(void)user;
	/* As ExecReload of the unit its messages are for the journal, with their priority. */
	if (log_is_journal())
		log_message(warning ? LOG_WARNING : LOG_ERR, "%s", line);
	else
		fprintf(stderr, "%s%s\n", warning ? "warning: " : "", line);
}

static int check(const struct options *o)
{
	struct config *config = NULL;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int r = config_load(&config, o->config_file, o->config_required,
			    cpus > 0 ? (unsigned int)cpus : 1, on_check_message, NULL);

	if (r < 0)
		return EXIT_USAGE;
	/* Who checks is somewhere else than the agent, mostly. */
	(void)kin_check(config, 0, false, on_check_message, NULL);
	checks_of_config(config, on_check_message, NULL);
	/* Without --config the file may be missing: who believes it is there is told. */
	printf("%s%s: %u %s, %u %s; the configuration is good\n", o->config_file,
	       access(o->config_file, F_OK) < 0 ? " (does not exist)" : "", config->n_policies,
	       units_plural(config->n_policies, "policy", "policies"), config->n_workloads,
	       units_plural(config->n_workloads, "workload", "workloads"));
	config_free(config);
	return EXIT_DONE;
}

static void on_released(void *user, const struct claim *claim, int error)
{
	char text[TEXT_ESCAPED_SIZE(PATH_MAX) + 1];

	(void)user;
	if (error == -EBADMSG)
		printf("culpritd: an entry of the ledger is damaged ('%s'), and what it held is "
		       "not known; look for what is still frozen or stopped, and let it go by "
		       "hand\n",
		       text_printable(text, sizeof(text), claim->reason));
	else if (claim->undone)
		printf("culpritd: the agent died, and its guardian let go %s\n",
		       target_describe(text, sizeof(text), &claim->target));
	else
		printf("culpritd: %s %s%s%s\n", error ? "could not let go" : "let go",
		       target_describe(text, sizeof(text), &claim->target), error ? ": " : "",
		       error ? strerror(-error) : "");
}

static int release(const struct options *o)
{
	struct release_options r = {
		.state_dir = o->state_dir ? o->state_dir : "/run/culprit",
		.pin_dir = o->pin_dir ? o->pin_dir : "/sys/fs/bpf/culprit",
		.remove_pins = pins_remove_stale,
		.told = on_released,
	};
	char what[PATH_MAX] = "";
	pid_t holder = 0;
	int n = release_all(&r, &holder, what, sizeof(what));

	if (n >= 0) {
		/* A dead agent's socket would answer nobody; a living one's is left alone. */
		varlink_remove_stale(o->socket ? o->socket : "/run/culprit/control");
		return EXIT_DONE;
	}
	if (n == -EBUSY)
		fprintf(stderr,
			"culpritd: %s: a living agent (pid %d) holds this; ask it (culprit thaw) "
			"or stop "
			"it\n",
			r.state_dir, (int)holder);
	else if (n == -EPERM)
		fprintf(stderr,
			"culpritd: %s: must be root's and not writable by others; mend it (chown "
			"root, "
			"chmod go-w) and try again\n",
			what);
	else
		fprintf(stderr, "culpritd: %s: not everything could be let go: %s; try again\n",
			what[0] ? what : r.state_dir, strerror(-n));
	return EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	struct command_line c = {
		.options = { .config_file = CONFIG_DEFAULT_FILE, .log_level = -1 },
	};
	int option, r;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage_text, stdout);
			return EXIT_DONE;
		}
		if (option == OPT_VERSION) {
			puts("culpritd " CULPRIT_VERSION);
			return EXIT_DONE;
		}
		r = handle(&c, option, argv[optind - 1]);
		if (r)
			return r;
	}
	if (optind < argc)
		return bad_usage("'%s': culpritd takes options only", argv[optind]);
	r = check_given(&c);
	if (r)
		return r;
	log_open(c.options.log_level >= 0 ? c.options.log_level : LOG_INFO);
	log_capture_libbpf();
	switch (c.mode) {
	case MODE_CHECK:
		return check(&c.options);
	case MODE_SUPPORT:
		return permission_to_load() ? senses_support(&c.options, c.json) : EXIT_REFUSED;
	case MODE_RELEASE:
		return permission_to_act() ? release(&c.options) : EXIT_REFUSED;
	case MODE_RUN:
		break;
	}
	return permission_to_load() ? agent_run(&c.options) : EXIT_REFUSED;
}
