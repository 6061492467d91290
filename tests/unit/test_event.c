// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "tell/event.h"
#include "tell/event_pack.h"
#include "tell/json.h"
#include "tell/log.h"

static struct events *events;

static int setup(void **state)
{
	(void)state;
	log_open(LOG_ERR); /* notices of what is flushed are not the test's output */
	events_new(&events);
	events_set_journal(events, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	events_free(events);
	return 0;
}

static struct event *simple(uint64_t ts_ms)
{
	static struct event event;

	memset(&event, 0, sizeof(event));
	event.kind = EVENT_THAWED;
	event.ts_ms = ts_ms;
	snprintf(event.reason, sizeof(event.reason), "event %llu", (unsigned long long)ts_ms);
	return &event;
}

static void fill_target(struct target *t, unsigned int i, size_t path_length)
{
	t->kind = i % 2 ? TARGET_PROCESS : TARGET_CGROUP;
	t->cgroup = 0x100000000ULL + i;
	t->pid = 4000 + (int)i;
	t->start_time_ns = 123456789012345ULL * (i + 1);
	memcpy(t->comm, "sixteen-bytes-ab", 16);
	memset(t->path, 'a' + (int)i, path_length);
	t->path[0] = '/';
	t->path[path_length] = '\0';
}

/* A thrash decision with all there is. */
static struct event *full(size_t path_length)
{
	static struct event event;
	struct event_evidence *e = &event.evidence;

	memset(&event, 0, sizeof(event));
	event.kind = EVENT_FROZEN;
	event.ts_ms = 1700000000123;
	event.claim_id = 7;
	snprintf(event.policy, sizeof(event.policy), "thrashing");
	snprintf(event.reason, sizeof(event.reason), "swapped in 16384 pages of 16390");
	event.has_target = event.has_offender = event.has_evidence = event.shadow = true;
	fill_target(&event.target, 0, path_length);
	fill_target(&event.offender, 1, path_length);
	e->signal = "thrash";
	e->value = 0.2125;
	e->enter = 0.1;
	e->leave = 1.0 / 30;
	e->unit = "share";
	e->window_ms = 1000;
	e->swapin_pages = 16384;
	e->churn_pages = 16000;
	e->pswpin_pages = UINT64_MAX;
	e->stall = 0.2125;
	e->latency_us = 812;
	e->n_candidates = EVENT_CANDIDATES;
	for (unsigned int i = 0; i < EVENT_CANDIDATES; i++) {
		fill_target(&e->candidates[i].target, i, path_length);
		e->candidates[i].swapin_pages = 1000 - i;
		e->candidates[i].weight = 1.0 / (i + 1);
		e->candidates[i].refusal = i ? "pid 1" : NULL;
	}
	return &event;
}

static const char *text_of(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* --- the queue and what is kept ------------------------------------------------------------ */

static void a_full_queue_is_a_counted_loss(void **state)
{
	(void)state;
	for (int i = 0; i < EVENT_QUEUE; i++)
		assert_true(event_put(events, full(CLAIM_PATH_LEN - 1)));
	assert_false(event_put(events, simple(1)));
	assert_int_equal(events_lost(events), 1);
	assert_true(events_pending(events));
	/* All of them are there, whole, and there is room again. */
	events_flush(events);
	assert_false(events_pending(events));
	assert_true(event_put(events, simple(1)));
}

static void putting_an_event_allocates_nothing(void **state)
{
	struct mallinfo2 before = mallinfo2(), after;

	(void)state;
	for (int i = 0; i < EVENT_QUEUE; i++)
		event_put(events, full(60));
	after = mallinfo2();
	assert_int_equal(after.uordblks, before.uordblks);
	assert_int_equal(after.hblkhd, before.hblkhd);
}

static void the_last_thousand_are_kept_in_order(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 2500; i++) {
		event_put(events, simple(i));
		if (i % 50 == 49)
			events_flush(events);
	}
	assert_int_equal(events_count(events), EVENT_KEEP);
	for (unsigned int i = 0; i < EVENT_KEEP; i += 333) {
		json_t *event = events_get(events, i);

		assert_int_equal(json_integer_value(json_object_get(event, "ts")), 1500 + i);
		json_decref(event);
	}
}

static void a_thousand_decisions_with_candidates_are_kept(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < EVENT_KEEP; i++) {
		assert_true(event_put(events, full(60)));
		events_flush(events);
	}
	assert_int_equal(events_count(events), EVENT_KEEP);
}

static void long_paths_push_out_the_oldest_only(void **state)
{
	struct event out;

	(void)state;
	for (unsigned int i = 0; i < 3000; i++) {
		struct event *event = full(i * 37 % CLAIM_PATH_LEN | 1);

		event->ts_ms = i;
		assert_true(event_put(events, event));
		if (i % 7 == 0)
			events_flush(events);
	}
	events_flush(events);
	assert_true(events_count(events) > 200);
	for (unsigned int i = 0; i < events_count(events); i++) {
		events_read(events, i, &out);
		assert_int_equal(out.ts_ms, 3000 - events_count(events) + i);
		assert_memory_equal(&out.target, &full(out.ts_ms * 37 % CLAIM_PATH_LEN | 1)->target,
				    sizeof(out.target));
	}
}

static void since_finds_the_first_that_is_not_older(void **state)
{
	(void)state;
	assert_int_equal(events_since(events, 0), 0);
	for (uint64_t i = 0; i < 10; i++)
		event_put(events, simple(100 * i));
	assert_int_equal(events_since(events, 0), 0); /* none is told yet */
	events_flush(events);
	assert_int_equal(events_since(events, 0), 0);
	assert_int_equal(events_since(events, 300), 3);
	assert_int_equal(events_since(events, 301), 4);
	assert_int_equal(events_since(events, 10000), 10);
}

static void an_event_survives_packing(void **state)
{
	unsigned char packed[EVENT_PACKED_MAX];
	struct event out;
	const struct event *in = full(CLAIM_PATH_LEN - 1);
	size_t size = event_pack(packed, in);

	(void)state;
	assert_true(size <= sizeof(packed));
	event_unpack(&out, packed);
	assert_memory_equal(&out, in, sizeof(out));
	assert_true(event_pack(packed, full(60)) < 1040);
}

/* Who waited is part of a decision about delays, and of no other. */
static void a_wait_is_kept_and_told(void **state)
{
	unsigned char packed[EVENT_PACKED_MAX];
	struct event out, *in = simple(1);
	struct event_evidence *e = &in->evidence;
	json_t *event, *told;

	(void)state;
	in->has_evidence = true;
	e->signal = "cpu";
	e->unit = "ms";
	e->value = 3.1;
	event = event_to_json(in);
	told = json_object_get(event, "evidence");
	assert_null(json_object_get(told, "waiter"));
	json_decref(event);
	e->has_waiter = true;
	fill_target(&e->waiter, 1, 40);
	e->wait_usec = 5200;
	e->wakeups = 1000;
	e->late_wakeups = 51;
	(void)event_pack(packed, in);
	event_unpack(&out, packed);
	assert_memory_equal(&out, in, sizeof(out));
	event = event_to_json(&out);
	told = json_object_get(event, "evidence");
	assert_string_equal(json_string_value(json_object_get(told, "unit")), "ms");
	assert_int_equal(json_integer_value(json_object_get(told, "wait_usec")), 5200);
	assert_int_equal(json_integer_value(json_object_get(told, "wakeups")), 1000);
	assert_int_equal(json_integer_value(json_object_get(told, "late_wakeups")), 51);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(told, "waiter"), "pid")), 4001);
	json_decref(event);
}

static void hear(void *user, json_t *event)
{
	snprintf(user, 64, "%s", text_of(event, "reason"));
}

static void the_listener_hears_each_flushed_event(void **state)
{
	char heard[64] = "";

	(void)state;
	events_listen(events, hear, heard);
	event_put(events, simple(42));
	assert_string_equal(heard, "");
	events_flush(events);
	assert_string_equal(heard, "event 42");
}

/* --- JSON ---------------------------------------------------------------------------------- */

static void a_decision_has_the_documented_form(void **state)
{
	json_t *event = event_to_json(full(4));
	json_t *evidence = json_object_get(event, "evidence");
	json_t *candidates = json_object_get(evidence, "candidates");
	json_t *second = json_array_get(candidates, 1);

	(void)state;
	assert_string_equal(text_of(event, "schema"), "culprit.v1");
	assert_string_equal(text_of(event, "event"), "frozen");
	assert_string_equal(text_of(event, "policy"), "thrashing");
	assert_int_equal(json_integer_value(json_object_get(event, "ts")), 1700000000123);
	assert_true(json_is_true(json_object_get(event, "shadow")));
	assert_string_equal(text_of(evidence, "unit"), "share");
	assert_int_equal(json_integer_value(json_object_get(evidence, "swapin_pages")), 16384);
	/* Larger than JSON's integers here are: the largest, not a negative one. */
	assert_true(json_integer_value(json_object_get(evidence, "pswpin_pages")) == INT64_MAX);
	assert_int_equal(json_array_size(candidates), EVENT_CANDIDATES);
	assert_string_equal(text_of(second, "refusal"), "pid 1");
	assert_null(json_object_get(json_array_get(candidates, 0), "refusal"));
	json_decref(event);
}

static void what_an_event_does_not_have_is_absent(void **state)
{
	json_t *event = event_to_json(simple(1));

	(void)state;
	assert_int_equal(json_object_size(event), 4); /* schema, ts, event, reason */
	json_decref(event);
}

static void targets_have_a_form_for_each_kind(void **state)
{
	struct target target = { .kind = TARGET_CGROUP, .cgroup = 77, .path = "/a/b" };
	json_t *o = target_to_json(&target);

	(void)state;
	assert_int_equal(json_object_size(o), 3);
	assert_string_equal(text_of(o, "kind"), "cgroup");
	assert_string_equal(text_of(o, "path"), "/a/b");
	assert_int_equal(json_integer_value(json_object_get(o, "id")), 77);
	json_decref(o);
	fill_target(&target, 1, 4);
	o = target_to_json(&target);
	assert_int_equal(json_object_size(o), 5);
	assert_string_equal(text_of(o, "kind"), "process");
	assert_string_equal(text_of(o, "comm"), "sixteen-bytes-ab");
	assert_string_equal(text_of(o, "cgroup"), "/bbb");
	json_decref(o);
}

static void bytes_that_are_not_utf8_become_escapes(void **state)
{
	struct target target = { .kind = TARGET_PROCESS, .pid = 1 };
	json_t *o;
	char *text;

	(void)state;
	memcpy(target.comm, "a\xff\n\x1b\xc3\xa9", 7);
	o = target_to_json(&target);
	assert_string_equal(text_of(o, "comm"), "a\\xff\n\x1b\xc3\xa9");
	text = json_dumps(o, JSON_COMPACT);
	assert_non_null(strstr(text, "a\\\\xff\\n\\u001B\xc3\xa9"));
	free(text);
	json_decref(o);
}

static void every_kind_has_a_name(void **state)
{
	(void)state;
	for (int kind = 0; kind < EVENT_KINDS; kind++)
		assert_non_null(event_kind_name((enum event_kind)kind));
	assert_string_equal(event_kind_name(EVENT_EXTERNAL_THAW), "external-thaw");
}

/* --- the journal --------------------------------------------------------------------------- */

static char journal_dir[64], journal_path[96];

static int open_journal(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(journal_dir, sizeof(journal_dir), "/tmp/culprit-journal-XXXXXX");
	assert_non_null(mkdtemp(journal_dir));
	snprintf(journal_path, sizeof(journal_path), "%s/socket", journal_dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", journal_path);
	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	events_set_journal(events, journal_path);
	return fd;
}

static void close_journal(int fd)
{
	close(fd);
	unlink(journal_path);
	rmdir(journal_dir);
}

/* The value of a field in the native protocol: "NAME\n", its length as 64 bits, the bytes, "\n". */
static const char *field(const char *message, size_t size, const char *name)
{
	static char value[8192];
	size_t name_length = strlen(name);

	for (const char *p = message; p < message + size;) {
		const char *end = memchr(p, '\n', size - (size_t)(p - message));
		uint64_t length;

		assert_non_null(end);
		memcpy(&length, end + 1, sizeof(length));
		assert_true(length < sizeof(value));
		memcpy(value, end + 9, length);
		value[length] = '\0';
		assert_int_equal(end[9 + length], '\n');
		if ((size_t)(end - p) == name_length && memcmp(p, name, name_length) == 0)
			return value;
		p = end + 9 + length + 1;
	}
	return NULL;
}

static void the_journal_gets_structured_fields(void **state)
{
	char message[16384];
	int fd = open_journal();
	struct event *event = full(4);
	ssize_t n;

	(void)state;
	snprintf(event->reason, sizeof(event->reason), "two\nlines");
	event_put(events, event);
	events_flush(events);
	n = recv(fd, message, sizeof(message), MSG_DONTWAIT);
	assert_true(n > 0);
	assert_string_equal(field(message, (size_t)n, "CULPRIT_EVENT"), "frozen");
	assert_string_equal(field(message, (size_t)n, "CULPRIT_POLICY"), "thrashing");
	assert_string_equal(field(message, (size_t)n, "CULPRIT_TARGET"), "/aaa");
	assert_string_equal(field(message, (size_t)n, "CULPRIT_REASON"), "two\nlines");
	assert_string_equal(field(message, (size_t)n, "PRIORITY"), "5");
	assert_string_equal(field(message, (size_t)n, "MESSAGE"),
			    "(shadow) frozen /aaa by thrashing: two\\x0alines");
	assert_non_null(strstr(field(message, (size_t)n, "CULPRIT_JSON"), "\"culprit.v1\""));
	close_journal(fd);
}

static void an_error_is_called_so_once(void **state)
{
	char message[16384];
	int fd = open_journal();
	struct event *event = full(4);
	ssize_t n;

	(void)state;
	event->kind = EVENT_ERROR;
	event->shadow = false;
	event_put(events, event);
	events_flush(events);
	n = recv(fd, message, sizeof(message), MSG_DONTWAIT);
	assert_true(n > 0);
	assert_int_equal(strncmp(field(message, (size_t)n, "MESSAGE"), "/aaa by thrashing: ", 19),
			 0);
	event->has_target = false;
	event->policy[0] = '\0';
	snprintf(event->reason, sizeof(event->reason), "the guardian died");
	event_put(events, event);
	events_flush(events);
	n = recv(fd, message, sizeof(message), MSG_DONTWAIT);
	assert_true(n > 0);
	assert_string_equal(field(message, (size_t)n, "MESSAGE"), "the guardian died");
	close_journal(fd);
}

static void a_journal_that_stands_still_is_not_waited_for(void **state)
{
	uint64_t before = monotonic_ns();
	int fd = open_journal();

	(void)state;
	/* More than any datagram queue holds (net.unix.max_dgram_qlen), and nobody reads. */
	for (int i = 0; i < 2000; i++) {
		event_put(events, full(60));
		events_flush(events);
	}
	assert_true(monotonic_ns() - before < 5 * NSEC_PER_SEC);
	assert_int_equal(events_count(events), EVENT_KEEP);
	close_journal(fd);
}

#define with_events(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_events(a_full_queue_is_a_counted_loss),
		with_events(putting_an_event_allocates_nothing),
		with_events(the_last_thousand_are_kept_in_order),
		with_events(a_thousand_decisions_with_candidates_are_kept),
		with_events(long_paths_push_out_the_oldest_only),
		with_events(since_finds_the_first_that_is_not_older),
		with_events(an_event_survives_packing),
		with_events(a_wait_is_kept_and_told),
		with_events(the_listener_hears_each_flushed_event),
		cmocka_unit_test(a_decision_has_the_documented_form),
		cmocka_unit_test(what_an_event_does_not_have_is_absent),
		cmocka_unit_test(targets_have_a_form_for_each_kind),
		cmocka_unit_test(bytes_that_are_not_utf8_become_escapes),
		cmocka_unit_test(every_kind_has_a_name),
		with_events(the_journal_gets_structured_fields),
		with_events(an_error_is_called_so_once),
		with_events(a_journal_that_stands_still_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
