// SPDX-License-Identifier: GPL-2.0-or-later
/* What a wrong configuration is told: the file and line, what is wrong, and what to do. */
#include "config_fixture.h"

#define MINER  "[workload miner]\nunit = xmrig.service\n"
#define POLICY MINER "[policy p]\nsignal = cpu\naction = freeze\ntarget = miner\n"
#define GPU    MINER "[policy p]\nsignal = gpu\naction = freeze\ntarget = miner\n"
#define THRASH "[policy p]\nsignal = thrash\naction = freeze\ntarget = offender\n"

struct wrong {
	const char *text;
	const char *says; /* beginning with the line */
};

/* Each text has exactly one error, on the line given. */
static void expect(struct fixture *f, const struct wrong *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char expected[512];

		if (fixture_load_text(f, cases[i].text) != -EINVAL)
			fail_msg("case %zu, %s, was taken", i, cases[i].says);
		snprintf(expected, sizeof(expected), "culprit.conf:%s", cases[i].says);
		if (strncmp(f->said, expected, strlen(expected)) != 0 || f->n_errors != 1)
			fail_msg("case %zu: expected %s, was told %s", i, expected, f->said);
		if (!strstr(f->said, "; ") && !strstr(f->said, "?"))
			fail_msg("case %zu tells no remedy: %s", i, f->said);
	}
}
#define EXPECT(state, ...)                                  \
	do {                                                \
		const struct wrong c__[] = { __VA_ARGS__ }; \
		expect(*(state), c__, ARRAY_SIZE(c__));     \
	} while (0)

static void bad_syntax_is_told_with_its_line(void **state)
{
	EXPECT(state, { "mode = shadow\n", "1: 'mode = shadow' stands before any section" },
	       { "\n[agent\nmode = shadow\n", "2: '[agent' has no closing bracket" },
	       { "[agent] x\n", "1: '[agent] x' has no closing bracket" },
	       { "[]\n", "1: '[]' names no section" },
	       { "[agent]\n\nshadow\n", "3: 'shadow' has no '='" },
	       { "[agent]\n= shadow\n", "2: '= shadow' has no key" },
	       { "[agent]\n*x* = 1\n", "2: '*x* = 1' is neither a section nor" },
	       { "[agent]\n/* mode = shadow */\n", "2: '/* mode = shadow */' is neither" },
	       { "[agent]\n\n  mode = shadow\n", "3: an indented line continues" },
	       { "[agent]\nmode = shadow\n  only = /a\n", "2: mode goes on in an indented line" },
	       { "[agent]\nmode =\n", "2: mode is empty" },
	       { "[agent]\nmode\x01= shadow\n", "2: control character 0x01" },
	       { "[agent]\nmode = \x7f\n", "2: control character 0x7f" },
	       { "[agent]\nonly = /\xff\n", "2: byte 0xff is not UTF-8" },
	       { "[agent]\nonly = /\xc0\xaf\n", "2: byte 0xc0 is not UTF-8" },
	       { "[agent]\nonly = /\xed\xa0\x80\n", "2: byte 0xed is not UTF-8" },
	       { "[agent]\nonly = /\xe2\x82\n", "2: byte 0xe2 is not UTF-8" },
	       { "[agent]\rmode = shadow\r", "1: control character 0x0d" });
}

static void a_nul_byte_is_told(void **state)
{
	static const char text[] = "[agent]\nmode = sha\0dow\n";
	struct fixture *f = *state;

	fixture_write(f, "culprit.conf", text, sizeof(text) - 1);
	assert_int_equal(fixture_load(f, true), -EINVAL);
	assert_true(fixture_said(f, "culprit.conf:2: control character 0x00"));
}

static void what_stands_twice_in_one_file_is_told(void **state)
{
	EXPECT(state, { "[agent]\npulse = 1s\n\npulse = 2s\n", "4: 'pulse = 2s' sets a key that" },
	       { "[agent]\npulse = 1s\n\nPulse = 2s\n", "4: 'Pulse = 2s' sets a key that" },
	       { "[agent]\n\n[agent]\nmode = shadow\n", "3: section [agent] stands twice" },
	       { MINER "[workload  miner]\n", "3: section [workload  miner] stands twice" });
}

static void unknown_words_are_told(void **state)
{
	EXPECT(state, { "[agnet]\n", "1: unknown section [agnet]" },
	       { "[Agent]\n", "1: unknown section [Agent]" },
	       { "[agent]\nmodus = shadow\n",
		 "2: unknown key 'modus'; a [agent] section knows mode, only" },
	       { "[agent]\nMode = shadow\n", "2: unknown key 'Mode'" },
	       { "[agent]\nmode = dark\n",
		 "2: mode = 'dark' is unknown; choose one of: enforce, shadow" },
	       { "[agent]\nlog_level = loud\n", "2: log_level = 'loud' is unknown" },
	       { MINER "[policy p]\nsignal = cpus\naction = freeze\ntarget = miner\n",
		 "4: signal = 'cpus' is unknown; choose one of: cpu, gpu, thrash" },
	       { GPU "users = some\n", "7: users = 'some' is unknown" },
	       { MINER "path = /a\n", "3: unknown key 'path'; a [workload] section knows unit, "
				      "cgroup" });
}

static void section_names_are_checked(void **state)
{
	EXPECT(state, { "[workload]\nunit = a\n", "1: [workload] has no name" },
	       { "[workload]\n", "1: [workload] has no name" },
	       { "[policy]\nsignal = cpu\n", "1: [policy] has no name" },
	       { "[agent x]\n", "1: [agent x] has a name" },
	       { "[workload a/b]\nunit = a\n", "1: section name 'a/b' is not usable" },
	       { "[workload a b]\nunit = a\n", "1: section name 'a b' is not usable" },
	       { "[workload "
		 "0123456789012345678901234567890123456789012345678901234567890123]\nunit = a\n",
		 "1: section name '0123456789" },
	       { "[workload offender]\nunit = a\n", "1: no workload can be called 'offender'" },
	       { "[policy operator]\nsignal=thrash\naction=stop\ntarget=offender\n",
		 "1: no policy can be called 'operator'" });
}

static void very_long_section_names_are_refused_whole(void **state)
{
	struct fixture *f = *state;
	char text[1024];

	for (int n = 40; n < 600; n += 7) {
		snprintf(text, sizeof(text), "[workload %0*d]\nunit = a.service\n", n, 1);
		assert_int_equal(fixture_load_text(f, text), n <= 63 ? 0 : -EINVAL);
		assert_int_equal(f->n_errors, n <= 63 ? 0 : 1);
	}
}

static void durations_need_units_and_sense(void **state)
{
	EXPECT(state, { POLICY "grace = 15\n", "7: grace = '15' has no unit; write ms" },
	       { POLICY "grace = -15s\n", "7: grace = '-15s' is not a duration" },
	       { POLICY "grace = 15 s\n", "7: grace = '15 s' has an unknown unit" },
	       { POLICY "grace = 15s / why\n", "7: grace = '15s / why' has an unknown unit" },
	       { POLICY "grace = nan\n", "7: grace = 'nan' is not a duration" },
	       { POLICY "grace = 90000h\n", "7: grace = '90000h' is longer than 10 years" },
	       { POLICY "grace = 99999999999999999999s\n", "7: grace = '99999999999999999999s' is "
							   "longer" },
	       { POLICY "window = 0\n", "7: window = '0' is out of range; write 160ms to 10m" },
	       { POLICY "window = 1h\n", "7: window = '1h' is out of range" },
	       { POLICY "max_hold = 0s\n", "7: max_hold = '0s' is no time at all; write none" },
	       { "[agent]\npulse = 0\n", "2: pulse = '0' is out of range; write 100ms to 3s" });
}

static void thresholds_need_units_and_sense(void **state)
{
	EXPECT(state, { POLICY "enter = 15\n", "7: enter = '15' has no unit; write % or cpu" },
	       { POLICY "enter = 0%\n", "7: enter = '0%' would hold for ever" },
	       { POLICY "enter = -1%\n", "7: enter = '-1%' is not a share" },
	       { POLICY "enter = 101%\n", "7: enter = '101%' is more than there is" },
	       { POLICY "enter = nan%\n", "7: enter = 'nan%' is not a share" },
	       { POLICY "enter = 1e1%\n", "7: enter = '1e1%' has an unknown unit" },
	       { POLICY "enter = 15ms\n", "7: enter = '15ms' is a time, and CPU time" },
	       { POLICY "enter = 15%\nleave = 16%\n", "8: leave = '16%' is above enter" },
	       { POLICY "leave = 0.61cpu\n", "7: leave = '0.61cpu' is above enter" },
	       { POLICY "leave = 0%\n", "7: leave = '0%' would never be left" },
	       { THRASH "enter = 0.1cpu\n", "5: enter = '0.1cpu' is in CPUs, but this signal" });
}

static void what_a_policy_needs_is_told(void **state)
{
	EXPECT(state,
	       { MINER "[policy p]\nsignal = cpu\naction = freeze\n", "3: policy p has no target" },
	       { MINER "[policy p]\nsignal = cpu\ntarget = miner\n", "3: policy p has no action" },
	       { MINER "[policy p]\naction = freeze\ntarget = miner\n",
		 "3: policy p has no signal" },
	       { MINER "[policy p]\nsignal=cpu\naction=freeze\ntarget =\n", "6: target is empty" },
	       { MINER "[policy p]\nsignal=cpu\naction=freeze\ntarget = , ;x\n",
		 "6: target is empty" });
}

static void targets_must_exist_and_fit_the_signal(void **state)
{
	EXPECT(state, { "[policy p]\nsignal=thrash\naction = demote\ntarget=offender\n",
			"3: action = demote is for cgroups" });
	EXPECT(state,
	       { "[policy p]\nsignal=cpu\naction=freeze\ntarget = miner\n",
		 "4: target: no workload is called 'miner'; add a [workload miner]" },
	       { MINER "[policy p]\nsignal=cpu\naction=freeze\ntarget = offender\n",
		 "6: signal = cpu names no offender" },
	       { MINER "[policy p]\nsignal=gpu\naction=freeze\ntarget = offender\n",
		 "6: signal = gpu names no offender" },
	       { MINER "[policy p]\nsignal=thrash\naction=freeze\ntarget = miner, offender\n",
		 "6: target: 'offender' cannot stand beside workloads" },
	       { MINER "[policy p]\nsignal=cpu\naction=freeze\ntarget = miner, miner\n",
		 "6: target: 'miner' stands there twice" });
}

static void keys_of_another_signal_are_told(void **state)
{
	EXPECT(state, { POLICY "devices = /dev/a\n", "7: devices goes with signal = gpu only" },
	       { GPU "enter = 15%\n",
		 "7: enter goes with signal = cpu or thrash or pressure only" },
	       { GPU "of = others\n", "7: of goes with signal = cpu or pressure only" },
	       { POLICY "idle = 300s\n", "7: idle goes with signal = presence or power only" });
}

static void of_must_not_be_the_target_or_everything(void **state)
{
	EXPECT(state, { POLICY "of = /\n", "7: of = '/' is the whole machine" },
	       { POLICY "of = cgroup:/*\n", "7: of = 'cgroup:/*' is the whole machine" },
	       { POLICY "of = unit:xmrig.service\n",
		 "7: of = 'unit:xmrig.service' has the target" },
	       { "[workload w]\ncgroup = /x/b\n[policy p]\nsignal = cpu\naction = freeze\n"
		 "target = w\nof = /x\n",
		 "7: of = '/x' has the target w itself in it" },
	       { "[workload w]\ncgroup = /x\n[policy p]\nsignal = cpu\naction = freeze\n"
		 "target = w\nof = /x/b\n",
		 "7: of = '/x/b' is part of the target w" },
	       { "[workload w]\ncgroup = /x/*\n[policy p]\nsignal = cpu\naction = freeze\n"
		 "target = w\nof = /x/b\n",
		 "7: of = '/x/b' is part of the target w" },
	       { POLICY "of = /system.slice/xmrig.service/inner\n",
		 "7: of = '/system.slice/xmrig.service/inner' is part of the target" },
	       { POLICY "of = unit:a.service, unit:b.service\n",
		 "7: of = 'unit:a.service, unit:b.service' has a comma" },
	       { POLICY "of = /a,/b\n", "7: of = '/a,/b' has a comma" },
	       { POLICY "of = comm:bash\n", "7: of = 'comm:bash' names no cgroup" },
	       { POLICY "of = minecraft\n", "7: of = 'minecraft' is not a pattern" });
}

#define W(name, at) "[workload " name "]\n" at "\n"
#define P(name, of, target) \
	"[policy " name "]\nsignal = cpu\naction = freeze\nof = " of "\ntarget = " target "\n"
#define X W("x", "cgroup = /x")
#define Y W("y", "unit = y.service")
#define Z W("z", "cgroup = /z-*")

static void policies_that_order_opposite_things_are_told_with_both_lines(void **state)
{
	struct fixture *f = *state;

	EXPECT(state,
	       { X Y P("a", "unit:y.service", "x") P("b", "/x", "y"),
		 "10: policy b orders the opposite of policy a (/tmp/" },
	       /* The texts tell what is below a target, and what a glob stands for. */
	       { X Z P("a", "/z-1/deeper", "x") P("b", "/x/y", "z"),
		 "10: policy b orders the opposite of policy a (/tmp/" },
	       { X Y P("a", "/s/y.service/inner", "x") P("b", "/x", "y"),
		 "10: policy b orders the opposite of policy a (/tmp/" },
	       /* What stands between does not matter, nor what else is a target. */
	       { X Y Z P("a", "unit:y.service", "z, x") P("c", "unit:c", "z") P("b", "/x", "y"),
		 "17: policy b orders the opposite of policy a (/tmp/" },
	       { X Y Z P("a", "unit:y.service", "x") P("b", "/z-1", "y") P("c", "/x", "z"),
		 "17: policy c closes a circle with the policies " });
	assert_true(fixture_said(f, "a (/tmp/"));
	assert_true(fixture_said(f, "b (/tmp/"));
	assert_true(fixture_said(f, "/culprit.conf:7)"));
	assert_true(fixture_said(f, "/culprit.conf:12)"));
	/* Each circle once. */
	assert_int_equal(fixture_load_text(f, X Y Z P("a", "unit:y.service", "x") P("b", "/x", "y")
						      P("c", "/z-1", "y")
							      P("d", "unit:y.service", "z")),
			 -EINVAL);
	assert_int_equal(f->n_errors, 2);
	assert_true(fixture_said(f, "culprit.conf:12: policy b orders the opposite of policy a"));
	assert_true(fixture_said(f, "culprit.conf:22: policy d orders the opposite of policy c"));
}

static void policies_in_a_row_order_nothing_opposite(void **state)
{
	struct fixture *f = *state;

	(void)fixture_config(f, X Y Z P("a", "unit:y.service", "x") P("b", "/z-1", "y")
					P("c", "unit:other.service", "z"));
	/* Others are never in a target. */
	(void)fixture_config(f, X Y P("a", "others", "x") P("b", "/x", "y"));
	(void)fixture_config(f, X Y P("a", "unit:y.service", "x") P("b", "/xx", "y"));
}

static void a_workload_is_one_thing_and_not_everything(void **state)
{
	EXPECT(state, { "[workload a]\n", "1: workload a names no cgroup" },
	       { "[workload a]\ncgroup = /a, /b\n", "2: cgroup = '/a, /b' has a comma" },
	       { "[workload a]\nunit = a.service, b.service\n",
		 "2: unit = 'a.service, b.service' has a comma" },
	       { "[agent]\nprotect = unit:a.service unit:b.service\n",
		 "2: protect: 'unit:a.service unit:b.service' has a blank" },
	       { "[workload a]\nunit = a\ncgroup = /a\n", "3: workload a has both" },
	       { "[workload a]\ncgroup = a\n", "2: cgroup = 'a' is not an absolute path" },
	       { "[workload a]\ncgroup = /\n", "2: cgroup = '/' is every cgroup" },
	       { "[workload a]\ncgroup = /*\n", "2: cgroup = '/*' is every cgroup" },
	       { "[workload a]\ncgroup = /*/*\n", "2: cgroup = '/*/*' is every cgroup" },
	       { "[workload a]\ncgroup = /a/../b\n", "2: cgroup = '/a/../b' goes through" },
	       { "[workload a]\ncgroup = /a[b\n", "2: cgroup = '/a[b' has a [" },
	       { "[workload a]\nunit = /a\n",
		 "2: unit = '/a' is not a unit's name; name a path with cgroup in place" },
	       { "[workload a]\nunit = a*.service\n", "2: unit = 'a*.service' has wildcards" },
	       { "[workload a]\nunit = unit:a\n", "2: unit = 'unit:a' says unit: twice" },
	       { "[workload a]\nunit =\n", "2: unit is empty" });
}

static void paths_are_checked(void **state)
{
	EXPECT(state, { "[agent]\nonly = a\n", "2: only = 'a' is not an absolute path" },
	       { "[agent]\nonly = /a*\n", "2: only = '/a*' is a glob" },
	       { "[agent]\nonly = /a//b\n", "2: only = '/a//b' has an empty part" },
	       { "[agent]\nstate_dir = /a/../b\n", "2: state_dir = '/a/../b' goes through" },
	       { "[agent]\nstate_dir = /\n", "2: state_dir = '/' is the root directory" },
	       { "[agent]\nsocket = "
		 "/0123456789012345678901234567890123456789012345678901234567890123456789012345678"
		 "901234567890123456789012\n",
		 "2: socket is longer than 103 bytes" },
	       { GPU "devices = nvidia0\n", "7: devices: 'nvidia0' is not an absolute path" },
	       { GPU "devices =\n", "7: devices = '' names no device" },
	       { GPU "devices = /dev/a[0\n", "7: devices: '/dev/a[0' has a [" });
}

static void each_item_of_a_list_is_told_with_its_own_line(void **state)
{
	EXPECT(state,
	       { "[agent]\nprotect = comm:a,\n  comm:b,\n\n  ; c\n  bad,\n  comm:d\n",
		 "6: protect: 'bad' is not a pattern" },
	       { "[agent]\nprotect = comm:a\n  comm:b\n",
		 "2: no comma stands between 'comm:a' and the line below" },
	       { "[agent]\nprotect = comm:a,, comm:b\n", "2: the list has nothing between two" },
	       { "[agent]\nprotect =\n  comm:a,\n  bad\n", "4: protect: 'bad' is not" },
	       { "[agent]\nprotect = uid:no-such-user-here\n",
		 "2: protect: 'uid:no-such-user-here' names no user" },
	       { POLICY "[workload b]\nunit = b\n[policy q]\nsignal=cpu\naction=freeze\n"
			"target = b,\n  c\n",
		 "13: target: no workload is called 'c'" });
}

static void a_ladder_must_rise(void **state)
{
	EXPECT(state,
	       { POLICY "escalate = shoot:10m\n", "7: escalate: 'shoot:10m' is not ACTION:TIME" },
	       { POLICY "escalate = kill:10\n", "7: escalate: '10' has no unit" },
	       { POLICY "escalate = kill\n", "7: escalate: 'kill' is not ACTION:TIME" },
	       { POLICY "escalate =\n", "7: escalate" },
	       { POLICY "escalate = demote:10m\n",
		 "7: escalate: 'demote:10m' is not more than freeze" },
	       { POLICY "escalate = freeze:10m\n",
		 "7: escalate: 'freeze:10m' is not more than freeze" },
	       { POLICY "escalate = kill:10m,\n  terminate:11m\n",
		 "8: escalate: 'terminate:11m' is not more than kill" },
	       { POLICY "escalate = terminate:10m,\n  kill:10m\n",
		 "8: escalate: 'kill:10m' comes no later" },
	       { POLICY "escalate = kill:0s\n", "7: escalate: 'kill:0s' comes no later" },
	       { MINER "[policy p]\nsignal=cpu\naction=demote\ntarget=miner\n"
		       "escalate = stop:1m\n",
		 "7: escalate: stop takes a workload's processes one by one; write freeze" });
}

static void turns_are_for_those_who_thrash_together(void **state)
{
	EXPECT(state,
	       { MINER "[policy p]\nsignal=cpu\naction=turn\ntarget=miner\n",
		 "5: action = turn is for those who thrash together" },
	       { MINER "[policy p]\nsignal=thrash\naction=turn\ntarget=miner\n",
		 "5: action = turn is for those who thrash together" },
	       { "[policy p]\nsignal=thrash\naction=turn\ntarget=offender\nescalate=kill:1m\n",
		 "5: escalate: with action = turn nobody is held for long" },
	       { "[policy p]\nsignal=thrash\naction=turn\ntarget=offender\nmax_hold = 1m\n",
		 "5: max_hold: with action = turn nobody is held" },
	       { THRASH "slice = 6s\n", "5: slice is the length of a turn" },
	       { "[policy p]\nsignal=thrash\naction=turn\ntarget=offender\nslice = 50ms\n",
		 "5: slice" },
	       { "[policy p]\nsignal=thrash\naction=turn\ntarget=offender\nslice = 11m\n",
		 "5: slice" });
}

static void what_comes_later_is_refused_and_not_ignored(void **state)
{
	EXPECT(state,
	       { "[policy p]\nsignal=thrash\naction = notify\ntarget=offender\n",
		 "3: 'action = notify' is not supported yet" },
	       { MINER "[policy p]\nsignal = presence\nidle = 300s\nignore_users = root\n"
		       "action=freeze\ntarget=miner\n",
		 "4: 'signal = presence' is not supported yet" },
	       { MINER "[policy p]\nsignal = power\naction=freeze\ntarget=miner\n",
		 "4: 'signal = power' is not supported yet" },
	       { MINER "[policy p]\nsignal = pressure\nresource = memory\nkind = full\n"
		       "enter = 60%\nleave = 20%\nof = host\naction=freeze\ntarget=miner\n",
		 "4: 'signal = pressure' is not supported yet" },
	       { POLICY "select = lowest-priority\n",
		 "7: 'select = lowest-priority' is not supported yet" },
	       { POLICY "notify = root\n", "7: 'notify = root' is not supported yet" },
	       { "[policy p]\nsignal=thrash\naction=stop\ntarget = jobs\n",
		 "4: 'target = jobs' is not supported yet" },
	       { "[job folding]\ncommand = /usr/bin/FAHClient\ngpus = each\nuser = nobody\n"
		 "log = /var/log/folding.log\nstart = idle\nnice = -5\nstop_timeout = 10s\n"
		 "[policy p]\nsignal=gpu\naction=terminate\ntarget = folding\n",
		 "1: [job folding] is not supported yet" });
}

static void what_comes_later_is_checked_all_the_same(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_load_text(f, "[job a]\nstart = never\nnice = 20\npriority = high\n"
					      "stop_timeout = 10\nlog = x\n"),
			 -EINVAL);
	assert_int_equal(f->n_errors, 6);
	EXPECT(state,
	       { POLICY "select = best\n",
		 "7: select = 'best' is unknown; choose one of: all, top, newest" },
	       { "[policy p]\nsignal = thrash\naction = freeze\ntarget = offender\n"
		 "select = top\n",
		 "5: select chooses among workloads" });
}

static void a_long_comm_is_a_warning(void **state)
{
	struct fixture *f = *state;

	(void)fixture_config(f, "[agent]\nprotect = unit:a,\n  comm:gnome-software-daemon\n");
	assert_int_equal(f->n_warnings, 1);
	assert_true(fixture_said(f, "culprit.conf:3: 'comm:gnome-software-daemon' is taken as "
				    "'comm:gnome-software-'"));
}

static void a_rung_above_max_hold_is_a_warning(void **state)
{
	struct fixture *f = *state;

	(void)fixture_config(f, POLICY "max_hold = 10m\nescalate = terminate:5m,\n  kill:10m\n");
	assert_int_equal(f->n_warnings, 1);
	assert_true(fixture_said(f, "culprit.conf:9: escalate: 'kill:10m' is never reached"));
}

static void more_cpus_than_there_are_is_a_warning(void **state)
{
	struct fixture *f = *state;

	(void)fixture_config(f, POLICY "enter = 5cpu\n");
	assert_int_equal(f->n_warnings, 1);
	assert_true(fixture_said(f, "culprit.conf:7: enter = '5cpu' is never reached with the 4"));
}

static void all_errors_are_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_load_text(f, "[agent]\nmode = dark\npulse 1s\npulse = 1\n"
					      "[open\nx = 1\n[workload a]\n"
					      "[policy p]\nsignal = cpu\ngrace = x\ngrace = y\n"),
			 -EINVAL);
	assert_true(fixture_said(f, "conf:2: mode = 'dark'"));
	assert_true(fixture_said(f, "conf:3: 'pulse 1s' has no '='"));
	assert_true(fixture_said(f, "conf:4: pulse = '1' has no unit"));
	assert_true(fixture_said(f, "conf:5: '[open' has no closing"));
	assert_true(fixture_said(f, "conf:7: workload a names no cgroup"));
	assert_true(fixture_said(f, "conf:8: policy p has no action"));
	assert_true(fixture_said(f, "conf:8: policy p has no target"));
	assert_true(fixture_said(f, "conf:10: grace = 'x'"));
	assert_true(fixture_said(f, "conf:11: 'grace = y' sets a key"));
	assert_int_equal(f->n_errors, 9);
}

static void an_error_names_the_file_where_the_value_stands(void **state)
{
	static const char fragment[] = "[policy p]\n\ngrace = 15\n";
	struct fixture *f = *state;

	fixture_write(f, "conf.d/x.conf", fragment, strlen(fragment));
	assert_int_equal(fixture_load_text(f, POLICY "grace = 1s\nleave = 50%\n"), -EINVAL);
	assert_true(fixture_said(f, "conf.d/x.conf:3: grace = '15' has no unit"));
	assert_true(fixture_said(f, "culprit.conf:8: leave = '50%' is above enter"));
	assert_int_equal(f->n_errors, 2);
}

static void a_value_that_is_replaced_may_be_wrong(void **state)
{
	static const char fragment[] = "[policy p]\ngrace = 15s\n";
	struct fixture *f = *state;

	fixture_write(f, "conf.d/x.conf", fragment, strlen(fragment));
	(void)fixture_config(f, POLICY "grace = 1\n");
}

static void what_is_no_file_is_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(f->file, 0755), 0);
	assert_int_equal(fixture_load(f, true), -EISDIR);
	assert_true(fixture_said(f, "culprit.conf: is a directory; "));
	assert_int_equal(rmdir(f->file), 0);
	assert_int_equal(mkfifo(f->file, 0644), 0);
	assert_int_equal(fixture_load(f, true), -EINVAL);
	assert_true(fixture_said(f, "culprit.conf: is not a regular file; "));
	assert_int_equal(unlink(f->file), 0);
	assert_int_equal(symlink("culprit.conf", f->file), 0);
	assert_int_equal(fixture_load(f, false), -ELOOP);
	assert_true(fixture_said(f, "culprit.conf: cannot be read (Too many levels"));
}

static void a_fragment_that_cannot_be_read_is_told(void **state)
{
	struct fixture *f = *state;
	char dir[128];

	fixture_write(f, "culprit.conf", "", 0);
	snprintf(dir, sizeof(dir), "%s/conf.d", f->dir);
	fixture_write(f, "conf.d", "", 0);
	assert_int_equal(fixture_load(f, true), -ENOTDIR);
	assert_true(fixture_said(f, "conf.d: cannot be read (Not a directory)"));
	assert_int_equal(unlink(dir), 0);
	fixture_write(f, "conf.d/a.conf", "[x]\n", 4);
	snprintf(dir, sizeof(dir), "%s/conf.d/b.conf", f->dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(fixture_load(f, true), -EISDIR);
	assert_true(fixture_said(f, "conf.d/b.conf: is a directory; "));
	assert_true(fixture_said(f, "conf.d/a.conf:1: unknown section [x]"));
}

static void what_root_alone_may_read_is_told_to_others(void **state)
{
	struct fixture *f = *state;
	bool dropped = false;

	fixture_write(f, "culprit.conf", "", 0);
	assert_int_equal(chmod(f->file, 0), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(f->dir, 65534, (gid_t)-1), 0);
		assert_int_equal(seteuid(65534), 0);
		dropped = true;
	}
	(void)fixture_load(f, true);
	if (dropped)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(f->r, -EACCES);
	assert_true(fixture_said(f, "culprit.conf: cannot be read (Permission denied)"));
}

static void a_huge_file_is_refused(void **state)
{
	struct fixture *f = *state;
	size_t size = 10 << 20;
	_cleanup_free_ char *text = malloc(size);

	assert_non_null(text);
	memset(text, '#', size);
	fixture_write(f, "culprit.conf", text, size);
	assert_int_equal(fixture_load(f, true), -EFBIG);
	assert_true(fixture_said(f, "culprit.conf: is larger than 1024 KiB"));
}

static void too_many_sections_or_keys_are_told_once(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *text = malloc(1 << 20);
	char *p = text;

	assert_non_null(text);
	for (int i = 0; i < 100000; i++)
		p += sprintf(p, "[a%d]\n", i);
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_string_equal(f->said,
			    "culprit.conf:4097: more than 4096 sections; is this the right "
			    "file?\n");
	p = text + sprintf(text, "[agent]\n");
	for (int i = 0; i < 100000; i++)
		p += sprintf(p, "protect =\n");
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_true(fixture_said(f, "culprit.conf:258: more than 256 keys"));
}

/* CPU time is measured in shares, waits for a CPU in time. */
static void limits_of_the_other_metric_are_told(void **state)
{
	EXPECT(state,
	       { POLICY "enter = 2ms\n", "7: enter = '2ms' is a time, and CPU time is measured as "
					 "a share; write 15% or 0.5cpu, or add metric = delay" },
	       { POLICY "metric = use\nenter = 15%\nleave = 1ms\n", "9: leave = '1ms' is a time" },
	       { POLICY "metric = delay\nenter = 15%\n",
		 "8: enter = '15%' is a share, and with metric = delay a time is due; write 2ms, "
		 "or "
		 "remove metric" },
	       { POLICY "metric = delay\nenter = 2ms\nleave = 0.1cpu\n",
		 "9: leave = '0.1cpu' is a share" },
	       { POLICY "metric = delay\nenter = 2\n", "8: enter = '2' has no unit" },
	       { POLICY "metric = delay\nenter = 0\n", "8: enter = '0' would hold for ever" },
	       { POLICY "metric = delay\nenter = 0ms\n", "8: enter = '0ms' would hold for ever" },
	       { POLICY "metric = delay\nenter = 2ms\nleave = 0\n",
		 "9: leave = '0' would never be left" },
	       { POLICY "metric = delay\nenter = 2ms\nleave = 3ms\n",
		 "9: leave = '3ms' is above enter" },
	       { POLICY "metric = delay\n", "3: policy p has no enter; add enter = 2ms" },
	       { POLICY "metric = wait\nenter = 2ms\n", "7: metric = 'wait'" },
	       { "[policy p]\nsignal = thrash\nmetric = delay\naction = freeze\n"
		 "target = offender\n",
		 "3: metric goes with signal = cpu only" });
}

/* What the senses have no room for would otherwise be dropped without a word. */
static void more_than_the_senses_have_room_for_is_told_with_its_line(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *text = malloc(1 << 20);
	char *p = text + sprintf(text, MINER);

	assert_non_null(text);
	/* The same glob in every policy is one glob. */
	for (int i = 0; i < 80; i++)
		p += sprintf(p, "[policy p%d]\nsignal = gpu\naction = freeze\ntarget = miner\n", i);
	p += sprintf(p, "devices = /dev/a");
	for (int i = 1; i < 63; i++)
		p += sprintf(p, ", /dev/a%d", i);
	(void)fixture_config(f, text);
	p += sprintf(p, ",\n  /dev/b");
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_string_equal(f->said,
			    "culprit.conf:323: devices: '/dev/b' is one too many: all policies "
			    "together may have 64 different globs; write fewer and wider ones\n");
	p = text + sprintf(text, MINER);
	for (int i = 0; i < 1024; i++)
		p += sprintf(p,
			     "[policy p%d]\nsignal = cpu\nof = /a%d\naction = freeze\n"
			     "target = miner\n",
			     i, i);
	(void)fixture_config(f, text);
	sprintf(p, "[policy q]\nsignal = cpu\naction = freeze\ntarget = miner\n");
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_true(fixture_said(f, "culprit.conf:5123: policy q is one too many: there is room "
				    "for 1024 different combinations"));
	/* Budgets of delays have their own room, and are different where their limits are. */
	for (int i = 0; i < 64; i++)
		p += sprintf(p,
			     "[policy d%d]\nsignal = cpu\nmetric = delay\nenter = %dms\n"
			     "action = freeze\ntarget = miner\n",
			     i, i + 1);
	p += sprintf(p, "[policy e]\nsignal = cpu\nmetric = delay\nenter = 7ms\n"
			"action = freeze\ntarget = miner\n");
	(void)fixture_config(f, text);
	sprintf(p, "[policy f]\nsignal = cpu\nmetric = delay\nenter = 7ms\nleave = 1ms\n"
		   "action = freeze\ntarget = miner\n");
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_true(fixture_said(f, "policy f is one too many: there is room for 64 different "
				    "combinations"));
}

static void a_long_only_is_told(void **state)
{
	struct fixture *f = *state;
	char text[1100];

	snprintf(text, sizeof(text), "[agent]\nonly = /%01022d\n", 0);
	(void)fixture_config(f, text);
	snprintf(text, sizeof(text), "[agent]\nonly = /%01023d\n", 0);
	assert_int_equal(fixture_load_text(f, text), -EINVAL);
	assert_true(fixture_said(f, "culprit.conf:2: only is longer than 1023 bytes"));
}

/* Whatever is in the file must not reach a terminal or break the line of the message. */
static void messages_are_one_clean_line(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_load_text(f, "[agent]\nmode =\n  a\n  b\n"), -EINVAL);
	assert_int_equal(fixture_load_text(f, POLICY "of = /\xc3\xa4\xc3\xa4\xc3\xa4/[\n"),
			 -EINVAL);
	for (const char *p = f->said; *p; p++)
		assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(bad_syntax_is_told_with_its_line),
		FIXTURE_TEST(a_nul_byte_is_told),
		FIXTURE_TEST(what_stands_twice_in_one_file_is_told),
		FIXTURE_TEST(unknown_words_are_told),
		FIXTURE_TEST(section_names_are_checked),
		FIXTURE_TEST(very_long_section_names_are_refused_whole),
		FIXTURE_TEST(durations_need_units_and_sense),
		FIXTURE_TEST(thresholds_need_units_and_sense),
		FIXTURE_TEST(what_a_policy_needs_is_told),
		FIXTURE_TEST(targets_must_exist_and_fit_the_signal),
		FIXTURE_TEST(keys_of_another_signal_are_told),
		FIXTURE_TEST(of_must_not_be_the_target_or_everything),
		FIXTURE_TEST(policies_that_order_opposite_things_are_told_with_both_lines),
		FIXTURE_TEST(policies_in_a_row_order_nothing_opposite),
		FIXTURE_TEST(a_workload_is_one_thing_and_not_everything),
		FIXTURE_TEST(paths_are_checked),
		FIXTURE_TEST(each_item_of_a_list_is_told_with_its_own_line),
		FIXTURE_TEST(a_ladder_must_rise),
		FIXTURE_TEST(a_rung_above_max_hold_is_a_warning),
		FIXTURE_TEST(turns_are_for_those_who_thrash_together),
		FIXTURE_TEST(what_comes_later_is_refused_and_not_ignored),
		FIXTURE_TEST(what_comes_later_is_checked_all_the_same),
		FIXTURE_TEST(a_long_comm_is_a_warning),
		FIXTURE_TEST(more_cpus_than_there_are_is_a_warning),
		FIXTURE_TEST(all_errors_are_told),
		FIXTURE_TEST(an_error_names_the_file_where_the_value_stands),
		FIXTURE_TEST(a_value_that_is_replaced_may_be_wrong),
		FIXTURE_TEST(what_is_no_file_is_told),
		FIXTURE_TEST(a_fragment_that_cannot_be_read_is_told),
		FIXTURE_TEST(what_root_alone_may_read_is_told_to_others),
		FIXTURE_TEST(a_huge_file_is_refused),
		FIXTURE_TEST(too_many_sections_or_keys_are_told_once),
		FIXTURE_TEST(limits_of_the_other_metric_are_told),
		FIXTURE_TEST(more_than_the_senses_have_room_for_is_told_with_its_line),
		FIXTURE_TEST(a_long_only_is_told),
		FIXTURE_TEST(messages_are_one_clean_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
