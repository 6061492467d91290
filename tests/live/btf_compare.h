/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a type as we declare it what the kernel's type of that name is? As CO-RE sees it: members go
 * by name, wherever they are. */
#ifndef CULPRIT_TESTS_BTF_COMPARE_H
#define CULPRIT_TESTS_BTF_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <bpf/btf.h>

/* Says whether a member of ours, when it is missing, is one whose existence the program asks for.
 */
typedef bool (*btf_guarded_fn)(void *user, const struct btf_type *type, unsigned int member);

struct btf_comparison {
	const struct btf *ours;
	const struct btf *kernel;
	btf_guarded_fn guarded; /* NULL: none is */
	void *user;
	char problem[512]; /* the first, "" if none */
};

/* "task_struct" of "task_struct___old": what CO-RE looks for. Length of the name. */
size_t btf_essential_length(const char *name);

/*
 * Compares our struct or union with the types of its name and kind in the kernel (there may be
 * several; one that agrees is enough). True if every member is there, of the same kind, the same
 * size and, for pointers, to the same type.
 */
bool btf_compare(struct btf_comparison *comparison, __u32 our_id);

/*
 * Does an access, as a CO-RE relocation tells it, lead through this member of this type? `path` is
 * "0:1:2": indexes of members and of array elements from the type `root` on, of which the first is
 * that of the root itself.
 */
bool btf_leads_through(const struct btf *btf, __u32 root, const char *path,
		       const struct btf_type *type, unsigned int member);

/* Has the kernel's enum of this name the enumerator? */
bool btf_has_enumerator(const struct btf *kernel, const char *type_name, const char *enumerator);

#endif
