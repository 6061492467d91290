// SPDX-License-Identifier: GPL-2.0-or-later
/* Who cannot do the agent's work is told so before anything is touched. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "lib/cleanup.h"
#include "tell/log.h"

static uint64_t effective_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return (uint64_t)data[1].effective << 32 | data[0].effective;
}

static bool has(uint64_t set, unsigned int capability)
{
	return set & (1ULL << capability);
}

bool permission_to_act(void)
{
	if (geteuid() == 0)
		return true;
	log_error(
		"only root may freeze cgroups and load BPF programs; run culpritd as root (sudo)");
	return false;
}

bool permission_to_load(void)
{
	uint64_t set = effective_capabilities();
	_cleanup_close_ int map = -1;

	if (!permission_to_act())
		return false;
	/* Before 5.8 (2c78ee898d8f) there is CAP_SYS_ADMIN only, and it still implies the others.
	 */
	if (!has(set, CAP_SYS_ADMIN) && !(has(set, CAP_BPF) && has(set, CAP_PERFMON))) {
		log_error("root without CAP_SYS_ADMIN, and without CAP_BPF and CAP_PERFMON, cannot "
			  "load BPF programs; give culpritd these capabilities");
		return false;
	}
	/* The capabilities may be there and the call forbidden all the same. */
	map = bpf_map_create(BPF_MAP_TYPE_HASH, "culprit_may", sizeof(uint32_t), sizeof(uint32_t),
			     1, NULL);
	if (map < 0 && errno == EPERM) {
		log_error("bpf(2) is refused to root here (%s), by a container or by seccomp; run "
			  "culpritd on the host, or allow the call",
			  strerror(errno));
		return false;
	}
	return true;
}
