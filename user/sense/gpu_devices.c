// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which device numbers are watched, and as what. Roles are told by number, for which there are
 * three sources: the fixed numbers of NVIDIA and DRM, /proc/devices for majors that the kernel
 * hands out, and /sys/class/drm for the DRM nodes that there are.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"
#include "sense/gpu_private.h"

/* The kernel's Documentation/admin-guide/devices.txt; NVIDIA's minors: its nv-chardev-numbers.h. */
#define NVIDIA_MAJOR	     195
#define NVIDIA_LAST_GPU	     247
#define NVIDIA_MODESET_MINOR 254
#define NVIDIA_CTL_MINOR     255
#define DRM_MAJOR	     226

/* The majors that the kernel handed out to the modules of this boot; 0: not loaded. */
struct majors {
	unsigned int uvm;
	unsigned int kfd;
};

static struct majors read_majors(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/devices", "re");
	struct majors majors = { 0 };
	unsigned int number;
	char line[128], name[64];

	while (f && fgets(line, sizeof(line), f)) {
		/* The block devices follow after the character devices. */
		if (strncmp(line, "Block", 5) == 0)
			break;
		if (sscanf(line, "%u %63s", &number, name) != 2)
			continue;
		if (strcmp(name, "nvidia-uvm") == 0)
			majors.uvm = number;
		else if (strcmp(name, "kfd") == 0)
			majors.kfd = number;
	}
	return majors;
}

static uint32_t role_of(const struct majors *majors, unsigned int number, unsigned int minor)
{
	if (number == NVIDIA_MAJOR) {
		if (minor == NVIDIA_CTL_MINOR)
			return CULPRIT_GPU_ROLE_CONTROL;
		if (minor == NVIDIA_MODESET_MINOR)
			return CULPRIT_GPU_ROLE_MODESET;
		if (minor <= NVIDIA_LAST_GPU)
			return CULPRIT_GPU_ROLE_GPU;
	}
	if (number == DRM_MAJOR)
		return CULPRIT_GPU_ROLE_RENDER;
	if (number && (number == majors->uvm || number == majors->kfd))
		return CULPRIT_GPU_ROLE_MEMORY;
	return CULPRIT_GPU_ROLE_NAMED;
}

enum culprit_gpu_kind gpu_kind(uint32_t roles)
{
	if (roles & (CULPRIT_GPU_ROLE_MEMORY | CULPRIT_GPU_ROLE_NAMED))
		return CULPRIT_GPU_KIND_COMPUTE;
	if (roles & (CULPRIT_GPU_ROLE_MODESET | CULPRIT_GPU_ROLE_RENDER))
		return CULPRIT_GPU_KIND_DISPLAY;
	if (roles & CULPRIT_GPU_ROLE_GPU)
		return CULPRIT_GPU_KIND_MONITOR;
	return CULPRIT_GPU_KIND_CONTROL;
}

static struct gpu_slot *slot_of(struct gpu_sense *gpu, unsigned int number, unsigned int minor)
{
	for (unsigned int i = 0; i < gpu->n_slots; i++) {
		struct gpu_slot *slot = &gpu->slots[i];

		if (slot->used && slot->device.major == number && slot->device.minor == minor)
			return slot;
	}
	return NULL;
}

static struct gpu_slot *free_slot(struct gpu_sense *gpu)
{
	for (unsigned int i = 0; i < gpu->n_slots; i++)
		if (!gpu->slots[i].used)
			return &gpu->slots[i];
	return gpu->n_slots < CULPRIT_GPU_DEVICES ? &gpu->slots[gpu->n_slots++] : NULL;
}

/* Found again, or new. `glob` < 0: a companion. */
static int add_device(struct gpu_sense *gpu, const struct majors *majors, unsigned int number,
		      unsigned int minor, const char *path, int glob)
{
	struct gpu_slot *slot = slot_of(gpu, number, minor);

	if (!slot) {
		slot = free_slot(gpu);
		if (!slot)
			return -E2BIG;
		*slot = (struct gpu_slot){ .used = true };
		slot->device.major = number;
		slot->device.minor = minor;
		gpu->bpf->bss->opens[slot - gpu->slots] = 0;
	}
	if (!slot->found) {
		slot->found = true;
		slot->device.wanted = false;
		slot->device.globs = 0;
		slot->device.role = role_of(majors, number, minor);
		snprintf(slot->device.path, sizeof(slot->device.path), "%s", path);
	}
	if (glob >= 0) {
		slot->device.wanted = true;
		slot->device.globs |= glob < 64 ? 1ULL << glob : 0;
	}
	return 0;
}

static int add_wanted(struct gpu_sense *gpu, const struct majors *majors, const char *pattern,
		      int index)
{
	_cleanup_(globfree)
	glob_t nodes = { 0 };
	struct stat st;
	int r;

	r = glob(pattern, 0, NULL, &nodes);
	if (r == GLOB_NOMATCH)
		return 0;
	if (r != 0)
		return r == GLOB_NOSPACE ? -ENOMEM : -EIO;
	/* Without room for one the others are looked at all the same: they may have theirs. */
	for (size_t i = 0; i < nodes.gl_pathc; i++) {
		int error;

		if (stat(nodes.gl_pathv[i], &st) < 0 || !S_ISCHR(st.st_mode))
			continue;
		error = add_device(gpu, majors, major(st.st_rdev), minor(st.st_rdev),
				   nodes.gl_pathv[i], index);
		if (error < 0)
			r = error;
	}
	return r;
}

/* /sys/class/drm has what the driver registered, also where /dev shows less. */
static int add_drm(struct gpu_sense *gpu, const struct majors *majors)
{
	_cleanup_(globfree)
	glob_t nodes = { 0 };
	char path[CULPRIT_GPU_PATH_LEN], name[32];
	unsigned int number, minor;
	int r = 0;

	if (glob("/sys/class/drm/*/dev", 0, NULL, &nodes) != 0)
		return 0;
	for (size_t i = 0; r == 0 && i < nodes.gl_pathc; i++) {
		_cleanup_fclose_ FILE *f = fopen(nodes.gl_pathv[i], "re");

		if (!f || fscanf(f, "%u:%u", &number, &minor) != 2)
			continue;
		if (sscanf(nodes.gl_pathv[i], "/sys/class/drm/%31[^/]/dev", name) != 1)
			continue;
		snprintf(path, sizeof(path), "/dev/dri/%s", name);
		r = add_device(gpu, majors, number, minor, path, -1);
	}
	return r;
}

/* Companions tell something only where a device of their family is wanted. */
static int add_companions(struct gpu_sense *gpu, const struct majors *majors)
{
	bool nvidia = false, amd = false;
	int r = 0;

	for (unsigned int i = 0; i < gpu->n_slots; i++) {
		const struct gpu_slot *slot = &gpu->slots[i];

		if (!slot->used || !slot->found)
			continue;
		nvidia |= slot->device.major == NVIDIA_MAJOR ||
			  (majors->uvm && slot->device.major == majors->uvm);
		amd |= slot->device.major == DRM_MAJOR ||
		       (majors->kfd && slot->device.major == majors->kfd);
	}
	if (nvidia) {
		r = add_device(gpu, majors, NVIDIA_MAJOR, NVIDIA_CTL_MINOR, "/dev/nvidiactl", -1);
		if (r == 0)
			r = add_device(gpu, majors, NVIDIA_MAJOR, NVIDIA_MODESET_MINOR,
				       "/dev/nvidia-modeset", -1);
		if (r == 0 && majors->uvm)
			r = add_device(gpu, majors, majors->uvm, 0, "/dev/nvidia-uvm", -1);
	}
	if (r == 0 && amd && majors->kfd)
		r = add_device(gpu, majors, majors->kfd, 0, "/dev/kfd", -1);
	if (r == 0 && (nvidia || amd))
		r = add_drm(gpu, majors);
	return r;
}

void gpu_write_device(struct gpu_sense *gpu, uint32_t index)
{
	const struct gpu_device *device = &gpu->slots[index].device;
	struct culprit_gpu_number number = { device->major, device->minor };
	struct culprit_gpu_device value = {
		.opens = gpu_opens(gpu, index),
		.index = index,
		.holders = device->holders,
		.role = (enum culprit_gpu_role)device->role,
		.watch = device->wanted ? CULPRIT_GPU_WANTED : CULPRIT_GPU_COMPANION,
	};
	struct culprit_gpu_device old;
	int map = bpf_map__fd(gpu->bpf->maps.gpu_device);

	memcpy(value.path, device->path, strnlen(device->path, sizeof(value.path) - 1));
	/* An open that the kernel counts meanwhile is in `opens` of the bss and comes with the
	 * next write, so nothing is written that says the same. */
	if (bpf_map_lookup_elem(map, &number, &old) == 0 && memcmp(&old, &value, sizeof(old)) == 0)
		return;
	(void)bpf_map_update_elem(map, &number, &value, BPF_ANY);
}

static void forget_device(struct gpu_sense *gpu, struct gpu_slot *slot)
{
	struct culprit_gpu_number number = { slot->device.major, slot->device.minor };

	gpu_release_device(gpu, (uint32_t)(slot - gpu->slots));
	(void)bpf_map_delete_elem(bpf_map__fd(gpu->bpf->maps.gpu_device), &number);
	slot->used = false;
}

/* Hands the table to the kernel side. The number of wanted devices. */
static int apply(struct gpu_sense *gpu)
{
	uint64_t majors[ARRAY_SIZE(gpu->bpf->bss->majors)] = { 0 };
	int wanted = 0;

	for (unsigned int i = 0; i < gpu->n_slots; i++) {
		struct gpu_slot *slot = &gpu->slots[i];

		if (slot->used && !slot->found)
			forget_device(gpu, slot);
		if (!slot->used)
			continue;
		majors[(slot->device.major & 0xfff) / 64] |= 1ULL << (slot->device.major % 64);
		gpu_write_device(gpu, i);
		wanted += slot->device.wanted;
	}
	memcpy(gpu->bpf->bss->majors, majors, sizeof(majors));
	while (gpu->n_slots && !gpu->slots[gpu->n_slots - 1].used)
		gpu->n_slots--;
	return wanted;
}

static int find_devices(struct gpu_sense *gpu, const struct majors *majors,
			const char *const *globs)
{
	int r = 0;

	for (unsigned int i = 0; i < gpu->n_slots; i++)
		gpu->slots[i].found = false;
	for (int i = 0; globs[i]; i++) {
		int error = add_wanted(gpu, majors, globs[i], i);

		if (error < 0)
			r = error;
	}
	return r < 0 ? r : add_companions(gpu, majors);
}

int gpu_set_devices(struct gpu_sense *gpu, const char *const *globs)
{
	struct majors majors = read_majors();
	int r, wanted;

	if (!gpu->bpf)
		return -ENOTSUP;
	/* Records name devices by their places, which may mean others from now on. */
	r = gpu_dispatch(gpu);
	if (r < 0)
		return r;
	r = find_devices(gpu, &majors, globs);
	/* Whatever was found is watched, also when there is no room for all. */
	wanted = apply(gpu);
	if (r == -E2BIG) {
		/* Some may have left, and made room. */
		r = find_devices(gpu, &majors, globs);
		wanted = apply(gpu);
	}
	return r < 0 ? r : wanted;
}

unsigned int gpu_device_count(const struct gpu_sense *gpu)
{
	return gpu->n_slots;
}

const struct gpu_device *gpu_device(struct gpu_sense *gpu, unsigned int index)
{
	if (index >= gpu->n_slots || !gpu->slots[index].used)
		return NULL;
	gpu->shown = gpu->slots[index].device;
	gpu->shown.opens = gpu_opens(gpu, index);
	return &gpu->shown;
}

uint64_t gpu_opens(const struct gpu_sense *gpu, uint32_t index)
{
	return __atomic_load_n(&gpu->bpf->bss->opens[index], __ATOMIC_RELAXED);
}

/* The kernel adds to the same word. */
void gpu_count_open(struct gpu_sense *gpu, uint32_t index, uint32_t n)
{
	__atomic_fetch_add(&gpu->bpf->bss->opens[index], n, __ATOMIC_RELAXED);
}
