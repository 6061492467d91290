/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records and map values of the gpu sense. */
#ifndef CULPRIT_GPU_H
#define CULPRIT_GPU_H

#include "culprit/record.h"

#define CULPRIT_GPU_DEVICES 64

/* What a device node is for; bits, because a process holds several. */
enum culprit_gpu_role {
	CULPRIT_GPU_ROLE_GPU = 1,     /* a GPU proper, or whatever node the configuration names */
	CULPRIT_GPU_ROLE_CONTROL = 2, /* nvidiactl */
	CULPRIT_GPU_ROLE_MODESET = 4, /* nvidia-modeset */
	CULPRIT_GPU_ROLE_MEMORY = 8,  /* nvidia-uvm, /dev/kfd: compute needs it */
	CULPRIT_GPU_ROLE_RENDER = 16, /* a DRM render or card node */
};

/* What kind of user a holder is, from the roles of all that it holds (see gpu.c). */
enum culprit_gpu_kind {
	CULPRIT_GPU_KIND_CONTROL = 0,
	CULPRIT_GPU_KIND_MONITOR = 1,
	CULPRIT_GPU_KIND_DISPLAY = 2,
	CULPRIT_GPU_KIND_COMPUTE = 3,
};

#endif
