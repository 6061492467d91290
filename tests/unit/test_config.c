// SPDX-License-Identifier: GPL-2.0-or-later
/* What a right configuration means. */
#include <syslog.h>

#include "config_fixture.h"
#include "lib/clock.h"

#define S 1000000000ULL

#define MINER "[workload miner]\nunit = xmrig.service\n"

static bool near(double a, double b)
{
	return a - b < 1e-9 && b - a < 1e-9;
}

static void an_empty_file_gives_the_defaults(void **state)
{
	const struct config *c = fixture_config(*state, "");

	assert_false(c->shadow);
	assert_string_equal(c->only, "/");
	assert_string_equal(c->state_dir, "/run/culprit");
	assert_string_equal(c->socket, "/run/culprit/control");
	assert_string_equal(c->pin_dir, "/sys/fs/bpf/culprit");
	assert_int_equal(c->log_level, LOG_INFO);
	assert_true(c->pulse_ns == S);
	assert_int_equal(c->n_workloads + c->n_policies, 0);
	assert_int_equal(c->protect.count + c->prefer.count + c->avoid.count, 0);
}

static void the_agent_section_is_read(void **state)
{
	const struct config *c =
		fixture_config(*state, "[agent]\n"
				       "mode = shadow\n"
				       "only = /test/\n"
				       "protect = exe:/usr/sbin/sshd, unit:db.service\n"
				       "prefer = comm:cc1plus\n"
				       "avoid = uid:0,gid:0 , /a/*\n"
				       "state_dir = /var/x\n"
				       "socket=/var/s\n"
				       "pin_dir =/var/p\n"
				       "log_level= debug\n"
				       "pulse = 500ms\n");

	assert_true(c->shadow);
	assert_string_equal(c->only, "/test");
	assert_int_equal(c->protect.count, 2);
	assert_int_equal(c->protect.patterns[1].kind, PATTERN_UNIT);
	assert_string_equal(c->protect.patterns[1].text, "db.service");
	assert_int_equal(c->prefer.count, 1);
	assert_int_equal(c->avoid.count, 3);
	assert_string_equal(c->state_dir, "/var/x");
	assert_string_equal(c->socket, "/var/s");
	assert_string_equal(c->pin_dir, "/var/p");
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_true(c->pulse_ns == S / 2);
}

static void a_cpu_policy_has_its_defaults(void **state)
{
	const struct config *c = fixture_config(*state, MINER "[policy p]\nsignal = cpu\n"
							      "action = freeze\ntarget = miner\n");
	const struct policy_config *p = &c->policies[0];

	assert_int_equal(c->n_policies, 1);
	assert_string_equal(p->name, "p");
	assert_int_equal(p->signal, SIGNAL_CPU);
	assert_int_equal(p->action, ACTION_FREEZE);
	assert_int_equal(p->n_targets, 1);
	assert_string_equal(c->workloads[p->targets[0]].name, "miner");
	assert_true(p->of_others);
	assert_int_equal(p->unit, UNIT_CPUS);
	assert_true(near(p->enter, 0.15 * FIXTURE_CPUS));
	assert_true(near(p->leave, 0.05 * FIXTURE_CPUS));
	assert_true(p->window_ns == S && p->grace_ns == 15 * S);
	assert_true(p->min_run_ns == 0 && p->max_hold_ns == 0);
	assert_false(p->target_offender);
}

static void shares_become_cpus(void **state)
{
	const struct config *c =
		fixture_config(*state, MINER "[policy p]\nsignal = cpu\naction = freeze\n"
					     "target = miner\nof = unit:minecraft.service\n"
					     "enter = 0.3cpu\nleave = 5%\n");
	const struct policy_config *p = &c->policies[0];

	assert_true(near(p->enter, 0.3));
	assert_true(near(p->leave, 0.05 * FIXTURE_CPUS));
	assert_false(p->of_others);
	assert_int_equal(p->of.kind, PATTERN_UNIT);
	assert_string_equal(p->of.text, "minecraft.service");
}

static void others_that_are_not_niced_are_a_budget_of_their_own(void **state)
{
	static char text[131072];
	size_t used = (size_t)snprintf(text, sizeof(text), MINER);
	const struct config *c =
		fixture_config(*state, MINER "[policy a]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "of = non-nice\n"
					     "[policy b]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "of = others\n");

	assert_true(c->policies[0].non_nice && c->policies[0].of_others);
	assert_false(c->policies[1].non_nice);
	assert_true(c->policies[1].of_others);
	/* There is room for 1,024. Half as many windows take all of it with both. */
	for (unsigned int i = 0; i < 1025; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "[policy %u]\nsignal=cpu\naction=freeze\n"
					 "target=miner\n%swindow=%ums\n",
					 i, i % 2 ? "of=non-nice\n" : "", 200 + i / 2);
	assert_true(used < sizeof(text));
	assert_int_equal(fixture_load_text(*state, text), -EINVAL);
	assert_true(fixture_said(*state, "policy 1024 is one too many"));
}

static void leave_may_be_enter_but_is_a_third_without(void **state)
{
	const struct config *c =
		fixture_config(*state, MINER "[policy a]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "enter = 30%\n"
					     "[policy b]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "enter = 30%\nleave = 30%\n");

	assert_true(near(c->policies[0].leave, 0.1 * FIXTURE_CPUS));
	assert_true(near(c->policies[1].leave, 0.3 * FIXTURE_CPUS));
}

static void a_gpu_policy_has_its_defaults(void **state)
{
	const struct policy_config *p =
		&fixture_config(*state, MINER "[policy p]\nsignal = gpu\naction = terminate\n"
					      "target = miner\n")
			 ->policies[0];

	assert_int_equal(p->action, ACTION_TERMINATE);
	assert_string_equal(p->devices[0], "/dev/nvidia[0-9]*");
	assert_null(p->devices[1]);
	assert_int_equal(p->users, GPU_USERS_ANY);
	assert_int_equal(p->ignore.count, 0);
	assert_true(p->hold_ns == 0);
	assert_int_equal(p->unit, UNIT_HOLDERS);
	assert_true(near(p->enter, 1) && near(p->leave, 1));
}

static void a_gpu_policy_is_read(void **state)
{
	const struct policy_config *p =
		&fixture_config(*state, MINER "[policy p]\nsignal = gpu\naction = freeze\n"
					      "target = miner\nusers = compute\nhold = 2s\n"
					      "devices = /dev/nvidia0, /dev/dri/renderD*\n"
					      "ignore = comm:nvidia-smi,\n  unit:x.service\n")
			 ->policies[0];

	assert_string_equal(p->devices[0], "/dev/nvidia0");
	assert_string_equal(p->devices[1], "/dev/dri/renderD*");
	assert_null(p->devices[2]);
	assert_int_equal(p->users, GPU_USERS_COMPUTE);
	assert_int_equal(p->ignore.count, 2);
	assert_true(p->hold_ns == 2 * S);
}

static void a_thrash_policy_lets_its_offender_go_after_an_hour(void **state)
{
	const struct config *c =
		fixture_config(*state, "[policy a]\nsignal=thrash\naction=freeze\ntarget=offender\n"
				       "[policy b]\nsignal=thrash\naction=stop\ntarget=offender\n"
				       "max_hold=2h\nenter = 20%\nslice = 5s\n"
				       "[policy c]\nsignal=thrash\naction=stop\ntarget=offender\n"
				       "max_hold=none\n");

	assert_true(c->policies[0].target_offender);
	assert_int_equal(c->policies[0].n_targets, 0);
	assert_true(c->policies[0].enter_is_default);
	assert_int_equal(c->policies[0].unit, UNIT_SHARE);
	assert_true(near(c->policies[0].enter, 0.1));
	assert_true(c->policies[0].max_hold_ns == 3600 * S);
	assert_false(c->policies[1].enter_is_default);
	assert_true(near(c->policies[1].enter, 0.2) && near(c->policies[1].leave, 0.1));
	assert_true(c->policies[1].max_hold_ns == 7200 * S);
	assert_true(c->policies[2].max_hold_ns == 0);
}

static void a_policy_may_stand_before_its_workload_and_have_several(void **state)
{
	const struct config *c =
		fixture_config(*state, "[policy p]\nsignal=cpu\naction=freeze\ntarget = b,\n\ta\n"
				       "[workload a]\ncgroup = /a/*\n[workload b]\ncgroup = /b\n");

	assert_int_equal(c->policies[0].n_targets, 2);
	assert_string_equal(c->workloads[c->policies[0].targets[0]].name, "b");
	assert_string_equal(c->workloads[c->policies[0].targets[1]].pattern.text, "/a/*");
}

static void which_of_several_targets_comes_first_is_read(void **state)
{
	const struct config *c =
		fixture_config(*state, MINER "[policy a]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "[policy b]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					     "select = top\n"
					     "[policy c]\nsignal=gpu\naction=terminate\n"
					     "target=miner\nselect = newest\n"
					     "[policy d]\nsignal=thrash\naction=freeze\n"
					     "target=offender\nselect = all\n");

	assert_int_equal(c->policies[0].select, SELECT_ALL);
	assert_int_equal(c->policies[1].select, SELECT_TOP);
	assert_int_equal(c->policies[2].select, SELECT_NEWEST);
	assert_int_equal(c->policies[3].select, SELECT_ALL);
}

static void delays_have_limits_in_milliseconds(void **state)
{
	const struct config *c = fixture_config(
		*state, MINER "[policy p]\nsignal=cpu\nmetric = delay\nof = /web\nenter = 1.5ms\n"
			      "action=freeze\ntarget=miner\n"
			      "[policy q]\nsignal=cpu\nmetric = delay\nenter = 1s\nleave = 1s\n"
			      "action=freeze\ntarget=miner\n"
			      "[policy r]\nsignal=cpu\naction=freeze\ntarget=miner\n");

	assert_int_equal(c->policies[0].metric, METRIC_DELAY);
	assert_int_equal(c->policies[0].unit, UNIT_MS);
	assert_true(near(c->policies[0].enter, 1.5) && near(c->policies[0].leave, 0.5));
	assert_true(c->policies[1].enter == 1000 && c->policies[1].leave == 1000);
	assert_true(c->policies[1].of_others);
	assert_int_equal(c->policies[2].metric, METRIC_USE);
	assert_int_equal(c->policies[2].unit, UNIT_CPUS);
}

static void a_ladder_is_read(void **state)
{
	const struct policy_config *p =
		&fixture_config(*state,
				MINER "[policy p]\nsignal=cpu\naction=demote\ntarget=miner\n"
				      "escalate = freeze:30s,\n  terminate:10m, kill:11m\n")
			 ->policies[0];
	const struct escalate_ladder want = { { { ACTION_FREEZE, 30 * NSEC_PER_SEC },
						{ ACTION_TERMINATE, 600 * NSEC_PER_SEC },
						{ ACTION_KILL, 660 * NSEC_PER_SEC } },
					      3 };

	assert_int_equal(p->action, ACTION_DEMOTE);
	assert_true(escalate_is_same(&p->escalate, &want));
}

static void to_kill_is_an_action(void **state)
{
	const struct config *c =
		fixture_config(*state, MINER "[policy p]\nsignal=cpu\naction=kill\ntarget=miner\n"
					     "[policy q]\nsignal=thrash\naction=kill\n"
					     "target=offender\n");

	assert_int_equal(c->policies[0].action, ACTION_KILL);
	assert_int_equal(c->policies[0].escalate.count, 0);
	assert_int_equal(c->policies[1].action, ACTION_KILL);
}

static void keys_of_later_features_may_be_set_to_their_defaults(void **state)
{
	(void)fixture_config(*state, MINER "[policy p]\nsignal=cpu\naction=freeze\ntarget=miner\n"
					   "select = all\nescalate = none\nnotify = none\n"
					   "metric = use\nof = others\n");
}

static void comments_and_blanks_are_left_out(void **state)
{
	const struct config *c =
		fixture_config(*state, "; one\n"
				       "# two\n"
				       "\n"
				       "  ; three\n"
				       "[agent]   ; of a section\n"
				       "mode = shadow ; of a value\n"
				       "only = /a;b#c\t; a semicolon without a blank\n"
				       "state_dir = /d # as at the beginning of a line\n"
				       "protect = comm:a, ; first\n"
				       "   ; between\n"
				       "\n"
				       "\t# between\n"
				       "   comm:b # last\n");

	assert_true(c->shadow);
	assert_string_equal(c->only, "/a;b#c");
	assert_string_equal(c->state_dir, "/d");
	assert_int_equal(c->protect.count, 2);
	assert_string_equal(c->protect.patterns[1].text, "b");
}

static void line_ends_of_other_systems_are_taken(void **state)
{
	const struct config *c = fixture_config(
		*state, "\xef\xbb\xbf[agent]\r\nmode = shadow\r\nprotect = comm:a,\r\n  comm:b\r\n"
			"only = /\xc3\xa4");

	assert_true(c->shadow);
	assert_int_equal(c->protect.count, 2);
	assert_string_equal(c->only, "/\xc3\xa4");
}

static void a_tab_in_a_header_is_a_blank(void **state)
{
	const struct config *c =
		fixture_config(*state, "[\tworkload\tw ]\ncgroup\t=\t/w\n[policy \t p]\n"
				       "signal=cpu\naction=freeze\ntarget=w\n");

	assert_string_equal(c->workloads[0].name, "w");
	assert_string_equal(c->policies[0].name, "p");
}

static void long_lists_and_names_are_not_cut(void **state)
{
	_cleanup_free_ char *text = malloc(600000);
	char *p = text;
	const struct config *c;

	assert_non_null(text);
	p += sprintf(p, "[workload %063d]\ncgroup = /x\n[agent]\nprotect = comm:first", 7);
	for (int i = 0; i < 10000; i++)
		p += sprintf(p, ", unit:number-%d.service", i);
	p += sprintf(p, "\nprefer = comm:a");
	for (int i = 0; i < 1000; i++)
		p += sprintf(p, ",\n  exe:/usr/bin/%0200d", i);
	c = fixture_config(*state, text);
	assert_int_equal(c->protect.count, 10001);
	assert_string_equal(c->protect.patterns[10000].text, "number-9999.service");
	assert_int_equal(c->prefer.count, 1001);
	assert_int_equal(strlen(c->prefer.patterns[1000].text), 209);
	assert_int_equal(strlen(c->workloads[0].name), 63);
}

static void a_missing_file_is_an_empty_one_unless_it_was_named(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_load(f, false), 0);
	assert_int_equal(f->config->n_policies, 0);
	assert_int_equal(fixture_load(f, true), -ENOENT);
	assert_true(fixture_said(f, "culprit.conf: does not exist; "));
}

static void write_text(struct fixture *f, const char *name, const char *text)
{
	fixture_write(f, name, text, strlen(text));
}

static void fragments_are_merged_key_by_key_in_order(void **state)
{
	struct fixture *f = *state;
	const struct config *c;

	write_text(f, "conf.d/20-b.conf", "[agent]\npulse = 2s\nprotect = comm:two\n");
	write_text(f, "conf.d/10-a.conf", "[agent]\npulse = 3s\nlog_level = debug\n");
	write_text(f, "conf.d/30-c.conf", "[policy p]\ngrace = 1m\n");
	write_text(f, "conf.d/.hidden.conf", "[nonsense]\n");
	write_text(f, "conf.d/README", "nonsense\n");
	c = fixture_config(f, MINER "[agent]\nmode = shadow\nprotect = comm:a, comm:b\n"
				    "[policy p]\nsignal=cpu\naction=freeze\ntarget=miner\n");
	assert_true(c->shadow);
	assert_true(c->pulse_ns == 2 * S);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->protect.count, 1);
	assert_string_equal(c->protect.patterns[0].text, "two");
	assert_true(c->policies[0].grace_ns == 60 * S);
	assert_int_equal(c->n_policies, 1);
}

static void a_fragment_can_empty_a_list(void **state)
{
	struct fixture *f = *state;

	write_text(f, "conf.d/a.conf", "[agent]\nprotect =\n");
	assert_int_equal(fixture_config(f, "[agent]\nprotect = comm:a\n")->protect.count, 0);
}

static void fragments_are_read_without_the_file(void **state)
{
	struct fixture *f = *state;

	write_text(f, "conf.d/a.conf", "[agent]\nmode = shadow\n");
	assert_int_equal(fixture_load(f, false), 0);
	assert_true(f->config->shadow);
}

static void a_policy_knows_where_it_stands(void **state)
{
	struct fixture *f = *state;
	const struct config *c;

	write_text(f, "conf.d/a.conf", "\n\n[policy p]\nsignal=cpu\naction=freeze\ntarget=miner\n");
	c = fixture_config(f, MINER);
	assert_int_equal(c->policies[0].place.line, 3);
	assert_non_null(strstr(c->policies[0].place.file, "/conf.d/a.conf"));
	assert_int_equal(c->workloads[0].place.line, 1);
}

static void the_default_configuration_changes_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		config_load(&f->config, "dist/culprit.conf", true, FIXTURE_CPUS, fixture_hear, f),
		0);
	assert_int_equal(f->n_errors + f->n_warnings, 0);
	assert_int_equal(f->config->n_policies, 0);
	assert_int_equal(f->config->n_workloads, 0);
}

/* Whoever removes the "#" of every example gets what was meant. */
static void the_examples_of_the_default_configuration_are_right(void **state)
{
	_cleanup_fclose_ FILE *in = fopen("dist/culprit.conf", "re");
	_cleanup_free_ char *line = NULL, *text = calloc(1, 65536);
	size_t size = 0;
	const struct config *c;

	assert_non_null(in);
	assert_non_null(text);
	while (getline(&line, &size, in) > 0) {
		const char *p = line;

		if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
			p++;
		strncat(text, p, 65535 - strlen(text));
	}
	c = fixture_config(*state, text);
	assert_true(c->n_policies >= 3 && c->n_workloads >= 1);
}

/* The n-th literal block of the manual's EXAMPLES, as man shows it. */
static char *manual_example(unsigned int n)
{
	_cleanup_fclose_ FILE *f = fopen("docs/culprit.conf.5", "re");
	char line[1024], *text = NULL;
	bool in_examples = false, in_block = false;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(f);
	assert_non_null(out);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, ".Sh ", 4) == 0)
			in_examples = strcmp(line, ".Sh EXAMPLES\n") == 0;
		if (strncmp(line, ".Ed", 3) == 0)
			in_block = false;
		/* Nothing of it may need an escape of roff, or it would not be word for word. */
		if (in_block) {
			assert_null(strpbrk(line, "\\\""));
			assert_int_not_equal(line[0], '.');
			assert_true(fputs(line, out) >= 0);
		}
		if (in_examples && strncmp(line, ".Bd", 3) == 0)
			in_block = n-- == 0;
	}
	assert_int_equal(fclose(out), 0);
	return text;
}

static void the_examples_of_the_manual_are_good_word_for_word(void **state)
{
	struct fixture *f = *state;
	const struct config *config;
	unsigned int n = 0;

	for (;; n++) {
		_cleanup_free_ char *text = manual_example(n);

		if (!*text)
			break;
		(void)fixture_config(f, text);
		assert_int_equal(f->n_warnings, 0);
	}
	assert_true(n >= 3);
	/* The first has the thresholds of an auto-pause script. */
	{
		_cleanup_free_ char *text = manual_example(0);

		config = fixture_config(f, text);
	}
	assert_int_equal(config->n_policies, 2);
	assert_true(config->policies[0].of_others);
	assert_float_equal(config->policies[0].enter, 0.15 * FIXTURE_CPUS, 1e-9);
	assert_float_equal(config->policies[0].leave, 0.05 * FIXTURE_CPUS, 1e-9);
	assert_int_equal(config->policies[0].grace_ns, 15000000000);
	assert_string_equal(config->policies[1].of.text, "minecraft.service");
	assert_float_equal(config->policies[1].enter, 0.03 * FIXTURE_CPUS, 1e-9);
	assert_int_equal(config->policies[1].grace_ns, 15000000000);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(config->policies[i].signal, SIGNAL_CPU);
		assert_int_equal(config->policies[i].action, ACTION_FREEZE);
		assert_int_equal(config->policies[i].targets[0], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(an_empty_file_gives_the_defaults),
		FIXTURE_TEST(the_agent_section_is_read),
		FIXTURE_TEST(a_cpu_policy_has_its_defaults),
		FIXTURE_TEST(shares_become_cpus),
		FIXTURE_TEST(others_that_are_not_niced_are_a_budget_of_their_own),
		FIXTURE_TEST(leave_may_be_enter_but_is_a_third_without),
		FIXTURE_TEST(a_gpu_policy_has_its_defaults),
		FIXTURE_TEST(a_gpu_policy_is_read),
		FIXTURE_TEST(a_thrash_policy_lets_its_offender_go_after_an_hour),
		FIXTURE_TEST(a_policy_may_stand_before_its_workload_and_have_several),
		FIXTURE_TEST(which_of_several_targets_comes_first_is_read),
		FIXTURE_TEST(delays_have_limits_in_milliseconds),
		FIXTURE_TEST(a_ladder_is_read),
		FIXTURE_TEST(to_kill_is_an_action),
		FIXTURE_TEST(keys_of_later_features_may_be_set_to_their_defaults),
		FIXTURE_TEST(comments_and_blanks_are_left_out),
		FIXTURE_TEST(line_ends_of_other_systems_are_taken),
		FIXTURE_TEST(a_tab_in_a_header_is_a_blank),
		FIXTURE_TEST(long_lists_and_names_are_not_cut),
		FIXTURE_TEST(a_missing_file_is_an_empty_one_unless_it_was_named),
		FIXTURE_TEST(fragments_are_merged_key_by_key_in_order),
		FIXTURE_TEST(a_fragment_can_empty_a_list),
		FIXTURE_TEST(fragments_are_read_without_the_file),
		FIXTURE_TEST(a_policy_knows_where_it_stands),
		FIXTURE_TEST(the_default_configuration_changes_nothing),
		FIXTURE_TEST(the_examples_of_the_default_configuration_are_right),
		FIXTURE_TEST(the_examples_of_the_manual_are_good_word_for_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
