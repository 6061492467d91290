// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every kernel type that our programs declare, compared with the running kernel's BTF. Which those
 * are is read from the CO-RE relocations of all objects, so that none can be forgotten here.
 *
 * What only some kernels have is declared in a type with a ___suffix, or its existence is asked for
 * by the program: that is reported when it is missing, all else fails.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>

#include "btf_compare.h"
#include "lib/cleanup.h"
#include "live.h"

/* Documentation/bpf/btf.rst: the .BTF.ext section */
struct ext_header {
	__u16 magic;
	__u8 version;
	__u8 flags;
	__u32 header_length;
	__u32 func_info_offset, func_info_length;
	__u32 line_info_offset, line_info_length;
	__u32 core_relo_offset, core_relo_length;
};

struct ext_section {
	__u32 name_offset;
	__u32 count;
	struct bpf_core_relo relocations[];
};

/* One of our objects, with the relocations of all its programs. */
struct object {
	const char *path;
	struct btf *btf;
	struct btf_ext *ext;
	struct bpf_core_relo *relocations;
	size_t count;
};

/* libbpf 1.1 exports this under the name that its own header has given up; later ones have both. */
const void *btf_ext__get_raw_data(const struct btf_ext *ext, __u32 *size);

static void btf_freep(struct btf **btf)
{
	btf__free(*btf);
}

static void add_relocations(struct object *object, const struct ext_section *section)
{
	object->relocations = reallocarray(object->relocations, object->count + section->count,
					   sizeof(*object->relocations));
	assert_non_null(object->relocations);
	memcpy(object->relocations + object->count, section->relocations,
	       section->count * sizeof(*object->relocations));
	object->count += section->count;
}

static void open_object(struct object *object, const char *path)
{
	const struct ext_header *header;
	const char *at, *end;
	__u32 size;

	*object = (struct object){ .path = path };
	object->btf = btf__parse(path, &object->ext);
	if (!object->btf)
		fail_msg("%s has no BTF", path);
	/* Maps alone: nothing to relocate. */
	if (!object->ext)
		return;
	header = btf_ext__get_raw_data(object->ext, &size);
	at = (const char *)header + header->header_length + header->core_relo_offset;
	end = at + header->core_relo_length;
	assert_true(end <= (const char *)header + size);
	if (at == end)
		return;
	assert_int_equal(*(const __u32 *)at, sizeof(struct bpf_core_relo));
	at += sizeof(__u32);
	while (at < end) {
		const struct ext_section *section = (const void *)at;

		add_relocations(object, section);
		at = (const char *)&section->relocations[section->count];
	}
	assert_ptr_equal(at, end);
}

static void close_object(struct object *object)
{
	btf_ext__free(object->ext);
	btf__free(object->btf);
	free(object->relocations);
}

static bool is_about_a_field(const struct bpf_core_relo *relocation)
{
	return relocation->kind <= BPF_CORE_FIELD_RSHIFT_U64;
}

/* Does some program of the object ask whether this member, or one inside of it, exists? */
static bool is_asked_for(void *user, const struct btf_type *type, unsigned int member)
{
	const struct object *object = user;

	for (size_t i = 0; i < object->count; i++) {
		const struct bpf_core_relo *r = &object->relocations[i];

		if (r->kind == BPF_CORE_FIELD_EXISTS &&
		    btf_leads_through(object->btf, r->type_id,
				      btf__name_by_offset(object->btf, r->access_str_off), type,
				      member))
			return true;
	}
	return false;
}

static bool has_suffix(const char *name)
{
	return name[btf_essential_length(name)] != '\0';
}

/* The struct that a relocation starts from; 0 if it starts from something else. */
static __u32 struct_of(const struct object *object, const struct bpf_core_relo *relocation)
{
	const struct btf_type *type = btf__type_by_id(object->btf, relocation->type_id);
	__u32 id = relocation->type_id;

	while (btf_is_mod(type) || btf_is_typedef(type)) {
		id = type->type;
		type = btf__type_by_id(object->btf, id);
	}
	return btf_is_composite(type) && type->name_off ? id : 0;
}

static bool seen_before(const struct object *object, size_t index, __u32 id)
{
	for (size_t i = 0; i < index; i++)
		if (is_about_a_field(&object->relocations[i]) &&
		    struct_of(object, &object->relocations[i]) == id)
			return true;
	return false;
}

struct tally {
	const struct btf *kernel;
	unsigned int objects, types, enumerators, failed;
};

static void report(struct tally *tally, const struct object *object, bool optional,
		   const char *problem)
{
	print_message("  %s: %s%s\n", object->path, problem, optional ? " (asked for)" : "");
	if (!optional)
		tally->failed++;
}

static void check_types(struct tally *tally, struct object *object)
{
	struct btf_comparison comparison = {
		.ours = object->btf,
		.kernel = tally->kernel,
		.guarded = is_asked_for,
		.user = object,
	};

	for (size_t i = 0; i < object->count; i++) {
		__u32 id = struct_of(object, &object->relocations[i]);
		const char *name;

		if (!is_about_a_field(&object->relocations[i]) || !id || seen_before(object, i, id))
			continue;
		tally->types++;
		name = btf__name_by_offset(object->btf, btf__type_by_id(object->btf, id)->name_off);
		if (!btf_compare(&comparison, id))
			report(tally, object, has_suffix(name), comparison.problem);
	}
}

static bool enumerator_is_asked_for(const struct object *object, const struct bpf_core_relo *r)
{
	for (size_t i = 0; i < object->count; i++) {
		const struct bpf_core_relo *other = &object->relocations[i];

		if (other->kind == BPF_CORE_ENUMVAL_EXISTS && other->type_id == r->type_id &&
		    strcmp(btf__name_by_offset(object->btf, other->access_str_off),
			   btf__name_by_offset(object->btf, r->access_str_off)) == 0)
			return true;
	}
	return false;
}

static void check_enumerators(struct tally *tally, struct object *object)
{
	for (size_t i = 0; i < object->count; i++) {
		const struct bpf_core_relo *r = &object->relocations[i];
		const struct btf_type *type = btf__type_by_id(object->btf, r->type_id);
		const char *type_name = btf__name_by_offset(object->btf, type->name_off);
		const char *name;
		char problem[160];

		if (r->kind != BPF_CORE_ENUMVAL_VALUE)
			continue;
		tally->enumerators++;
		/* The access string of an enumerator is its index. */
		name = btf__name_by_offset(
			object->btf,
			btf_enum(type)[atoi(btf__name_by_offset(object->btf, r->access_str_off))]
				.name_off);
		if (btf_has_enumerator(tally->kernel, type_name, name))
			continue;
		snprintf(problem, sizeof(problem), "enumerator %s of %s is not in the kernel", name,
			 type_name);
		report(tally, object, enumerator_is_asked_for(object, r), problem);
	}
}

static void test_every_type_of_ours_is_the_kernels(void **state)
{
	_cleanup_(btf_freep)
	struct btf *kernel = btf__load_vmlinux_btf();
	struct tally tally = { .kernel = kernel };
	glob_t files = { 0 };

	(void)state;
	assert_non_null(kernel);
	assert_int_equal(glob(live_program("bpf/*.bpf.o"), 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct object object;

		open_object(&object, files.gl_pathv[i]);
		check_types(&tally, &object);
		check_enumerators(&tally, &object);
		close_object(&object);
		tally.objects++;
	}
	globfree(&files);
	print_message("  %u objects, %u types, %u enumerators compared\n", tally.objects,
		      tally.types, tally.enumerators);
	assert_true(tally.types > 0);
	assert_int_equal(tally.failed, 0);
}

/* --- the comparison itself ------------------------------------------------------------------ */

/* Our BTF and the kernel's, each with one struct "thing" of one member. */
struct pair {
	struct btf *ours, *kernel;
};

static int setup_pair(void **state)
{
	static struct pair pair;

	pair.ours = btf__new_empty();
	pair.kernel = btf__new_empty();
	*state = &pair;
	return pair.ours && pair.kernel ? 0 : -1;
}

static int teardown_pair(void **state)
{
	struct pair *pair = *state;

	btf__free(pair->ours);
	btf__free(pair->kernel);
	return 0;
}

static int add_int(struct btf *btf, size_t size)
{
	return btf__add_int(btf, "number", size, 0);
}

static int add_pointer(struct btf *btf, const char *to)
{
	return btf__add_ptr(btf, btf__add_fwd(btf, to, BTF_FWD_STRUCT));
}

static int add_thing(struct btf *btf, const char *name, const char *member, int type,
		     unsigned int bits)
{
	int id = btf__add_struct(btf, name, 8);

	assert_true(id > 0);
	assert_int_equal(btf__add_field(btf, member, type, 0, bits), 0);
	return id;
}

static void assert_verdict(const struct pair *pair, int id, const char *problem)
{
	struct btf_comparison comparison = { .ours = pair->ours, .kernel = pair->kernel };

	assert_int_equal(btf_compare(&comparison, (__u32)id), problem[0] == '\0');
	assert_string_equal(comparison.problem, problem);
}

static void test_equal_members_agree_also_from_a_flavour(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "a", add_int(pair->kernel, 4), 0);
	assert_verdict(pair, add_thing(pair->ours, "thing___old", "a", add_int(pair->ours, 4), 0),
		       "");
}

static void test_a_member_inside_of_an_anonymous_struct_is_found(void **state)
{
	struct pair *pair = *state;
	int inner = add_thing(pair->kernel, NULL, "a", add_int(pair->kernel, 4), 0);

	add_thing(pair->kernel, "thing", NULL, inner, 0);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 4), 0), "");
}

static void test_a_missing_type_is_noticed(void **state)
{
	struct pair *pair = *state;

	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 4), 0),
		       "thing is not in the kernel");
}

static void test_a_missing_member_is_noticed(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "b", add_int(pair->kernel, 4), 0);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 4), 0),
		       "thing.a is not in the kernel");
}

static void test_another_size_is_noticed(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "a", add_int(pair->kernel, 8), 0);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 4), 0),
		       "thing.a has 4 bytes, in the kernel 8");
}

static void test_another_kind_is_noticed(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "a", add_pointer(pair->kernel, "other"), 0);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 8), 0),
		       "thing.a is of BTF kind 1, in the kernel 2");
}

static void test_a_pointer_to_something_else_is_noticed(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "a", add_pointer(pair->kernel, "other"), 0);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_pointer(pair->ours, "one"), 0),
		       "thing.a points to one, in the kernel to other");
}

static void test_a_bit_field_is_noticed(void **state)
{
	struct pair *pair = *state;

	add_thing(pair->kernel, "thing", "a", add_int(pair->kernel, 4), 3);
	assert_verdict(pair, add_thing(pair->ours, "thing", "a", add_int(pair->ours, 4), 0),
		       "thing.a is a bit-field in the kernel");
}

static void test_a_path_leads_through_its_own_members_alone(void **state)
{
	struct btf *btf = ((struct pair *)*state)->ours;
	int number = add_int(btf, 4);
	int inner = btf__add_struct(btf, "inner", 8), array, outer;
	const struct btf_type *inner_type, *outer_type;

	assert_int_equal(btf__add_field(btf, "a", number, 0, 0), 0);
	assert_int_equal(btf__add_field(btf, "b", number, 32, 0), 0);
	array = btf__add_array(btf, number, inner, 2);
	outer = btf__add_struct(btf, "outer", 16);
	assert_int_equal(btf__add_field(btf, "inners", array, 0, 0), 0);
	inner_type = btf__type_by_id(btf, (__u32)inner);
	outer_type = btf__type_by_id(btf, (__u32)outer);
	/* outer.inners[0].b */
	assert_true(btf_leads_through(btf, (__u32)outer, "0:0:0:1", outer_type, 0));
	assert_true(btf_leads_through(btf, (__u32)outer, "0:0:0:1", inner_type, 1));
	assert_false(btf_leads_through(btf, (__u32)outer, "0:0:0:1", inner_type, 0));
	assert_false(btf_leads_through(btf, (__u32)outer, "0", outer_type, 0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup_pair, teardown_pair)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_of_ours_is_the_kernels),
		TEST(equal_members_agree_also_from_a_flavour),
		TEST(a_member_inside_of_an_anonymous_struct_is_found),
		TEST(a_missing_type_is_noticed),
		TEST(a_missing_member_is_noticed),
		TEST(another_size_is_noticed),
		TEST(another_kind_is_noticed),
		TEST(a_pointer_to_something_else_is_noticed),
		TEST(a_bit_field_is_noticed),
		TEST(a_path_leads_through_its_own_members_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
