/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scope-bound resources: a variable declared with one of these is released when its scope ends, so
 * that a function has one way out and no leak.
 */
#ifndef CULPRIT_LIB_CLEANUP_H
#define CULPRIT_LIB_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Closes without disturbing errno: what the caller reports is the failure before it. */
static inline void closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_	   _cleanup_(freep)
#define _cleanup_close_	   _cleanup_(closep)
#define _cleanup_fclose_   _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

/* Hands the value on and leaves the empty one behind, so that the cleanup does nothing. */
#define take_fd(fd)                  \
	({                           \
		int *fd__ = &(fd);   \
		int value__ = *fd__; \
		*fd__ = -1;          \
		value__;             \
	})

#define take_ptr(ptr)                             \
	({                                        \
		__typeof__(ptr) *ptr__ = &(ptr);  \
		__typeof__(ptr) value__ = *ptr__; \
		*ptr__ = NULL;                    \
		value__;                          \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
