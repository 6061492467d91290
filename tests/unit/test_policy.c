// SPDX-License-Identifier: GPL-2.0-or-later
/* The state machine of a policy: by hand-written sequences, and against a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "decide/policy.h"
#include "lib/cleanup.h"

#define S 1000000000ULL

/* enter 15, leave 5, times in seconds */
struct look {
	uint64_t at;
	double value;
	enum policy_verdict verdict;
	enum policy_phase phase;
};

#define NONE	VERDICT_NONE
#define BEGIN	VERDICT_BEGIN
#define RELEASE VERDICT_RELEASE
#define EXPIRE	VERDICT_EXPIRE
#define QUIET	POLICY_QUIET
#define HOLDING POLICY_HOLDING
#define GRACE	POLICY_GRACE

static const struct policy_rule plain = { .enter = 15, .leave = 5, .grace_ns = 15 * S };

static void walk(const struct policy_rule *rule, const struct look *looks, size_t count)
{
	struct policy_state state = { 0 };

	for (size_t i = 0; i < count; i++) {
		enum policy_verdict verdict =
			policy_step(&state, rule, looks[i].value, looks[i].at * S);

		if (verdict != looks[i].verdict || state.phase != looks[i].phase)
			fail_msg("look %zu at %llu s: verdict %d, phase %d", i,
				 (unsigned long long)looks[i].at, verdict, state.phase);
	}
}
#define WALK(rule, ...)                                        \
	do {                                                   \
		const struct look looks__[] = { __VA_ARGS__ }; \
		walk(rule, looks__, ARRAY_SIZE(looks__));      \
	} while (0)

static void holding_begins_at_enter_and_not_before(void **state)
{
	(void)state;
	WALK(&plain, { 1, 0, NONE, QUIET }, { 2, 14.99, NONE, QUIET }, { 3, 15, BEGIN, HOLDING },
	     { 4, 90, NONE, HOLDING });
}

static void the_first_look_may_begin(void **state)
{
	(void)state;
	WALK(&plain, { 0, 15, BEGIN, HOLDING });
}

static void grace_runs_below_leave_and_then_releases(void **state)
{
	(void)state;
	WALK(&plain, { 1, 20, BEGIN, HOLDING }, { 2, 4.9, NONE, GRACE }, { 16, 0, NONE, GRACE },
	     { 17, 0, RELEASE, QUIET }, { 18, 0, NONE, QUIET });
}

static void a_value_at_leave_is_not_below_it(void **state)
{
	(void)state;
	WALK(&plain, { 1, 20, BEGIN, HOLDING }, { 2, 5, NONE, HOLDING }, { 99, 5, NONE, HOLDING });
}

static void grace_stands_still_between_leave_and_enter(void **state)
{
	(void)state;
	/* 10 s below, 100 s between, 5 s below. */
	WALK(&plain, { 1, 20, BEGIN, HOLDING }, { 2, 0, NONE, GRACE }, { 12, 10, NONE, GRACE },
	     { 112, 0, NONE, GRACE }, { 116, 0, NONE, GRACE }, { 117, 0, RELEASE, QUIET });
}

static void grace_starts_anew_at_enter_without_a_second_begin(void **state)
{
	(void)state;
	WALK(&plain, { 1, 20, BEGIN, HOLDING }, { 2, 0, NONE, GRACE }, { 16, 15, NONE, HOLDING },
	     { 17, 0, NONE, GRACE }, { 31, 0, NONE, GRACE }, { 32, 0, RELEASE, QUIET });
}

static void the_signal_back_at_the_very_end_of_grace_keeps_the_hold(void **state)
{
	(void)state;
	WALK(&plain, { 1, 20, BEGIN, HOLDING }, { 2, 0, NONE, GRACE }, { 17, 15, NONE, HOLDING });
}

static void without_grace_release_is_at_once(void **state)
{
	static const struct policy_rule rule = { .enter = 15, .leave = 5 };

	(void)state;
	WALK(&rule, { 1, 20, BEGIN, HOLDING }, { 2, 5, NONE, HOLDING }, { 3, 4, RELEASE, QUIET },
	     { 3, 20, BEGIN, HOLDING });
}

static void enter_and_leave_may_be_equal(void **state)
{
	static const struct policy_rule rule = { .enter = 5, .leave = 5, .grace_ns = 2 * S };

	(void)state;
	WALK(&rule, { 1, 5, BEGIN, HOLDING }, { 2, 4.9, NONE, GRACE }, { 3, 5, NONE, HOLDING },
	     { 4, 4, NONE, GRACE }, { 6, 4, RELEASE, QUIET });
}

static void time_that_stands_still_or_goes_back_uses_up_no_grace(void **state)
{
	(void)state;
	WALK(&plain, { 9, 20, BEGIN, HOLDING }, { 9, 0, NONE, GRACE }, { 9, 0, NONE, GRACE },
	     { 3, 0, NONE, GRACE }, { 17, 0, NONE, GRACE }, { 18, 0, RELEASE, QUIET });
}

static void after_a_release_min_run_passes_before_the_next_hold(void **state)
{
	static const struct policy_rule rule = {
		.enter = 15, .leave = 5, .grace_ns = 1 * S, .min_run_ns = 10 * S
	};

	(void)state;
	WALK(&rule, { 1, 20, BEGIN, HOLDING }, { 2, 0, NONE, GRACE }, { 3, 0, RELEASE, QUIET },
	     { 4, 20, NONE, QUIET }, { 12, 20, NONE, QUIET }, { 13, 20, BEGIN, HOLDING });
}

static void max_hold_releases_and_waits_for_quiet(void **state)
{
	static const struct policy_rule rule = {
		.enter = 15, .leave = 5, .grace_ns = 5 * S, .max_hold_ns = 10 * S
	};

	(void)state;
	WALK(&rule, { 1, 20, BEGIN, HOLDING }, { 10, 20, NONE, HOLDING }, { 11, 20, EXPIRE, QUIET },
	     { 12, 20, NONE, QUIET }, { 13, 10, NONE, QUIET }, { 14, 20, NONE, QUIET },
	     { 15, 4, NONE, QUIET }, { 16, 20, BEGIN, HOLDING });
	/* It counts from the begin, through every grace. */
	WALK(&rule, { 1, 20, BEGIN, HOLDING }, { 8, 0, NONE, GRACE }, { 10, 20, NONE, HOLDING },
	     { 11, 20, EXPIRE, QUIET });
	/* Quiet at the end already: nothing to wait for; but it was not the grace time that
	 * ended it. */
	WALK(&rule, { 1, 20, BEGIN, HOLDING }, { 8, 0, NONE, GRACE }, { 11, 0, EXPIRE, QUIET },
	     { 12, 20, BEGIN, HOLDING });
}

static void ending_by_hand_waits_for_quiet_once(void **state)
{
	struct policy_state s = { 0 };

	(void)state;
	assert_int_equal(policy_step(&s, &plain, 20, 1 * S), BEGIN);
	policy_end(&s, 2 * S);
	assert_int_equal(s.phase, QUIET);
	assert_int_equal(policy_step(&s, &plain, 20, 3 * S), NONE);
	assert_int_equal(policy_step(&s, &plain, 10, 4 * S), NONE);
	assert_int_equal(policy_step(&s, &plain, 20, 5 * S), NONE);
	assert_int_equal(policy_step(&s, &plain, 4, 6 * S), NONE);
	assert_int_equal(policy_step(&s, &plain, 20, 7 * S), BEGIN);
}

static void ending_what_is_not_held_changes_nothing(void **state)
{
	struct policy_state s = { 0 };

	(void)state;
	policy_end(&s, 2 * S);
	assert_int_equal(policy_step(&s, &plain, 20, 3 * S), BEGIN);
}

static void the_next_look_is_due_when_time_alone_changes_something(void **state)
{
	static const struct policy_rule rule = { .enter = 15,
						 .leave = 5,
						 .grace_ns = 15 * S,
						 .min_run_ns = 10 * S,
						 .max_hold_ns = 100 * S };
	struct policy_state s = { 0 };

	(void)state;
	assert_true(policy_next_ns(&s, &rule) == UINT64_MAX);
	(void)policy_step(&s, &rule, 20, 1 * S);
	assert_true(policy_next_ns(&s, &rule) == 101 * S);
	(void)policy_step(&s, &rule, 0, 2 * S);
	assert_true(policy_next_ns(&s, &rule) == 17 * S);
	(void)policy_step(&s, &rule, 10, 12 * S);
	assert_true(policy_next_ns(&s, &rule) == 101 * S);
	(void)policy_step(&s, &rule, 0, 90 * S);
	assert_true(policy_next_ns(&s, &rule) == 95 * S);
	assert_int_equal(policy_step(&s, &rule, 0, 95 * S), RELEASE);
	assert_true(policy_next_ns(&s, &rule) == UINT64_MAX);
	(void)policy_step(&s, &rule, 20, 96 * S);
	assert_true(policy_next_ns(&s, &rule) == 105 * S);
	assert_int_equal(policy_step(&s, &rule, 20, 105 * S), BEGIN);
	assert_true(policy_next_ns(&s, &plain) == UINT64_MAX);
}

static void times_near_the_end_of_the_clock_do_not_wrap(void **state)
{
	static const struct policy_rule rule = {
		.enter = 15, .leave = 5, .grace_ns = UINT64_MAX, .max_hold_ns = UINT64_MAX - 1
	};
	struct policy_state s = { 0 };

	(void)state;
	(void)policy_step(&s, &rule, 20, 50 * S);
	(void)policy_step(&s, &rule, 0, 60 * S);
	assert_int_equal(policy_step(&s, &rule, 0, 70 * S), NONE);
	assert_true(policy_next_ns(&s, &rule) == UINT64_MAX);
}

/*
 * The naive model keeps the whole history of looks and says from it alone whether there is a hold:
 * no clock that runs or stands, only sums over the past.
 */
#define LOOKS 400
struct history {
	uint64_t at[LOOKS];
	double value[LOOKS];
	unsigned int count;
	bool held, must_be_quiet, released_before;
	unsigned int begun;
	uint64_t released;
};

static uint64_t below_since_last_enter(const struct history *h, const struct policy_rule *rule)
{
	unsigned int from = h->begun;
	uint64_t sum = 0;

	for (unsigned int i = h->begun; i < h->count; i++)
		from = h->value[i] >= rule->enter ? i : from;
	for (unsigned int i = from; i + 1 < h->count; i++)
		sum += h->value[i] < rule->leave ? h->at[i + 1] - h->at[i] : 0;
	return sum;
}

static bool was_below_since_last_enter(const struct history *h, const struct policy_rule *rule)
{
	for (unsigned int i = h->count; i-- > h->begun && h->value[i] < rule->enter;) {
		if (h->value[i] < rule->leave)
			return true;
	}
	return false;
}

static enum policy_verdict model(struct history *h, const struct policy_rule *rule, double value,
				 uint64_t now)
{
	bool over;

	h->at[h->count] = now;
	h->value[h->count++] = value;
	if (!h->held) {
		if (value < rule->leave)
			h->must_be_quiet = false;
		if (value < rule->enter || h->must_be_quiet ||
		    (h->released_before && now - h->released < rule->min_run_ns))
			return NONE;
		h->held = true;
		h->begun = h->count - 1;
		return BEGIN;
	}
	over = rule->max_hold_ns && now - h->at[h->begun] >= rule->max_hold_ns;
	if (!over && (!was_below_since_last_enter(h, rule) ||
		      below_since_last_enter(h, rule) < rule->grace_ns))
		return NONE;
	h->must_be_quiet = over && value >= rule->leave;
	h->held = false;
	h->released_before = true;
	h->released = now;
	return over ? EXPIRE : RELEASE;
}

/* xorshift64: the same numbers in every run, so that a failure can be had again. */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void it_agrees_with_the_naive_model(void **state)
{
	uint64_t seed = 88172645463325252ULL;
	unsigned int begins = 0, releases = 0, expiries = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct policy_rule rule = {
			.leave = (double)(1 + next_random(&seed) % 10),
			.grace_ns = next_random(&seed) % 20,
			.min_run_ns = next_random(&seed) % 3 * (next_random(&seed) % 30),
			.max_hold_ns = next_random(&seed) % 2 * (1 + next_random(&seed) % 60)
		};
		struct policy_state s = { 0 };
		struct history h = { 0 };
		uint64_t now = 1;

		rule.enter = rule.leave + (double)(next_random(&seed) % 8);
		for (int i = 0; i < LOOKS; i++) {
			double value = (double)(next_random(&seed) % 22);
			enum policy_verdict is, should;

			now += next_random(&seed) % 6;
			is = policy_step(&s, &rule, value, now);
			should = model(&h, &rule, value, now);
			if (is != should || (s.phase != QUIET) != h.held)
				fail_msg("round %d, look %d: %d instead of %d", round, i, is,
					 should);
			begins += is == BEGIN;
			releases += is == RELEASE;
			expiries += is == EXPIRE;
		}
	}
	assert_true(begins > 1000 && releases > 1000 && expiries > 1000);
}

static void nothing_happens_before_the_next_look_is_due(void **state)
{
	uint64_t seed = 362436069ULL;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct policy_rule rule = { .enter = 15,
					    .leave = 5,
					    .grace_ns = next_random(&seed) % 20,
					    .min_run_ns = next_random(&seed) % 20,
					    .max_hold_ns = next_random(&seed) % 40 };
		struct policy_state s = { 0 };
		uint64_t now = 1;

		for (int i = 0; i < 50; i++) {
			double value = (double)(next_random(&seed) % 22);
			struct policy_state early;
			uint64_t due;

			(void)policy_step(&s, &rule, value, now);
			due = policy_next_ns(&s, &rule);
			if (due == UINT64_MAX)
				due = now + 1000;
			else
				assert_true(due > now);
			early = s;
			assert_int_equal(policy_step(&early, &rule, value, due - 1), NONE);
			now += next_random(&seed) % (due - now + 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holding_begins_at_enter_and_not_before),
		cmocka_unit_test(the_first_look_may_begin),
		cmocka_unit_test(grace_runs_below_leave_and_then_releases),
		cmocka_unit_test(a_value_at_leave_is_not_below_it),
		cmocka_unit_test(grace_stands_still_between_leave_and_enter),
		cmocka_unit_test(grace_starts_anew_at_enter_without_a_second_begin),
		cmocka_unit_test(the_signal_back_at_the_very_end_of_grace_keeps_the_hold),
		cmocka_unit_test(without_grace_release_is_at_once),
		cmocka_unit_test(enter_and_leave_may_be_equal),
		cmocka_unit_test(time_that_stands_still_or_goes_back_uses_up_no_grace),
		cmocka_unit_test(after_a_release_min_run_passes_before_the_next_hold),
		cmocka_unit_test(max_hold_releases_and_waits_for_quiet),
		cmocka_unit_test(ending_by_hand_waits_for_quiet_once),
		cmocka_unit_test(ending_what_is_not_held_changes_nothing),
		cmocka_unit_test(the_next_look_is_due_when_time_alone_changes_something),
		cmocka_unit_test(times_near_the_end_of_the_clock_do_not_wrap),
		cmocka_unit_test(it_agrees_with_the_naive_model),
		cmocka_unit_test(nothing_happens_before_the_next_look_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
