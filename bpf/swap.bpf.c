// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who swaps in, page by page: each event is booked to the process that is running, which is the one
 * that needs the page, and to its v2 cgroup. Reclaim that swaps out is booked to the reclaimer.
 * User space loads the programs of one rung; all of them end in account().
 */
#include "compat.bpf.h"
#include "losses.bpf.h"
#include "culprit/swap.h"

/* bpf_tracing.h wants the registers of a kprobe under their user space names. */
#include <asm/ptrace.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define MAX_PROCESSES 16384
#define MAX_CGROUPS   16384
#define MAX_MMS	      8192

/* What swap_arm() asks for. Written by user space alone. */
struct {
	__u64 threshold_pages; /* 0: disarmed */
	__u64 slot_jiffies;    /* an eighth of the window */
	__u32 arming;	       /* rises by one with each swap_arm() */
	__u32 ignored_tgid;    /* its swap-ins are booked, but are no part of the window; 0: none */
} control;

/*
 * The window. A slot belongs to the eighth of a window whose number it bears; a stale one is taken
 * over by the first event of a new eighth. Two CPUs that do so at once may lose each other's event
 * from the window (never from the counters): there is no compare-and-swap before 5.12.
 */
struct {
	struct {
		__u64 number;
		__u64 pages;
	} slots[CULPRIT_SWAP_SLOTS];
	__u32 fired; /* the arming whose crossing has been sent */
} window;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PROCESSES);
	__type(key, struct culprit_swap_process_key);
	__type(value, struct culprit_swap_process);
} swap_process SEC(".maps");

/* By cgroup id; a cgroup's own tasks only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, u64);
	__type(value, struct culprit_swap_use);
} swap_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct culprit_swap_total);
} swap_total SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} swap_records SEC(".maps");

/* For the rss_stat rung alone: the last seen number of swap entries of an address space. */
struct swap_entries {
	s64 pages;
	u64 owner; /* start time of the process that the number is of; another one starts anew */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_MMS);
	__type(key, u64);
	__type(value, struct swap_entries);
} swap_mm SEC(".maps");

enum event {
	SWAP_IN,
	SWAP_OUT,
	ZSWAP_IN,
	ZERO_IN,
};

static __always_inline void add(struct culprit_swap_use *use, enum event event, u64 pages)
{
	switch (event) {
	case SWAP_IN:
		__sync_fetch_and_add(&use->swapin_pages, pages);
		break;
	case SWAP_OUT:
		__sync_fetch_and_add(&use->swapout_pages, pages);
		break;
	case ZSWAP_IN:
		__sync_fetch_and_add(&use->zswapin_pages, pages);
		break;
	case ZERO_IN:
		__sync_fetch_and_add(&use->zeroin_pages, pages);
		break;
	}
}

static __always_inline struct culprit_swap_process *
process_entry(const struct culprit_swap_process_key *key)
{
	static const struct culprit_swap_process fresh;
	struct culprit_swap_process *entry = bpf_map_lookup_elem(&swap_process, key);

	if (entry)
		return entry;
	bpf_map_update_elem(&swap_process, key, &fresh, BPF_NOEXIST);
	entry = bpf_map_lookup_elem(&swap_process, key);
	if (!entry)
		count_loss(swap_process_full);
	return entry;
}

static __always_inline struct culprit_swap_use *cgroup_entry(u64 cgroup)
{
	static const struct culprit_swap_use fresh;
	struct culprit_swap_use *entry = bpf_map_lookup_elem(&swap_cgroup, &cgroup);

	if (entry)
		return entry;
	bpf_map_update_elem(&swap_cgroup, &cgroup, &fresh, BPF_NOEXIST);
	entry = bpf_map_lookup_elem(&swap_cgroup, &cgroup);
	if (!entry)
		count_loss(swap_cgroup_full);
	return entry;
}

/* Who is running, and the counters of its process and cgroup after this event. */
struct subject {
	struct culprit_task task;
	u64 task_swapin_pages;
	u64 cgroup_swapin_pages;
	u32 kernel;
};

static __always_inline void book_process(struct subject *who, struct task_struct *leader,
					 enum event event, u64 pages)
{
	struct culprit_swap_process_key key = {
		.tgid = who->task.tgid,
		.start_time_ns = who->task.start_time_ns,
	};
	struct culprit_swap_process *entry = process_entry(&key);

	if (!entry)
		return;
	add(&entry->use, event, pages);
	entry->cgroup = who->task.cgroup;
	entry->last_ns = bpf_ktime_get_ns();
	bpf_core_read(entry->comm, sizeof(entry->comm), &leader->comm);
	who->task_swapin_pages = entry->use.swapin_pages;
}

static __always_inline void book_cgroup(struct subject *who, enum event event, u64 pages)
{
	struct culprit_swap_use *entry = cgroup_entry(who->task.cgroup);

	if (!entry)
		return;
	add(entry, event, pages);
	who->cgroup_swapin_pages = entry->swapin_pages;
}

/* Adds to the window, and returns its sum. */
static __always_inline u64 slide(u64 pages)
{
	u64 number, slot, sum = 0;

	if (!control.slot_jiffies)
		return 0;
	number = bpf_jiffies64() / control.slot_jiffies;
	slot = number % CULPRIT_SWAP_SLOTS;
	if (window.slots[slot].number != number) {
		window.slots[slot].pages = 0;
		window.slots[slot].number = number;
	}
	__sync_fetch_and_add(&window.slots[slot].pages, pages);
#pragma unroll
	for (int i = 0; i < CULPRIT_SWAP_SLOTS; i++)
		if (number - window.slots[i].number < CULPRIT_SWAP_SLOTS)
			sum += window.slots[i].pages;
	return sum;
}

static __always_inline void check_window(const struct subject *who, u64 sum)
{
	u64 threshold_pages = control.threshold_pages;
	u32 arming = control.arming;
	struct culprit_swap_crossing *record;

	if (!threshold_pages || sum < threshold_pages || window.fired == arming)
		return;
	record = bpf_ringbuf_reserve(&swap_records, sizeof(*record), 0);
	if (!record) {
		count_loss(swap_record_dropped);
		return;
	}
	window.fired = arming;
	record->time_ns = bpf_ktime_get_ns();
	record->swapin_pages = sum;
	record->threshold_pages = threshold_pages;
	record->task = who->task;
	record->task_swapin_pages = who->task_swapin_pages;
	record->cgroup_swapin_pages = who->cgroup_swapin_pages;
	record->arming = arming;
	record->kernel = who->kernel;
	bpf_ringbuf_submit(record, 0);
}

static __noinline int account(enum event event, u64 pages)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct subject who = {
		.task.tgid = pid_tgid >> 32,
		.task.tid = (u32)pid_tgid,
		.task.start_time_ns = BPF_CORE_READ(leader, start_boottime),
		.task.cgroup = bpf_get_current_cgroup_id(),
		.kernel = !!(BPF_CORE_READ(task, flags) & PF_KTHREAD),
	};
	struct culprit_swap_total *total;
	u32 zero = 0;

	bpf_core_read(who.task.comm, sizeof(who.task.comm), &leader->comm);
	total = bpf_map_lookup_elem(&swap_total, &zero);
	if (!total)
		return 0;
	add(&total->all, event, pages);
	if (who.kernel) {
		add(&total->kernel, event, pages);
		who.task_swapin_pages = total->kernel.swapin_pages;
	} else {
		book_process(&who, leader, event, pages);
		book_cgroup(&who, event, pages);
	}
	if (event == SWAP_IN && who.task.tgid != control.ignored_tgid)
		check_window(&who, slide(pages));
	return 0;
}

/* --- 6.13 and later: the same lines that count pswpin report to the memory cgroup ------------- */

/* The kernel's number of an item; item numbers move. -1: this kernel has no such item. */
#define memcg_item(name)                                              \
	(bpf_core_enum_value_exists(enum vm_event_item, name)         \
		 ? (int)bpf_core_enum_value(enum vm_event_item, name) \
		 : -1)

/* Arguments: memory cgroup, item, pages. Most calls are for other items. */
SEC("?tp_btf/count_memcg_events")
int swap_memcg_events(u64 *args)
{
	int item = (int)args[1];

	if (item == memcg_item(PSWPIN))
		return account(SWAP_IN, args[2]);
	if (item == memcg_item(PSWPOUT))
		return account(SWAP_OUT, args[2]);
	if (item == memcg_item(ZSWPIN))
		return account(ZSWAP_IN, args[2]);
	if (item == memcg_item(SWPIN_ZERO))
		return account(ZERO_IN, args[2]);
	return 0;
}

/* --- before: the functions that read and write swap --------------------------------------------
 */

/*
 * How many pages the folio (or, before 5.16, the head page) at this address has. It is the same
 * address in both cases; the arguments' types changed too often to rely on.
 */
static __always_inline u64 folio_pages(u64 address)
{
	struct folio___new *folio_new = (void *)address;
	struct folio___old *folio_old = (void *)address;
	struct page___compound *page = (void *)address;
	unsigned long flags = 0;
	u32 pages = 0;

	/* The flags are the first word of a page in every kernel. */
	bpf_probe_read_kernel(&flags, sizeof(flags), (void *)address);
	if (!(flags & (1UL << bpf_core_enum_value(enum pageflags, PG_head))))
		return 1;
	if (bpf_core_field_exists(folio_new->_nr_pages))
		pages = BPF_CORE_READ(folio_new, _nr_pages);
	else if (bpf_core_field_exists(folio_old->_folio_nr_pages))
		pages = BPF_CORE_READ(folio_old, _folio_nr_pages);
	else if (bpf_core_field_exists(page->compound_nr)) {
		page = (void *)(address + bpf_core_type_size(struct page___compound));
		pages = BPF_CORE_READ(page, compound_nr);
	}
	return pages ? pages : 1;
}

SEC("?fentry/swap_read_folio")
int swap_fentry_read_folio(u64 *args)
{
	return account(SWAP_IN, folio_pages(args[0]));
}

/* Reads one page, whatever it is part of. */
SEC("?fentry/swap_readpage")
int swap_fentry_readpage(u64 *args)
{
	(void)args;
	return account(SWAP_IN, 1);
}

SEC("?fentry/__swap_writepage")
int swap_fentry_writepage(u64 *args)
{
	return account(SWAP_OUT, folio_pages(args[0]));
}

SEC("?kprobe/swap_read_folio")
int swap_kprobe_read_folio(struct pt_regs *regs)
{
	return account(SWAP_IN, folio_pages(PT_REGS_PARM1(regs)));
}

SEC("?kprobe/swap_readpage")
int swap_kprobe_readpage(struct pt_regs *regs)
{
	(void)regs;
	return account(SWAP_IN, 1);
}

SEC("?kprobe/__swap_writepage")
int swap_kprobe_writepage(struct pt_regs *regs)
{
	return account(SWAP_OUT, folio_pages(PT_REGS_PARM1(regs)));
}

/* --- last: the fall of a process's own swap entries ------------------------------------------- */

/* Exact before 6.2; after, a number that lags behind by what the CPUs have not yet added up. */
static __always_inline s64 swap_entries(u64 address)
{
	struct mm_struct___atomic *old = (void *)address;
	struct mm_struct___percpu *new = (void *)address;

	if (bpf_core_field_exists(old->rss_stat.count))
		return BPF_CORE_READ(old, rss_stat.count[MM_SWAPENTS].counter);
	return BPF_CORE_READ(new, rss_stat[MM_SWAPENTS].count);
}

SEC("?tp_btf/rss_stat")
int swap_rss_stat(u64 *args)
{
	u64 mm = args[0];
	struct task_struct *task;
	struct swap_entries now, *last;
	s64 fall;

	if ((int)args[1] != MM_SWAPENTS)
		return 0;
	task = (void *)bpf_get_current_task();
	now.pages = swap_entries(mm);
	last = bpf_map_lookup_elem(&swap_mm, &mm);
	/* Another's doing: kswapd swaps out, or an exit is finished by someone else. */
	if ((u64)BPF_CORE_READ(task, mm) != mm) {
		if (last)
			last->pages = now.pages;
		return 0;
	}
	now.owner = BPF_CORE_READ(task, group_leader, start_boottime);
	if (!last || last->owner != now.owner) {
		bpf_map_update_elem(&swap_mm, &mm, &now, BPF_ANY);
		return 0;
	}
	fall = last->pages - now.pages;
	last->pages = now.pages;
	/* An exit gives its entries up without reading them. */
	if (fall <= 0 || BPF_CORE_READ(task, flags) & PF_EXITING)
		return 0;
	return account(SWAP_IN, fall);
}
