/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pressure stall information as evidence: for how long tasks stood still for want of memory, CPU or
 * I/O, on the whole machine or in one cgroup. The averages move every 2 s and say little early; the
 * totals are of the moment.
 */
#ifndef CULPRIT_SENSE_PSI_H
#define CULPRIT_SENSE_PSI_H

#include <stdint.h>

enum psi_resource {
	PSI_MEMORY,
	PSI_CPU,
	PSI_IO,
};

enum psi_kind {
	PSI_SOME, /* at least one task stood still */
	PSI_FULL, /* all that could have run did */
	PSI_KINDS,
};

/* One line of a pressure file. */
struct psi_values {
	uint32_t avg10, avg60, avg300; /* hundredths of a percent: 12.34 % is 1234 */
	uint64_t total_usec;	       /* since boot, or since the cgroup was made */
};

struct psi;

/*
 * Opens the pressure of the machine (cgroup_fd -1) or of the cgroup whose directory is open at
 * cgroup_fd, which may be closed afterwards. *out is freed by psi_close(). -ENOTSUP: this kernel
 * has no PSI (not built, or off at boot); -ENOENT: the cgroup is gone; -errno.
 */
int psi_open(struct psi **out, int cgroup_fd, enum psi_resource resource);
void psi_close(struct psi *psi);

/* Reads both lines, values[PSI_SOME] and values[PSI_FULL]; a line that is not there (cpu full,
 * before 5.13) is all zeros. No allocation. 0, -ENODEV: the cgroup is gone, -EBADMSG, -errno. */
int psi_read(struct psi *psi, struct psi_values values[PSI_KINDS]);

/* Microseconds stalled since the last psi_stall() of this kind, or since psi_open(). A total that
 * went backwards is 0. No allocation. 0 or -errno, as psi_read(). */
int psi_stall(struct psi *psi, enum psi_kind kind, uint64_t *stalled_usec);

#endif
