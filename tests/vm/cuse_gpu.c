// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A GPU's device node without a GPU: a character device in user space (CUSE) that opens and closes
 * and does nothing else. With NVIDIA's own number it is, to whoever looks at opens, the real thing.
 *
 *   cuse_gpu NAME MAJOR MINOR     makes /dev/NAME; MAJOR 0: the kernel picks one
 *
 * Runs in the foreground until SIGTERM; the node goes with it.
 */
#define FUSE_USE_VERSION 31
#include <cuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>

static void on_open(fuse_req_t request, struct fuse_file_info *file)
{
	fuse_reply_open(request, file);
}

int main(int argc, char **argv)
{
	static const struct cuse_lowlevel_ops operations = { .open = on_open };
	char foreground[] = "-f", single[] = "-s", *fuse_argv[] = { argv[0], foreground, single };
	const char *entries[1];
	struct cuse_info info = { .dev_info_argc = 1, .dev_info_argv = entries };
	char name[64];

	if (argc != 4) {
		fprintf(stderr, "usage: cuse_gpu NAME MAJOR MINOR\n");
		return 2;
	}
	snprintf(name, sizeof(name), "DEVNAME=%s", argv[1]);
	entries[0] = name;
	info.dev_major = (unsigned int)strtoul(argv[2], NULL, 10);
	info.dev_minor = (unsigned int)strtoul(argv[3], NULL, 10);
	return cuse_lowlevel_main(3, fuse_argv, &info, &operations, NULL);
}
