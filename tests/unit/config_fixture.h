/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration files in a directory of the test's own, loaded, and what was said of them. */
#ifndef CULPRIT_TESTS_CONFIG_FIXTURE_H
#define CULPRIT_TESTS_CONFIG_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "decide/config.h"
#include "lib/cleanup.h"

#define FIXTURE_CPUS 4

struct fixture {
	char dir[64];
	char file[96];
	struct config *config;
	int r;
	char said[65536]; /* all messages, the directory cut off, a newline behind each */
	unsigned int n_errors, n_warnings;
};

static inline void fixture_hear(void *user, bool warning, const char *line)
{
	struct fixture *f = user;
	size_t n = strlen(f->dir), used = strlen(f->said);

	if (strchr(line, '\n'))
		fail_msg("a message of more than one line: %s", line);
	if (strncmp(line, f->dir, n) == 0)
		line += n + 1;
	snprintf(f->said + used, sizeof(f->said) - used, "%s\n", line);
	*(warning ? &f->n_warnings : &f->n_errors) += 1;
}

static inline int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	snprintf(f->dir, sizeof(f->dir), "/tmp/culprit-config-XXXXXX");
	if (!mkdtemp(f->dir)) {
		free(f);
		return -1;
	}
	snprintf(f->file, sizeof(f->file), "%s/culprit.conf", f->dir);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	config_free(f->config);
	nftw(f->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static inline void fixture_write(struct fixture *f, const char *name, const void *data, size_t size)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	if (strncmp(name, "conf.d/", 7) == 0) {
		char dir[128];

		snprintf(dir, sizeof(dir), "%s/conf.d", f->dir);
		if (mkdir(dir, 0755) < 0)
			assert_int_equal(errno, EEXIST);
	}
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
}

static inline int fixture_load(struct fixture *f, bool required)
{
	config_free(f->config);
	f->said[0] = '\0';
	f->n_errors = f->n_warnings = 0;
	f->r = config_load(&f->config, f->file, required, FIXTURE_CPUS, fixture_hear, f);
	/* Nothing is wrong without being told, and nothing is right that was told to be wrong. */
	if ((f->r == 0) != (f->n_errors == 0) || (f->r == 0) != (f->config != NULL))
		fail_msg("returned %d after %u errors: %s", f->r, f->n_errors, f->said);
	return f->r;
}

/* Loads this text alone. */
static inline int fixture_load_text(struct fixture *f, const char *text)
{
	fixture_write(f, "culprit.conf", text, strlen(text));
	return fixture_load(f, true);
}

/* Loads this text, which must be right. */
static inline struct config *fixture_config(struct fixture *f, const char *text)
{
	if (fixture_load_text(f, text) < 0)
		fail_msg("%s", f->said);
	return f->config;
}

static inline bool fixture_said(const struct fixture *f, const char *what)
{
	return strstr(f->said, what) != NULL;
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
