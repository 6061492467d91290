// SPDX-License-Identifier: GPL-2.0-or-later
/* The cpu sense in the running kernel. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/procfs.h"
#include "live.h"
#include "sense/cpu.h"
#include "sense/cpu_source.h"

#define MS NSEC_PER_MSEC

/* What the sense told us. */
struct heard {
	unsigned int crossings;
	struct culprit_cpu_crossing last;
};

static void on_crossing(void *user, const struct culprit_cpu_crossing *crossing)
{
	struct heard *heard = user;

	heard->crossings++;
	heard->last = *crossing;
}

static void closecpup(struct cpu_sense **cpu)
{
	cpu_close(*cpu);
}

#define _cleanup_cpu_ _cleanup_(closecpup)

static struct cpu_sense *open_rung(const char *source, struct heard *heard)
{
	struct sense_options options = { .source = source, .losses_fd = -1 };
	struct cpu_sense *cpu = NULL;
	int r = cpu_open(&cpu, &options, on_crossing, heard);

	if (r < 0)
		fail_msg("cpu_open(%s): %s", source ? source : "best", strerror(-r));
	return cpu;
}

static void watch(struct cpu_sense *cpu, uint64_t cgroup, uint16_t budget)
{
	assert_int_equal(cpu_watch(cpu, cgroup, &budget, 1), 0);
}

struct waiting {
	struct cpu_sense *cpu;
	struct heard *heard;
	unsigned int wanted;
};

static bool has_crossed(void *arg)
{
	struct waiting *waiting = arg;
	struct pollfd pollfd = { .fd = cpu_fd(waiting->cpu), .events = POLLIN };

	if (poll(&pollfd, 1, 0) > 0)
		assert_true(cpu_dispatch(waiting->cpu) >= 0);
	return waiting->heard->crossings >= waiting->wanted;
}

static bool crosses(struct cpu_sense *cpu, struct heard *heard, unsigned int wanted,
		    unsigned int timeout_ms)
{
	struct waiting waiting = { cpu, heard, wanted };

	return live_until(has_crossed, &waiting, timeout_ms);
}

struct finding {
	uint64_t cgroup;
	uint32_t tgid;
	bool found;
	struct cpu_cgroup_use cgroup_use;
	struct cpu_process_use process_use;
};

static void find_cgroup(void *user, const struct cpu_cgroup_use *use)
{
	struct finding *finding = user;

	if (use->cgroup == finding->cgroup) {
		finding->found = true;
		finding->cgroup_use = *use;
	}
}

static void find_process(void *user, const struct cpu_process_use *use)
{
	struct finding *finding = user;

	if (use->tgid == finding->tgid) {
		finding->found = true;
		finding->process_use = *use;
	}
}

static struct cpu_cgroup_use cgroup_use(struct cpu_sense *cpu, uint64_t id)
{
	struct finding finding = { .cgroup = id };

	assert_int_equal(cpu_each_cgroup(cpu, find_cgroup, &finding), 0);
	return finding.cgroup_use;
}

static bool process_use(struct cpu_sense *cpu, pid_t pid, struct cpu_process_use *use)
{
	struct finding finding = { .tgid = (uint32_t)pid };

	assert_int_equal(cpu_each_process(cpu, find_process, &finding), 0);
	*use = finding.process_use;
	return finding.found;
}

static uint64_t cpu_stat_ns(const char *name)
{
	return live_cgroup_key(name, "cpu.stat", "usage_usec") * NSEC_PER_USEC;
}

/*
 * What we say of a cgroup against what the kernel says. A process that was reaped still has its
 * last steps to take, whenever it comes to run, and what it used is written when it has: so the two
 * are asked until they agree. Time that is lost, or counted twice, stays so.
 */
struct comparison {
	uint64_t (*ours_ns)(struct comparison *c);
	struct cpu_sense *cpu;
	const char *name; /* of the cgroup; NULL: it has gone, kernels_ns is known */
	uint64_t id;
	unsigned int budget;
	uint64_t ppm; /* tolerated; besides, cpu.stat rounds to microseconds */
	uint64_t sum_ns, kernels_ns;
};

static bool agrees(void *arg)
{
	struct comparison *c = arg;
	uint64_t apart;

	c->sum_ns = c->ours_ns(c);
	if (c->name)
		c->kernels_ns = cpu_stat_ns(c->name);
	apart = c->sum_ns > c->kernels_ns ? c->sum_ns - c->kernels_ns : c->kernels_ns - c->sum_ns;
	return apart <= 2 * NSEC_PER_USEC + c->kernels_ns / 1000000 * c->ppm;
}

static void assert_agrees(struct comparison *c)
{
	if (!live_until(agrees, c, 3000))
		fail_msg("ours %llu ns, cpu.stat %llu ns", (unsigned long long)c->sum_ns,
			 (unsigned long long)c->kernels_ns);
}

static uint64_t counted_ns(struct comparison *c)
{
	return cgroup_use(c->cpu, c->id).used_ns;
}

static uint64_t budgeted_ns(struct comparison *c)
{
	uint64_t used_ns;

	assert_int_equal(cpu_value(c->cpu, c->budget, &used_ns), 0);
	return used_ns;
}

static uint64_t forgotten_ns(struct comparison *c)
{
	struct cpu_cgroup_use last;

	assert_int_equal(cpu_forget_cgroup(c->cpu, c->id, &last), 0);
	return c->sum_ns + last.used_ns;
}

static void assert_counts_right(struct cpu_sense *cpu, uint64_t id, const char *name, uint64_t ppm)
{
	assert_agrees(&(struct comparison){ counted_ns, cpu, name, id, .ppm = ppm });
}

static void assert_budget_right(struct cpu_sense *cpu, unsigned int budget, const char *name)
{
	assert_agrees(
		&(struct comparison){ budgeted_ns, cpu, name, .budget = budget, .ppm = 1000 });
}

static void pin_to(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(pid, sizeof(set), &set), 0);
}

static int last_cpu(void)
{
	return (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
}

/* --- loads ------------------------------------------------------------------------------------ */

static int fork_many(void *count)
{
	for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			for (volatile int j = 0; j < 20000; j++)
				;
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return 0;
}

static int hop_between_cpus(void *milliseconds)
{
	uint64_t end = monotonic_ns() + (uintptr_t)milliseconds * MS;
	int cpus = last_cpu() + 1;

	for (int i = 0; monotonic_ns() < end; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i % cpus, &set);
		sched_setaffinity(0, sizeof(set), &set);
		for (volatile int j = 0; j < 20000; j++)
			;
	}
	return 0;
}

static int spin_niced(void *milliseconds)
{
	setpriority(PRIO_PROCESS, 0, 5);
	return load_spin_ms(milliseconds);
}

/* --- counting --------------------------------------------------------------------------------- */

static void time_of_a_cgroup_is_what_cpu_stat_says(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("agree");
	pid_t spinner, forker, hopper;

	(void)state;
	spinner = live_fork("agree", load_spin, NULL);
	forker = live_fork("agree", fork_many, (void *)2000);
	hopper = live_fork("agree", hop_between_cpus, (void *)1500);
	assert_int_equal(live_wait(forker), 0);
	assert_int_equal(live_wait(hopper), 0);
	live_kill(spinner);
	assert_counts_right(cpu, id, "agree", 200);
	assert_int_equal(cpu_missed(cpu), 0);
	live_rmdir("agree");
}

static void a_moved_task_is_charged_to_the_cgroup_it_is_in(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t from = live_cgroup("from"), to = live_cgroup("to");
	pid_t spinner = live_fork("from", load_spin_ms, (void *)300);
	char pid[16];

	(void)state;
	snprintf(pid, sizeof(pid), "%d", (int)spinner);
	for (int i = 0; i < 40; i++) {
		_cleanup_close_ int dir =
			cgroupfs_open_path(live_fs(), live_path(i % 2 ? "from" : "to"));

		assert_int_equal(cgroupfs_write(dir, "cgroup.procs", pid), 0);
		usleep(3000);
	}
	assert_int_equal(live_wait(spinner), 0);
	assert_counts_right(cpu, from, "from", 1000);
	assert_counts_right(cpu, to, "to", 1000);
	live_rmdir("from");
	live_rmdir("to");
}

struct named {
	struct cpu_sense *cpu;
	pid_t pid;
};

/* The fork and the joining were booked elsewhere. */
static bool has_all_of_its_cgroup(void *named)
{
	const struct named *n = named;
	struct cpu_process_use use;

	return process_use(n->cpu, n->pid, &use) && use.used_ns >= cpu_stat_ns("named");
}

/* Its name is the one after exec, its time includes what it used before. */
static void a_process_is_named_and_timed(void **state)
{
	char *argv[] = { "sh", "-c",
			 "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000",
			 NULL };
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("named");
	pid_t pid = live_exec("named", NULL, argv);
	struct cpu_process_use use;
	struct proc_stat st;

	(void)state;
	do {
		usleep(1000);
		assert_int_equal(proc_read_stat(pid, &st), 0);
	} while (st.state != 'S' || strcmp(st.comm, "sleep") != 0);
	assert_true(process_use(cpu, pid, &use));
	assert_string_equal(use.comm, "sleep");
	assert_true(use.cgroup == id);
	assert_false(use.kernel_thread);
	assert_true(proc_same_start(use.start_time_ns, st.start_ticks));
	assert_true(use.used_ns >= 10 * MS);
	/* It says that it sleeps a moment before it leaves its CPU, and is charged for that. */
	assert_true(live_until(has_all_of_its_cgroup, &(struct named){ cpu, pid }, 1000));
	live_kill(pid);
	live_rmdir("named");
}

static void kernel_threads_are_told_apart(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("busy");
	pid_t pid = live_fork("busy", fork_many, (void *)200);

	(void)state;
	assert_int_equal(live_wait(pid), 0);
	/* RCU and softirq threads work for everything that ends; they live in the root. */
	assert_true(cgroup_use(cpu, live_fs()->root_id).kernel_ns > 0);
	assert_int_equal(cgroup_use(cpu, id).kernel_ns, 0);
	live_rmdir("busy");
}

/* --- entries ---------------------------------------------------------------------------------- */

static int process_map(void)
{
	uint32_t id = 0;
	int newest = -1;

	while (bpf_map_get_next_id(id, &id) == 0) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);

		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
		    strcmp(info.name, "process_cpu") == 0) {
			if (newest >= 0)
				close(newest);
			newest = fd;
		} else if (fd >= 0) {
			close(fd);
		}
	}
	assert_true(newest >= 0);
	return newest;
}

/* A pid that no process has. */
static pid_t dead_pid(void)
{
	pid_t pid = live_fork(NULL, load_spin_ms, (void *)0);

	live_wait(pid);
	return pid;
}

static void leave_entry(uint32_t tgid)
{
	struct culprit_cpu_process old = { .start_time_ns = 1, .used_ns = 5 * NSEC_PER_SEC };
	_cleanup_close_ int fd = process_map();

	assert_int_equal(bpf_map_update_elem(fd, &tgid, &old, BPF_ANY), 0);
}

struct gone {
	struct cpu_sense *cpu;
	pid_t pid;
};

static bool is_gone(void *arg)
{
	const struct gone *gone = arg;
	struct cpu_process_use use;

	return !process_use(gone->cpu, gone->pid, &use);
}

static void the_entry_of_a_process_goes_with_it(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	pid_t pid = live_fork(NULL, load_spin, NULL);
	struct gone gone = { cpu, pid };
	struct cpu_process_use use;

	(void)state;
	while (!process_use(cpu, pid, &use) || use.used_ns < 5 * MS)
		usleep(1000);
	live_kill(pid);
	assert_true(live_until(is_gone, &gone, 2000));
}

static void a_sweep_removes_what_was_left(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	struct cpu_process_use use;
	pid_t pid = dead_pid();

	(void)state;
	leave_entry((uint32_t)pid);
	assert_true(process_use(cpu, pid, &use));
	cpu_sweep(cpu);
	assert_false(process_use(cpu, pid, &use));
	assert_true(process_use(cpu, getpid(), &use));
}

static void a_reused_pid_starts_anew(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	pid_t pid = dead_pid(), child;
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uintptr_t)&pid,
				   .set_tid_size = 1 };
	uint64_t deadline = monotonic_ns() + 10 * NSEC_PER_SEC;
	struct cpu_process_use use;

	(void)state;
	leave_entry((uint32_t)pid);
	child = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (child == 0)
		_exit(load_spin_ms((void *)1000000));
	assert_int_equal(child, pid);
	do {
		if (!process_use(cpu, pid, &use))
			break;
	} while ((use.start_time_ns == 1 || use.used_ns < 5 * MS) && monotonic_ns() < deadline);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_true(use.start_time_ns > 1);
	assert_true(use.used_ns >= 5 * MS);
	assert_true(use.used_ns < 4 * NSEC_PER_SEC);
}

static void a_forgotten_cgroup_gives_its_last_counters(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("forget");
	pid_t pid = live_fork("forget", load_spin_ms, (void *)20);
	struct comparison c = { forgotten_ns, cpu, .id = id, .ppm = 1000 };
	struct cpu_cgroup_use last;

	(void)state;
	assert_int_equal(live_wait(pid), 0);
	assert_counts_right(cpu, id, "forget", 1000);
	c.kernels_ns = cpu_stat_ns("forget");
	live_rmdir("forget");
	assert_agrees(&c);
	assert_int_equal(cgroup_use(cpu, id).cgroup, 0);
	assert_int_equal(cpu_forget_cgroup(cpu, id, &last), 0);
	assert_int_equal(last.used_ns, 0);
}

/* As with a task that is still ending when its cgroup has been removed and forgotten. */
static void what_comes_after_a_cgroup_was_forgotten_is_kept(void **state)
{
	static const struct timespec moment = { .tv_nsec = 5 * NSEC_PER_MSEC };
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("late");
	pid_t pid = live_fork("late", load_spin_ms, (void *)200);
	struct comparison c = { forgotten_ns, cpu, "late", id, .ppm = 1000 };

	(void)state;
	for (int i = 0; i < 40; i++) {
		nanosleep(&moment, NULL);
		c.sum_ns = forgotten_ns(&c);
	}
	assert_int_equal(live_wait(pid), 0);
	assert_agrees(&c);
	live_rmdir("late");
}

static int losses_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "losses", sizeof(uint32_t),
				sizeof(struct culprit_losses), 1, NULL);

	assert_true(fd >= 0);
	return fd;
}

static bool has_lost(void *losses_fd)
{
	struct culprit_losses losses;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(*(int *)losses_fd, &zero, &losses), 0);
	return losses.cpu_cgroup_full > 0 && losses.cpu_process_full > 0;
}

static void full_tables_are_counted_losses(void **state)
{
	_cleanup_close_ int losses_fd = losses_map();
	const struct sense_options options = { .source = cpu_sources[0], .losses_fd = losses_fd };
	const struct cpu_sizes sizes = { .cgroups = 2, .processes = 2 };
	_cleanup_cpu_ struct cpu_sense *cpu = NULL;
	pid_t pids[4];
	char name[16];

	(void)state;
	assert_int_equal(cpu_open_sized(&cpu, &options, &sizes, on_crossing, NULL), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++) {
		snprintf(name, sizeof(name), "full%u", i);
		live_cgroup(name);
		pids[i] = live_fork(name, load_spin, NULL);
	}
	assert_true(live_until(has_lost, &losses_fd, 10000));
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++) {
		live_kill(pids[i]);
		snprintf(name, sizeof(name), "full%u", i);
		live_rmdir(name);
	}
}

/* --- budgets ---------------------------------------------------------------------------------- */

/* What was used when a task that runs alone crossed a budget of 50 ms. */
static uint64_t used_at_crossing(uint64_t id)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	pid_t pid;

	assert_int_equal(cpu_set_budget(cpu, 3, NSEC_PER_SEC, 50 * MS, false), 0);
	watch(cpu, id, 3);
	/* Nothing else may come between on a crowded machine. */
	pid = live_fork("lone", load_spin, NULL);
	pin_to(pid, last_cpu());
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)pid, -20), 0);
	assert_true(crosses(cpu, &heard, 1, 2000));
	assert_int_equal(heard.last.budget, 3);
	assert_int_equal(heard.last.task.tgid, pid);
	assert_true(heard.last.task.cgroup == id);
	assert_true(heard.last.used_ns >= 50 * MS);
	/* It ran a little before it joined the cgroup. */
	assert_true(heard.last.task_used_ns >= heard.last.used_ns);
	/* A tick may have come between reading the one and the other. */
	assert_true(heard.last.cgroup_used_ns >= heard.last.used_ns);
	assert_true(heard.last.cgroup_used_ns < heard.last.used_ns + 80 * MS);
	live_kill(pid);
	return heard.last.used_ns;
}

static void a_task_that_never_switches_crosses_at_a_tick(void **state)
{
	uint64_t used_ns = UINT64_MAX;

	(void)state;
	/* A tick is 10 ms at most (HZ=100), unless the machine below stands still. */
	for (int i = 0; i < 3 && used_ns >= 80 * MS; i++) {
		used_ns = used_at_crossing(live_cgroup("lone"));
		live_rmdir("lone");
	}
	assert_true(used_ns < 80 * MS);
}

/* Spins until it has used what arg points to, notes there the last moment at which it had not
 * (taken before its own clock is read, so that standing still in between changes nothing), and uses
 * as much again: the time before it joined its cgroup is not in the budget. */
static int spin_past(void *arg)
{
	volatile uint64_t *ns = arg;
	uint64_t begin_ns = *ns, used_ns, now_ns;
	struct timespec ts;

	do {
		now_ns = monotonic_ns();
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
		used_ns = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
		if (used_ns < begin_ns)
			*ns = now_ns;
	} while (used_ns < begin_ns);
	return load_spin_ms((void *)(2 * begin_ns / NSEC_PER_MSEC));
}

/* Where the kernel has timers for BPF programs; elsewhere the sense has to say that it cannot. */
static void a_lone_task_crosses_between_two_ticks(void **state)
{
	enum {
		N = 15,
		BUDGET_MS = 30
	};
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	volatile uint64_t *ns =
		mmap(NULL, sizeof(*ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pollfd pollfd = { .fd = cpu_fd(cpu), .events = POLLIN };
	const struct sched_param first = { .sched_priority = 1 };
	unsigned int between = 0;
	struct timespec tick;

	(void)state;
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_timer_start, NULL) <= 0) {
		assert_non_null(cpu_status(cpu)->blind[0]);
		return;
	}
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	watch(cpu, live_cgroup("alone"), 0);
	for (unsigned int i = 0; i < N; i++) {
		/* All begin at the same moment between two ticks. */
		uint64_t budget_ns = BUDGET_MS * MS + i * (uint64_t)tick.tv_nsec / N;
		pid_t pid;

		/* Another window is a new sum. */
		assert_int_equal(cpu_set_budget(cpu, 0, NSEC_PER_SEC + i * CULPRIT_CPU_SLOTS,
						budget_ns, false),
				 0);
		*ns = budget_ns;
		pid = live_fork("alone", spin_past, (void *)ns);
		pin_to(pid, last_cpu());
		/* Whoever else is on its CPU would make it switch, and be charged. */
		assert_int_equal(sched_setscheduler(pid, SCHED_FIFO, &first), 0);
		/* Asleep: a test that looks again and again makes the task switch. */
		assert_int_equal(poll(&pollfd, 1, 2000), 1);
		assert_true(cpu_dispatch(cpu) >= 0);
		assert_int_equal(heard.crossings, i + 1);
		assert_true(heard.last.used_ns >= heard.last.threshold_ns);
		assert_int_equal(heard.last.task.tgid, (uint32_t)pid);
		assert_int_equal(live_wait(pid), 0);
		/* Nor too soon: its own clock began before it joined the cgroup. */
		assert_true(heard.last.time_ns + (uint64_t)tick.tv_nsec / 4 > *ns);
		between += heard.last.running_ns > 0;
	}
	if (between < N * 2 / 3)
		fail_msg("%u of %u crossings were seen between two ticks", between, N);
	live_rmdir("alone");
}

static void a_budget_crosses_again_only_when_armed_again(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("arm");
	pid_t pid;

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 0, 500 * MS, 20 * MS, false), 0);
	watch(cpu, id, 0);
	pid = live_fork("arm", load_spin, NULL);
	assert_true(crosses(cpu, &heard, 1, 2000));
	assert_false(crosses(cpu, &heard, 2, 300));
	assert_int_equal(cpu_arm(cpu, 0, 20 * MS), 0);
	assert_true(crosses(cpu, &heard, 2, 1000));
	live_kill(pid);
	live_rmdir("arm");
}

static void a_cgroup_made_later_counts_for_its_nearest_known_ancestors_budget(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	pid_t pid;

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 1, 10 * NSEC_PER_SEC, 30 * MS, false), 0);
	watch(cpu, live_cgroup("top"), 1);
	live_cgroup("top/made/later");
	pid = live_fork("top/made/later", load_spin_ms, (void *)60);
	assert_int_equal(live_wait(pid), 0);
	assert_true(crosses(cpu, &heard, 1, 1000));
	assert_budget_right(cpu, 1, "top/made/later");
	live_rmdir("top/made/later");
	live_rmdir("top/made");
	live_rmdir("top");
}

static void every_burst_crosses_whenever_it_comes(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 2, 800 * MS, 15 * MS, false), 0);
	watch(cpu, live_cgroup("burst"), 2);
	for (unsigned int i = 0; i < 5; i++) {
		pid_t pid = live_fork("burst", load_spin_ms, (void *)50);

		assert_int_equal(live_wait(pid), 0);
		assert_true(crosses(cpu, &heard, i + 1, 500));
		/* An odd distance, so that the bursts fall differently into any fixed raster. */
		usleep(850000 + 37000 * i);
		assert_int_equal(cpu_arm(cpu, 2, 15 * MS), 0);
	}
	live_rmdir("burst");
}

static bool nothing_is_used(void *arg)
{
	uint64_t used_ns;

	return cpu_value(arg, 0, &used_ns) == 0 && used_ns == 0;
}

static void the_window_slides_past_what_is_old(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t used_ns;
	pid_t pid;

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 0, NSEC_PER_SEC, 30 * MS, false), 0);
	watch(cpu, live_cgroup("slide"), 0);
	pid = live_fork("slide", load_spin_ms, (void *)50);
	assert_true(crosses(cpu, &heard, 1, 2000));
	assert_int_equal(cpu_value(cpu, 0, &used_ns), 0);
	/* What it has run since the last tick is not in it yet. */
	assert_true(used_ns >= 20 * MS);
	assert_int_equal(live_wait(pid), 0);
	/* The passing of time is what is tested. The last stint of a process can come after its
	 * end was told, as late as a busy machine likes. */
	assert_true(live_until(nothing_is_used, cpu, 1500));
	live_rmdir("slide");
}

static void the_agent_does_not_count_for_a_budget(void **state)
{
	struct sense_options options = { .losses_fd = -1 };
	uint64_t id = live_cgroup("agent");
	pid_t pid = live_fork("agent", load_spin, NULL);
	_cleanup_cpu_ struct cpu_sense *cpu = NULL;
	uint64_t used_ns;

	(void)state;
	options.agent_pid = pid;
	assert_int_equal(cpu_open(&cpu, &options, on_crossing, NULL), 0);
	assert_int_equal(cpu_set_budget(cpu, 0, NSEC_PER_SEC, NSEC_PER_SEC, false), 0);
	watch(cpu, id, 0);
	while (cgroup_use(cpu, id).used_ns < 50 * MS)
		usleep(1000);
	assert_int_equal(cpu_value(cpu, 0, &used_ns), 0);
	assert_int_equal(used_ns, 0);
	live_kill(pid);
	live_rmdir("agent");
}

static void a_guardian_that_took_over_does_not_count_either(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("guardian"), used_ns, charged_ns;
	pid_t pid;

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 0, 10 * NSEC_PER_SEC, 10 * NSEC_PER_SEC, false), 0);
	watch(cpu, id, 0);
	pid = live_fork("guardian", load_spin, NULL);
	cpu_set_guardian(cpu, pid);
	assert_int_equal(cpu_value(cpu, 0, &used_ns), 0);
	charged_ns = cgroup_use(cpu, id).used_ns;
	while (cgroup_use(cpu, id).used_ns < charged_ns + 50 * MS)
		usleep(1000);
	/* What was under way between the first look and the word about it is a few ticks. */
	assert_int_equal(cpu_value(cpu, 0, &charged_ns), 0);
	assert_true(charged_ns - used_ns < 20 * MS);
	live_kill(pid);
	live_rmdir("guardian");
}

static void niced_tasks_do_not_count_where_they_should_not(void **state)
{
	const uint16_t budgets[] = { 0, 1 };
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("nice"), nonnice_ns;
	pid_t pid;

	(void)state;
	assert_int_equal(cpu_set_budget(cpu, 0, 10 * NSEC_PER_SEC, NSEC_PER_SEC, true), 0);
	assert_int_equal(cpu_set_budget(cpu, 1, 10 * NSEC_PER_SEC, NSEC_PER_SEC, false), 0);
	assert_int_equal(cpu_watch(cpu, id, budgets, 2), 0);
	pid = live_fork("nice", spin_niced, (void *)60);
	assert_int_equal(live_wait(pid), 0);
	assert_int_equal(cpu_value(cpu, 0, &nonnice_ns), 0);
	/* It took a moment to become nice. */
	assert_true(nonnice_ns < 10 * MS);
	assert_budget_right(cpu, 1, "nice");
	live_rmdir("nice");
}

static void watching_loses_no_time_of_a_busy_cgroup(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	uint64_t id = live_cgroup("watched");
	pid_t forker = live_fork("watched", fork_many, (void *)300);
	pid_t spinner = live_fork("watched", load_spin_ms, (void *)200);

	(void)state;
	for (uint16_t i = 0; i < 20000; i++)
		watch(cpu, id, i % 8);
	assert_int_equal(live_wait(spinner), 0);
	assert_int_equal(live_wait(forker), 0);
	assert_counts_right(cpu, id, "watched", 200);
	live_rmdir("watched");
}

static void what_cannot_be_is_refused(void **state)
{
	const uint16_t many[CULPRIT_CPU_BUDGETS_PER_CGROUP + 1] = { 0 };
	const uint16_t beyond = CULPRIT_CPU_BUDGETS;
	struct sense_options options = { .source = "crystal ball", .losses_fd = -1 };
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);
	struct cpu_sense *none = NULL;
	uint64_t used_ns;

	(void)state;
	assert_int_equal(cpu_open(&none, &options, on_crossing, NULL), -EINVAL);
	assert_int_equal(cpu_set_budget(cpu, CULPRIT_CPU_BUDGETS, MS, MS, false), -EINVAL);
	assert_int_equal(cpu_set_budget(cpu, 0, 15, MS, false), -EINVAL);
	assert_int_equal(cpu_arm(cpu, 7, MS), -EINVAL);
	assert_int_equal(cpu_value(cpu, 7, &used_ns), -EINVAL);
	assert_int_equal(cpu_watch(cpu, 1, many, CULPRIT_CPU_BUDGETS_PER_CGROUP + 1), -E2BIG);
	assert_int_equal(cpu_watch(cpu, 1, &beyond, 1), -EINVAL);
}

/* --- rungs ------------------------------------------------------------------------------------ */

/* One switch in a thousand is not delivered here, and what ran up to it is lost to the rungs that
 * see nothing else; on a quiet machine that may be all that a process ever ran. */
static int spin_in_many_stints(void *stints)
{
	for (uintptr_t i = 1; i <= (uintptr_t)stints; i++) {
		(void)load_spin_ms((void *)(5 * i));
		usleep(100);
	}
	return 0;
}

static void every_rung_counts_and_crosses(void **state)
{
	(void)state;
	for (const char *const *source = cpu_sources; *source; source++) {
		struct heard heard = { 0 };
		_cleanup_cpu_ struct cpu_sense *cpu = open_rung(*source, &heard);
		uint64_t id = live_cgroup("rung");
		pid_t pid;

		assert_string_equal(cpu_status(cpu)->source, *source);
		assert_int_equal(cpu_set_budget(cpu, 0, 2 * NSEC_PER_SEC, 50 * MS, false), 0);
		watch(cpu, id, 0);
		pid = live_fork("rung", spin_in_many_stints, (void *)30);
		assert_int_equal(live_wait(pid), 0);
		if (!crosses(cpu, &heard, 1, 1500))
			fail_msg("%s: no crossing", *source);
		assert_true(heard.last.task.cgroup == id);
		assert_counts_right(cpu, id, "rung", 50000);
		live_rmdir("rung");
	}
}

/* A child that spins and has the same place as this process in the cache of a CPU. */
static pid_t fork_neighbour(void)
{
	pid_t pid;

	while ((pid = live_fork("neighbour", load_spin, NULL)) % CULPRIT_CPU_PENDING_SLOTS !=
	       getpid() % CULPRIT_CPU_PENDING_SLOTS)
		live_kill(pid);
	return pid;
}

static void a_busy_process_with_our_place_in_the_cache_hides_no_rung(void **state)
{
	cpu_set_t before, one;
	pid_t pid;

	(void)state;
	live_cgroup("neighbour");
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	pid = fork_neighbour();
	for (int i = 0; i < 3; i++) {
		struct heard heard = { 0 };

		cpu_close(open_rung(CPU_SOURCE_BEST, &heard));
		cpu_close(open_rung(CPU_SOURCE_SWITCH, &heard));
		cpu_close(open_rung(CPU_SOURCE_RAW, &heard));
	}
	live_kill(pid);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	live_rmdir("neighbour");
}

static void the_best_rung_is_chosen_and_says_so(void **state)
{
	struct heard heard = { 0 };
	_cleanup_cpu_ struct cpu_sense *cpu = open_rung(NULL, &heard);

	(void)state;
	assert_string_equal(cpu_status(cpu)->name, "cpu");
	assert_string_equal(cpu_status(cpu)->source, cpu_sources[0]);
	assert_string_equal(cpu_status(cpu)->why, "");
	assert_null(cpu_status(cpu)->blind[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_of_a_cgroup_is_what_cpu_stat_says),
		cmocka_unit_test(a_moved_task_is_charged_to_the_cgroup_it_is_in),
		cmocka_unit_test(a_process_is_named_and_timed),
		cmocka_unit_test(kernel_threads_are_told_apart),
		cmocka_unit_test(the_entry_of_a_process_goes_with_it),
		cmocka_unit_test(a_sweep_removes_what_was_left),
		cmocka_unit_test(a_reused_pid_starts_anew),
		cmocka_unit_test(a_forgotten_cgroup_gives_its_last_counters),
		cmocka_unit_test(what_comes_after_a_cgroup_was_forgotten_is_kept),
		cmocka_unit_test(full_tables_are_counted_losses),
		cmocka_unit_test(a_task_that_never_switches_crosses_at_a_tick),
		cmocka_unit_test(a_lone_task_crosses_between_two_ticks),
		cmocka_unit_test(a_budget_crosses_again_only_when_armed_again),
		cmocka_unit_test(a_cgroup_made_later_counts_for_its_nearest_known_ancestors_budget),
		cmocka_unit_test(every_burst_crosses_whenever_it_comes),
		cmocka_unit_test(the_window_slides_past_what_is_old),
		cmocka_unit_test(the_agent_does_not_count_for_a_budget),
		cmocka_unit_test(a_guardian_that_took_over_does_not_count_either),
		cmocka_unit_test(niced_tasks_do_not_count_where_they_should_not),
		cmocka_unit_test(watching_loses_no_time_of_a_busy_cgroup),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(every_rung_counts_and_crosses),
		cmocka_unit_test(a_busy_process_with_our_place_in_the_cache_hides_no_rung),
		cmocka_unit_test(the_best_rung_is_chosen_and_says_so),
	};

	return cmocka_run_group_tests(tests, live_setup, live_teardown);
}
