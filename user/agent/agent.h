/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent wires sense, decide, act and tell to the event loop. This header is its inside, shared
 * by the files of this room only.
 *
 * How it flows: a sense's record arrives → policies.c steps the policies that it concerns → holds.c
 * turns a beginning or an end into claims of the act room → an event is queued → tell writes it
 * when the loop is idle. Nothing on that way allocates, logs or waits.
 */
#ifndef CULPRIT_AGENT_AGENT_H
#define CULPRIT_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/awaited.h"
#include "agent/checks.h"
#include "agent/spared.h"
#include "act/act.h"
#include "act/guardian.h"
#include "act/ledger.h"
#include "decide/config.h"
#include "decide/policy.h"
#include "decide/protect.h"
#include "decide/thrash.h"
#include "lib/cgroupfs.h"
#include "lib/clock.h"
#include "sense/census.h"
#include "sense/cpu.h"
#include "sense/delay.h"
#include "sense/gpu.h"
#include "sense/losses.h"
#include "sense/pins.h"
#include "sense/psi.h"
#include "sense/swap.h"
#include "sense/tree.h"
#include "tell/event.h"
#include "tell/feed.h"
#include "tell/held.h"
#include "tell/varlink.h"

/* While something is held or about to be released the loop looks this often, so that a release
 * comes within 100 ms of its time. */
#define TICK_NS (100 * NSEC_PER_MSEC)

#define MAX_HOLDERS 32 /* policies that hold one target at the same time */
#define MAX_SOURCES 8

#define DEGRADED_MAX 16
#define DEGRADED_LEN 256

/* How long something that the agent runs without stays so. */
enum degraded_for {
	DEGRADED_ALWAYS,  /* until the agent ends */
	DEGRADED_CONFIG,  /* until a new configuration is in force */
	DEGRADED_RELOAD,  /* likewise; it was told as an event already */
	DEGRADED_DEVICES, /* until all device nodes that are named are watched */
	DEGRADED_SOCKET,  /* while there is no control socket */
	DEGRADED_REMOVED, /* while the ledger is not where it was opened */
	DEGRADED_LEDGER,  /* until what an earlier agent held has been let go */
	DEGRADED_ONLY,	  /* until there is a cgroup that `only` names */
	DEGRADED_FROZEN,  /* while the file for monitoring cannot be written */
};

/* What the command line says; it beats the file, also after a reload. */
struct options {
	const char *config_file;
	bool config_required;
	bool shadow;
	const char *only, *state_dir, *socket, *pin_dir;
	int log_level; /* -1: not given */
	struct {
		const char *sense, *source;
	} sources[MAX_SOURCES];
	unsigned int n_sources;
};

enum sense_id {
	SENSE_CPU,
	SENSE_GPU,
	SENSE_SWAP,
	SENSE_CENSUS,
	SENSE_TREE,
	SENSE_DELAY,
	SENSES
};

struct agent_workload {
	const struct workload_config *config;
	/* The living cgroups that the workload names, not those below them. */
	struct tree_node **nodes;
	unsigned int n_nodes, cap_nodes;
	bool yields;   /* some policy acts on it */
	bool compared; /* some policy compares by use what it names */
};

/* What the record of a crossed delay says. */
struct delay_evidence {
	struct target waiter;
	uint64_t wait_ns; /* 0: there was no record */
	uint64_t woken, late;
};

struct thrash_turns;

struct agent_policy {
	const struct policy_config *config;
	struct policy_rule rule;
	struct policy_state state;
	double value;	   /* at the last step */
	uint64_t below_ns; /* the last step at which it was below leave; 0: none yet */
	uint64_t since_ms;
	bool paused;
	uint64_t paused_until_ns; /* 0: until resumed */
	bool waits;		  /* told: none of its targets is there */
	uint64_t waits_told_ns;
	int budget; /* CPU time: index of its budget, else -1 */
	int delay;  /* waits for a CPU: index of its budget, else -1 */
	bool deaf;  /* cpu: its budget is not armed for it */
	/* What the sense's last record said, for the event that may follow from it. */
	uint64_t record_ns; /* CLOCK_MONOTONIC in the kernel; 0: no record, the tick saw it */
	bool has_offender;
	struct target offender;
	struct delay_evidence waited;
	char device[CULPRIT_GPU_PATH_LEN];
	uint64_t devices;     /* gpu: which of the sense's devices are meant, by index */
	uint64_t hold_due_ns; /* gpu: when `hold` is over for the next holder; 0: for none */
	struct thrash_verdict verdict; /* thrash: of the last two looks */
	bool told_nobody;	       /* thrash: that nobody may be acted on, since it was quiet */
	struct thrash_turns *turns;    /* thrash_turns.c; NULL: its action is another */
	uint64_t selected_ns;	       /* when its last target was held; 0: none was so far */
	struct event_evidence evidence; /* of the last beginning */
};

/* A budget of the cpu or the delay sense: one watched set and window (of delays, and one pair of
 * limits), shared by the policies that name the same. */
struct agent_budget {
	bool used;
	bool was_used; /* by the configuration before */
	bool changed;  /* it sums something else than before */
	bool others, non_nice;
	const struct pattern *of; /* when not others; the configuration's */
	uint64_t left_out;	  /* struct policy_config's */
	uint64_t window_ns;
	uint64_t enter_ns, leave_ns; /* of delays */
};

struct holder {
	struct agent_policy *policy;
	enum claim_action first_action; /* what it wants done from the beginning on */
	enum claim_action action;	/* and now, as far as it has climbed its ladder */
	struct escalate_state escalate; /* counts from since_ns or the claim's start, the later */
	uint64_t since_ns;
	/* Thawed by hand: the policy keeps off this target until its signal has been quiet. */
	bool off;
	/* With `off`, of a policy that takes one target at a time: it could not be held, another
	 * was taken in its place, and it is asked again when the next one is. */
	bool passed;
	/* Someone else let the target go at that time, and it is left to them until the signal has
	 * been below leave; 0: nobody did, or the signal still speaks for freezing it again. */
	uint64_t left_ns;
};

/* One target that is held, by whom, and the claim that holds it. */
struct hold {
	bool used;
	struct target target;
	enum claim_action action; /* what was done, or tried */
	struct claim *claim;	  /* NULL: shadow mode, refused (error), or nobody wants it */
	bool shadow;		  /* told as done, and nothing was touched */
	int error;		  /* why there is no claim; told once */
	struct holder holders[MAX_HOLDERS];
	unsigned int n_holders;
	bool by_operator;
	uint64_t operator_until_ns; /* 0: until thawed */
	uint64_t free_until_ns;	    /* let go by hand for so long: nobody holds it; 0: no */
	uint64_t again_ns;	    /* thawed by others: not frozen again before this */
	uint64_t spared_until_ns;   /* protected: when to look at it again */
	uint64_t shadow_due_ns;	    /* shadow: when to look whether it could still be held */
	uint64_t record_ns; /* of the policy that led to the claim; 0: none, the tick saw it */
	uint64_t since_ms;
	uint64_t begun_ns; /* CLOCK_MONOTONIC: since when something has been done; 0: nothing is */
	char reason[CLAIM_REASON_LEN]; /* as it was when it began */
};

/* What a cgroup that some policy compares by use has used, with all below it, at two looks. */
struct target_use {
	uint64_t cgroup;
	uint64_t usec, at_ns;
	uint64_t before_usec, before_at_ns;
};

struct thrash_watch;
struct sampler;

struct agent {
	sd_event *event;
	struct options options;
	struct config *config;
	char *pin_dir;	     /* as it was at the start: the guardian keeps the pointer */
	unsigned int n_cpus; /* for messages; asked for once, because asking reads a file */

	bool started; /* false: what opening has made goes again */
	bool made_socket_dir;

	struct cgroupfs cgroups;
	struct ledger *ledger;
	unsigned int left; /* claims of an earlier agent that could not be undone so far */
	struct guardian *guardian;
	struct act *act;
	struct spared spared;
	struct checks checks;
	struct awaited awaited;
	struct pins *pins;
	struct losses *losses;

	struct tree *tree;
	struct census *census;
	struct cpu_sense *cpu;
	struct gpu_sense *gpu;
	struct swap_sense *swap;
	struct delay_sense *delay; /* NULL also when no policy needs it */
	sd_event_source *delay_source;
	uint64_t delay_missed;		     /* by those that were closed */
	struct sense_status missing[SENSES]; /* of those that could not be opened, or are off */

	struct events *events;
	struct feed *feed;
	struct varlink_server *server;

	struct agent_workload *workloads;
	unsigned int n_workloads;
	/* No policy can hold more. */
	struct target_use uses[CLAIM_MAX];
	unsigned int n_uses;
	struct agent_policy *policies;
	unsigned int n_policies;
	struct agent_budget budgets[CULPRIT_CPU_BUDGETS];
	unsigned int n_budgets; /* none above is in use */
	struct agent_budget delays[CULPRIT_DELAY_BUDGETS];
	unsigned int n_delays;
	struct hold holds[CLAIM_MAX];

	struct held held; /* what was frozen in the last minute */

	/* frozen_file.c: what the file for monitoring says, by claim and when it took hold */
	struct {
		struct frozen_entry {
			uint64_t id, since_ns;
		} entries[CLAIM_MAX];
		unsigned int n;
		bool left;	   /* it is an earlier agent's, which holds something still */
		uint64_t retry_ns; /* it could not be written; 0: it was */
	} frozen;

	struct thrash_watch *thrash; /* signal_thrash.c */
	struct sampler *sampler;     /* sampler.c */

	sd_event_source *timer; /* the tick or the pulse, whichever is due */
	sd_event_source *flush; /* defers the telling to an idle loop */
	uint64_t last_tick_ns, last_pulse_ns, last_settle_ns, last_settle_all_ns, last_sweep_ns;
	uint64_t started_ms, started_ns;
	uint64_t wakeups_start; /* voluntary context switches until the loop began */
	uint64_t pswpin_start;	/* /proc/vmstat when we started */
	struct {
		enum degraded_for as_long;
		char text[DEGRADED_LEN];
	} degraded[DEGRADED_MAX]; /* what it runs without, for status */
	unsigned int n_degraded;
	bool gpu_wanted;
	uint64_t settle_pause_ns; /* between two looks at those that are not settled */
	int devices_error; /* why not all device nodes that are named are watched; 0: they are */
	uint64_t last_devices_ns;	   /* when the device nodes were listed */
	bool nodes_changed;		   /* and some have come or gone since */
	sd_event_source *node_watches[16]; /* directories in which device nodes, or those of
					    * others, may appear; the first so many are in use */
};

/* open.c: opens all in order; what is open when it fails is closed by agent_close(), which lets
 * everything go first. Both tell what is wrong. 0 or -errno. */
int agent_open(struct agent *a);
void agent_close(struct agent *a);
/* Lets go what an earlier agent held; what the kernel does not take is tried again at each pulse.
 */
void agent_release_left(struct agent *a);

/* reload.c */
/* The configuration with what the command line says over it; guardian: 0 before there is one.
 * -EINVAL: errors, one line each in `lines` (unless NULL) and in the log. */
int config_of_options(const struct options *options, pid_t guardian, struct config **out,
		      json_t *lines);
/* Builds workloads and policies. 0 or -ENOMEM. */
int config_build(struct agent *a);
/* Once old states have been taken over: connects them with the senses. What a sense does not take
 * is told, and in status until the next reload. */
void config_connect(struct agent *a);
/* Reads the configuration again. Whatever it returns but 0, the old one stays in force whole;
 * -EINVAL: the new one has errors (one line each in `lines`, unless NULL). */
int agent_reload(struct agent *a, json_t *lines);

/* kin.c */
/* Tells of each workload that is some policy's target and has the agent, its guardian (0: there is
 * none yet) or whoever started them in it: as an error, or as a warning where it need not be the
 * agent who reads the configuration. 0, -EINVAL: told as an error; -ENOMEM. */
int kin_check(const struct config *config, pid_t guardian, bool refuse, config_message_fn message,
	      void *user);

/* agent.c */
int agent_run(const struct options *options);
/* Says once, in the log and from then on in `status`, what the agent runs without. */
__attribute__((format(printf, 2, 3))) void agent_degraded(struct agent *a, const char *format, ...);
__attribute__((format(printf, 3, 4))) void
agent_degraded_for(struct agent *a, enum degraded_for as_long, const char *format, ...);
void agent_degraded_end(struct agent *a, enum degraded_for as_long);
/* Says so while there is no cgroup that `only` names, for then nothing is acted on. */
void agent_check_only(struct agent *a);
/* Puts an event into the queue (shadow and time are filled in) and has it told soon. */
void agent_tell(struct agent *a, struct event *event);
/* An event that is about no target. */
__attribute__((format(printf, 3, 4))) void agent_tell_text(struct agent *a, enum event_kind kind,
							   const char *format, ...);
/* The loop with its timer, its signals and the event queue. 0 or -errno. */
int agent_open_loop(struct agent *a);
/* Sets the timer to when the policies next need a look. */
void agent_schedule(struct agent *a);
/* READY=1 for the service manager, with what is in force. */
void agent_notify_ready(const struct agent *a);

/* permission.c: false, and it has been said why, when this process may not */
bool permission_to_act(void);  /* freeze, signal, read the ledger: be root */
bool permission_to_load(void); /* that, and load BPF programs */

/* senses.c */
/* Has this sense a source of that name? If not, `hint` says which names there are. */
bool senses_known(const char *sense, const char *source, char *hint, size_t size);
int senses_open(struct agent *a);
struct sense_options senses_options(struct agent *a, enum sense_id id);
void senses_close(struct agent *a);
/* Tells the senses which process is the guardian now: it is no evidence against anyone. */
void senses_guardian(struct agent *a);
unsigned int senses_each(const struct agent *a, const struct sense_status **out, unsigned int max);
int senses_support(const struct options *options, bool json);

/* workloads.c: which cgroups the workloads name, which budgets each cgroup counts for */
int workloads_build(struct agent *a);
/* Sorts every living cgroup in, once policies and budgets are built. */
void workloads_sort_in(struct agent *a);
void workloads_free(struct agent *a);
/* Is it one that some policy acts on? */
bool workloads_yields(const struct agent *a, const struct tree_node *node);
void workloads_news(struct agent *a, enum tree_news news, struct tree_node *node);
struct agent_workload *workload_find(struct agent *a, const char *name);
bool workload_contains(const struct agent_workload *w, const char *cgroup_path);
void target_of_node(struct target *target, const struct tree_node *node);

/* policies.c: the policies' run-time */
int policies_build(struct agent *a);
/* Reload: a policy that keeps its name and its signal goes on as it was, with what it holds and
 * still names as its target; the rest is let go. */
void policies_inherit(struct agent *a, const struct config *old_config,
		      struct agent_policy *old_policies, unsigned int n_old);
void policies_free(struct agent *a);
/* Does it act on that? An offender is not named but found. */
bool policy_targets(const struct agent *a, const struct agent_policy *p,
		    const struct target *target);
enum claim_action policy_claim_action(const struct policy_config *config);
struct agent_policy *policy_find(struct agent *a, const char *name);
bool policy_holds(const struct agent_policy *p);
/* Steps one policy; begins or releases its holds. */
void policy_look(struct agent *a, struct agent_policy *p, double value, uint64_t now_ns);
/* What the policy knows now, for the event that follows. */
void policy_gather_evidence(struct agent *a, struct agent_policy *p);
/* All policies, with the values of now; the tick. The caller sets the timer afterwards: that looks
 * at each policy. */
void policies_tick(struct agent *a, uint64_t now_ns);
/* A cgroup has appeared: those that hold have it held, too, if it is their target. Looks at nothing
 * else, for there may be many of them. True: some policy does. */
bool policies_hold_node(struct agent *a, const struct tree_node *node);
/* By when the next look is due, UINT64_MAX: no need. */
uint64_t policies_next_ns(const struct agent *a);
void policy_pause(struct agent *a, struct agent_policy *p, uint64_t until_ns);
void policy_resume(struct agent *a, struct agent_policy *p);
/* Nothing that it could act on is there. */
bool policy_waits(const struct agent *a, const struct agent_policy *p);
const char *policy_state_name(const struct agent *a, const struct agent_policy *p);
const char *policy_unit_name(const struct agent_policy *p); /* what its value is in */

/* select_targets.c: policies that act on one of their targets at a time */
/* Holds the next one, if it is time for it. Allocates nothing. */
void select_targets(struct agent *a, struct agent_policy *p, uint64_t now_ns);

/* stop_targets.c: policies that stop the processes of their targets one by one */
bool stops_processes(const struct agent_policy *p);
/* Stops all that are in this cgroup and below it and are not stopped yet. 0: some are; else why
 * none is. */
int stop_workload(struct agent *a, struct agent_policy *p, const struct tree_node *node,
		  const char *reason);
/* Does the policy have a process stopped there? */
bool stop_holds_any(const struct agent *a, const struct agent_policy *p, const char *cgroup_path);
/* At each tick: stops who has come to those that it has chosen before, lets go who has left. */
void stop_go_on(struct agent *a, struct agent_policy *p);
/* The living process with this pid, as /proc has it. 0 or -errno. */
int target_of_pid(struct agent *a, pid_t pid, struct target *target);

/* target_use.c: how much CPU time those use that are compared, from cpu.stat, whatever the source
 * of the cpu sense is */
void target_use_add(struct agent *a, uint64_t cgroup);
void target_use_drop(struct agent *a, uint64_t cgroup);
void target_use_pulse(struct agent *a, uint64_t now_ns);
/* CPUs, over the last second or two, as of now; 0: not known. */
double target_use_now(struct agent *a, uint64_t cgroup, uint64_t now_ns);

/* hold_ladder.c */
enum claim_action claim_action_of(enum policy_action action, enum target_kind kind);

/* words.c: the sentences about a policy, for people. None of them blocks or allocates. */
/* Why it begins to hold: what was seen, of whom, against what. Of an offender thrash_offender.c
 * says it. */
void words_begin(const struct agent *a, const struct agent_policy *p, char *buf, size_t size);
/* Why it begins to hold this one of its targets. */
void words_select(const struct agent *a, const struct agent_policy *p,
		  const struct select_candidate *chosen, char *buf, size_t size);
/* Why it lets go. */
void words_end(const struct agent_policy *p, enum policy_verdict verdict, char *buf, size_t size);
/* What would make it let go. */
void words_undo(const struct agent_policy *p, char *buf, size_t size);
/* And when it does so at the latest; "" when nothing limits it. */
void words_latest(const struct agent_policy *p, char *buf, size_t size);
/* What it waits for, or what it is kept from; "" when it is quiet and nothing keeps it from
 * beginning. The policy's name goes before it. */
void words_next(const struct agent_policy *p, char *buf, size_t size);
/* A time that runs down, in whole seconds or minutes. Returns buf. */
const char *words_left(uint64_t left_ns, char *buf, size_t size);

/* signal_cpu.c */
void cpu_signal_crossing(void *agent, const struct culprit_cpu_crossing *crossing);
double cpu_signal_value(struct agent *a, struct agent_policy *p);
void cpu_signal_build(struct agent *a);
void cpu_signal_arm(struct agent *a, unsigned int budget);
/* Does the budget sum what the policy watches, over its window? */
bool budget_is_for(const struct agent_budget *b, const struct policy_config *p);
/* The task of a record as a target; its path is left to be found. */
void target_of_task(struct target *target, const struct culprit_task *task);

/* signal_delay.c: signal = cpu with metric = delay */
void delay_signal_crossing(void *agent, const struct culprit_delay_crossing *crossing);
double delay_signal_value(struct agent *a, struct agent_policy *p);
/* Loads the sense if some policy needs it, else closes it; before the cgroups are sorted in. What
 * follows is for when they are. */
void delay_signal_build(struct agent *a);
void delay_signal_start(struct agent *a);
/* Attaches it only while a policy that needs it is active. After a policy was paused or resumed. */
void delay_signal_want(struct agent *a);
void delay_signal_arm(struct agent *a, unsigned int budget);
void delay_signal_close(struct agent *a);
/* For --support: loads and attaches it as if there were such a policy. */
void delay_signal_try(struct agent *a);

/* signal_gpu.c */
void gpu_signal_change(void *agent, const struct gpu_change *change);
double gpu_signal_value(struct agent *a, struct agent_policy *p);
void gpu_signal_build(struct agent *a);
void gpu_signal_tick(struct agent *a, uint64_t now_ns);
uint64_t gpu_signal_next_ns(const struct agent *a);
/* Attaches what costs others something only while an active policy needs it. After a policy was
 * paused or resumed. */
void gpu_signal_want(struct agent *a);

/* gpu_nodes.c */
/* Lists the nodes that the policies name, and is told from then on when some come or go. Those in
 * directories beyond the first 16 are noticed when this is called again. */
void gpu_nodes_watch(struct agent *a);
/* When it is to be called again, if need be: and that call, once it is time. */
uint64_t gpu_nodes_next_ns(const struct agent *a);
void gpu_nodes_tick(struct agent *a, uint64_t now_ns);

/* signal_thrash.c */
void thrash_signal_crossing(void *agent, const struct culprit_swap_crossing *crossing);
double thrash_signal_value(struct agent *a, struct agent_policy *p);
int thrash_signal_open(struct agent *a);
void thrash_signal_build(struct agent *a);
void thrash_signal_free(struct agent *a);
/* Arms the sense, or disarms it. After a policy was paused or resumed. */
void thrash_signal_want(struct agent *a);
void thrash_signal_pulse(struct agent *a, uint64_t now_ns);
/* thrash_offender.c */
/* The numbers of the last two looks, without candidates. */
void thrash_signal_evidence(struct agent *a, struct agent_policy *p);
/* Finds the offender and holds it; called when a policy begins whose target is the offender. */
void thrash_signal_begin(struct agent *a, struct agent_policy *p);

/* holds.c */
/* Holds the target for the policy: a new claim, or one more holder of an old one. */
int hold_begin(struct agent *a, struct agent_policy *p, const struct target *target,
	       enum claim_action action, const char *reason);
/* The same for a policy that takes another one if it cannot have this one. 0: it is held; else it
 * is not, and the policy holds it no more than before, unless hold_must_wait(). */
int hold_try(struct agent *a, struct agent_policy *p, const struct target *target,
	     enum claim_action action, const char *reason);
/* Is this no fault of the target's? Then it is tried again, and another one would do no better. */
bool hold_must_wait(int error);
/* A policy that takes one at a time has done with what could not be held or has ended. */
void holds_drop_idle(struct agent *a, const struct agent_policy *p);
/* Holds it by hand until then (CLOCK_MONOTONIC; 0: until it is thawed), also what was to be left
 * alone. *out is the agent's. -ENOSPC: no room; -EALREADY: it is being ended; -EACCES: it is
 * protected; else as act_claim(). */
int hold_by_operator(struct agent *a, const struct target *target, uint64_t until_ns,
		     const char *reason, struct hold **out);
/* Lets it go, and keeps every policy off it until then, held now or not. -ENOSPC: no room to
 * remember that. */
int hold_free_by_operator(struct agent *a, const struct target *target, uint64_t until_ns);
/* After it was thawed by hand: the policy, which acts on what is in this cgroup one by one, keeps
 * off all of it until its signal has been quiet. -ENOSPC: no room to remember that. */
int hold_keep_off(struct agent *a, struct agent_policy *p, const struct target *cgroup);
/* Takes the policy off all its holds, or off one; undoes those that nobody holds any more. */
void holds_release(struct agent *a, struct agent_policy *p, const char *why);
void hold_leave(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why);
/* The same, but it keeps off the target until its signal has been quiet. */
void hold_step_back(struct agent *a, struct hold *h, const struct agent_policy *p, const char *why);
/* Reload: the new policy holds what the old one held and it still names, if its action is the same;
 * what was thawed by hand it keeps off. The rest is let go. */
void holds_inherit(struct agent *a, const struct agent_policy *old, struct agent_policy *p);
/* By hand: lets the target go; its policies keep off it until they have been quiet. */
void hold_release_one(struct agent *a, struct hold *h, const char *why);
void holds_release_all(struct agent *a, const char *why);
/* Lets go what is protected by now (see spared.h). */
void holds_release_spared(struct agent *a);
void holds_retry(struct agent *a, uint64_t now_ns);
/* Why act_claim() refused, in words. */
const char *hold_error_text(int error);

/* hold_table.c */
struct hold *hold_find(struct agent *a, const struct target *target);
bool holds_any(const struct agent *a);
/* Has shadow mode told of something that this policy would hold now? */
bool holds_shadow(const struct agent *a, const struct agent_policy *p);
/* Has an offender been asked to end, or been killed, and is not gone yet? Not one that does not end
 * even so. */
bool holds_end_offender(const struct agent *a);

/* Brings up to date what was frozen in the last minute; at each pulse, and before it is read. */
void holds_note_held(struct agent *a, uint64_t now_ns);

/* frozen_file.c: the file for monitoring (act/frozen.h). A disk is written to: in the idle loop, or
 * before and after it. */
/* Removes what a dead agent has left, once what it held was let go. */
void frozen_file_begin(struct agent *a);
/* Is something else held than the file says, or is it time to try again? Costs little. */
bool frozen_file_is_due(const struct agent *a);
void frozen_file_bring_up_to_date(struct agent *a);
/* What could not be let go stays in it, as in the ledger. */
void frozen_file_end(struct agent *a);

/* hold_news.c: the act room tells */
void holds_news(void *agent, enum act_news news, struct claim *claim);

/* top.c */
void top_answer(struct agent *a, struct varlink_call *call);

/* sampler.c: the looks from which top.c makes rates */
void sampler_free(struct agent *a);
void sampler_pulse(struct agent *a, uint64_t now_ns);
/* A cgroup was removed: its counters go to its parent's total. */
void sampler_forget(struct agent *a, struct tree_node *node);

/* control.c: the methods of io.culprit.Agent; report.c: the objects that they answer with */
#define NO_SUCH_TARGET "io.culprit.Agent.NoSuchTarget"
extern const struct varlink_method control_methods[];
/* Milliseconds from now as a time of CLOCK_MONOTONIC; 0 without them. False: out of range, and the
 * call is answered. */
bool control_until(struct varlink_call *call, bool given, int64_t for_ms, uint64_t *until_ns);
/* by_hand.c */
/* A cgroup's path without what people may write around it ("cgroup:" and slashes at its end), in
 * buf; any other name as it is. */
const char *control_cgroup_name(const char *name, char *buf, size_t size);
void control_freeze(void *agent, struct varlink_call *call, json_t *parameters);
void control_thaw(void *agent, struct varlink_call *call, json_t *parameters);
json_t *report_status(struct agent *a);
json_t *report_why(struct agent *a, const char *name, bool *known);
json_t *report_claim(const struct hold *h);
/* report_next.c: append sentences about what a policy waits for, and about who does not hold this
 * target and why */
void report_next_of_policy(const struct agent_policy *p, json_t *next);
void report_next_of_hold(const struct hold *h, json_t *next);
/* What is left alone by hand, and until when. */
json_t *report_free(const struct agent *a);
/* A time of CLOCK_MONOTONIC that is still to come, as Unix ms. */
json_int_t report_until_ms(uint64_t until_ns);

#endif
