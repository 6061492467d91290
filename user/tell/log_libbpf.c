// SPDX-License-Identifier: GPL-2.0-or-later
#include <bpf/libbpf.h>

#include "tell/log.h"

static int print(enum libbpf_print_level level, const char *format, va_list ap)
{
	(void)level;
	log_messagev(LOG_DEBUG, format, ap);
	return 0;
}

void log_capture_libbpf(void)
{
	libbpf_set_print(print);
}
