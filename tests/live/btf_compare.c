// SPDX-License-Identifier: GPL-2.0-or-later
#include "btf_compare.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t btf_essential_length(const char *name)
{
	const char *suffix = strstr(name, "___");

	return suffix ? (size_t)(suffix - name) : strlen(name);
}

static const char *name_of(const struct btf *btf, const struct btf_type *type)
{
	return btf__name_by_offset(btf, type->name_off);
}

static bool same_name(const char *ours, const char *kernels)
{
	return btf_essential_length(ours) == strlen(kernels) &&
	       strncmp(ours, kernels, strlen(kernels)) == 0;
}

/* The type behind typedefs and qualifiers. */
static const struct btf_type *bare(const struct btf *btf, __u32 id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);

	while (btf_is_mod(type) || btf_is_typedef(type))
		type = btf__type_by_id(btf, type->type);
	return type;
}

static bool is_number(const struct btf_type *type)
{
	return btf_is_int(type) || btf_is_any_enum(type);
}

__attribute__((format(printf, 2, 3))) static bool differ(struct btf_comparison *c,
							 const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!c->problem[0])
		vsnprintf(c->problem, sizeof(c->problem), format, args);
	va_end(args);
	return false;
}

static bool same_type(struct btf_comparison *c, __u32 ours, __u32 kernels, const char *what);

static bool same_pointer(struct btf_comparison *c, const struct btf_type *ours,
			 const struct btf_type *kernels, const char *what)
{
	const struct btf_type *to = bare(c->ours, ours->type);
	const struct btf_type *kernel_to = bare(c->kernel, kernels->type);
	bool composite = btf_is_composite(to) || btf_is_fwd(to);

	if (!composite || !(btf_is_composite(kernel_to) || btf_is_fwd(kernel_to)))
		return true;
	if (same_name(name_of(c->ours, to), name_of(c->kernel, kernel_to)))
		return true;
	return differ(c, "%s points to %s, in the kernel to %s", what, name_of(c->ours, to),
		      name_of(c->kernel, kernel_to));
}

static bool same_array(struct btf_comparison *c, const struct btf_type *ours,
		       const struct btf_type *kernels, const char *what)
{
	const struct btf_array *array = btf_array(ours), *kernel_array = btf_array(kernels);

	/* The kernel's may be flexible, and longer than what we look at. */
	if (kernel_array->nelems && array->nelems > kernel_array->nelems)
		return differ(c, "%s has %u elements, in the kernel %u", what, array->nelems,
			      kernel_array->nelems);
	return same_type(c, array->type, kernel_array->type, what);
}

/* The kernel's member of that name, also inside of anonymous structs and unions. */
static const struct btf_member *find_member(const struct btf *btf, const struct btf_type *type,
					    const char *name, bool *bitfield)
{
	const struct btf_member *member = btf_members(type);

	for (unsigned int i = 0; i < btf_vlen(type); i++, member++) {
		const char *own_name = btf__name_by_offset(btf, member->name_off);
		const struct btf_type *inner = bare(btf, member->type);

		if (strcmp(own_name, name) == 0) {
			*bitfield = btf_member_bitfield_size(type, i) != 0;
			return member;
		}
		if (!own_name[0] && btf_is_composite(inner)) {
			const struct btf_member *found = find_member(btf, inner, name, bitfield);

			if (found)
				return found;
		}
	}
	return NULL;
}

static bool same_members(struct btf_comparison *c, const struct btf_type *ours,
			 const struct btf_type *kernels, const char *what)
{
	const struct btf_member *member = btf_members(ours);

	for (unsigned int i = 0; i < btf_vlen(ours); i++, member++) {
		const char *name = btf__name_by_offset(c->ours, member->name_off);
		const struct btf_member *theirs;
		bool bitfield = false;
		char path[256];

		snprintf(path, sizeof(path), "%s.%s", what, name);
		theirs = find_member(c->kernel, kernels, name, &bitfield);
		if (!theirs && c->guarded && c->guarded(c->user, ours, i))
			continue;
		if (!theirs)
			return differ(c, "%s is not in the kernel", path);
		if (bitfield != (btf_member_bitfield_size(ours, i) != 0))
			return differ(c, "%s is %sa bit-field in the kernel", path,
				      bitfield ? "" : "not ");
		if (!same_type(c, member->type, theirs->type, path))
			return false;
	}
	return true;
}

static bool same_type(struct btf_comparison *c, __u32 our_id, __u32 kernel_id, const char *what)
{
	const struct btf_type *ours = bare(c->ours, our_id);
	const struct btf_type *kernels = bare(c->kernel, kernel_id);

	if (is_number(ours) && is_number(kernels))
		return ours->size == kernels->size || differ(c, "%s has %u bytes, in the kernel %u",
							     what, ours->size, kernels->size);
	if (btf_kind(ours) != btf_kind(kernels))
		return differ(c, "%s is of BTF kind %u, in the kernel %u", what, btf_kind(ours),
			      btf_kind(kernels));
	if (btf_is_ptr(ours))
		return same_pointer(c, ours, kernels, what);
	if (btf_is_array(ours))
		return same_array(c, ours, kernels, what);
	if (btf_is_composite(ours))
		return same_members(c, ours, kernels, what);
	return true;
}

bool btf_compare(struct btf_comparison *c, __u32 our_id)
{
	const struct btf_type *ours = btf__type_by_id(c->ours, our_id);
	const char *name = name_of(c->ours, ours);
	bool found = false;

	c->problem[0] = '\0';
	for (__u32 id = 1; id < btf__type_cnt(c->kernel); id++) {
		const struct btf_type *kernels = btf__type_by_id(c->kernel, id);

		if (btf_kind(kernels) != btf_kind(ours) ||
		    !same_name(name, name_of(c->kernel, kernels)))
			continue;
		found = true;
		if (same_members(c, ours, kernels, name)) {
			c->problem[0] = '\0';
			return true;
		}
	}
	return found ? false : differ(c, "%s is not in the kernel", name);
}

bool btf_leads_through(const struct btf *btf, __u32 root, const char *path,
		       const struct btf_type *type, unsigned int member)
{
	const struct btf_type *at = bare(btf, root);

	while ((path = strchr(path, ':'))) {
		unsigned long index = strtoul(++path, NULL, 10);

		if (at == type && index == member)
			return true;
		if (btf_is_array(at))
			at = bare(btf, btf_array(at)->type);
		else if (btf_is_composite(at) && index < btf_vlen(at))
			at = bare(btf, btf_members(at)[index].type);
		else
			return false;
	}
	return false;
}

bool btf_has_enumerator(const struct btf *kernel, const char *type_name, const char *enumerator)
{
	for (__u32 id = 1; id < btf__type_cnt(kernel); id++) {
		const struct btf_type *type = btf__type_by_id(kernel, id);

		/* An enum of 64 bits has longer elements; none that we read is one. */
		if (!btf_is_enum(type) || !same_name(type_name, name_of(kernel, type)))
			continue;
		for (unsigned int i = 0; i < btf_vlen(type); i++)
			if (same_name(enumerator,
				      btf__name_by_offset(kernel, btf_enum(type)[i].name_off)))
				return true;
	}
	return false;
}
