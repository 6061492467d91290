// SPDX-License-Identifier: GPL-2.0-or-later
#include "tell/event_pack.h"

#include <string.h>

/* One walk over the fields serves both directions, so that they cannot disagree. */
struct codec {
	unsigned char *at;
	bool unpacking;
};

/* LEB128: seven bits a byte, lowest first, the top bit says that more follow. */
static void number(struct codec *c, uint64_t *value)
{
	uint64_t v = *value;
	unsigned int shift = 0;

	if (!c->unpacking) {
		for (; v >= 0x80; v >>= 7)
			*c->at++ = (unsigned char)(v | 0x80);
		*c->at++ = (unsigned char)v;
		return;
	}
	for (v = 0; *c->at & 0x80; shift += 7)
		v |= (uint64_t)(*c->at++ & 0x7f) << shift;
	*value = v | (uint64_t)*c->at++ << shift;
}

static void bytes(struct codec *c, void *p, size_t size)
{
	if (c->unpacking)
		memcpy(p, c->at, size);
	else
		memcpy(c->at, p, size);
	c->at += size;
}

/* buf holds a text of at most size - 1 bytes; comm may fill all of it without a NUL. */
static void text(struct codec *c, char *buf, size_t size)
{
	uint64_t length = c->unpacking ? 0 : strnlen(buf, size);

	number(c, &length);
	bytes(c, buf, length);
	if (c->unpacking && length < size)
		buf[length] = '\0';
}

/* Most values are whole numbers or 0; as IEEE bits their low end is zeros, so it goes first. */
static void real(struct codec *c, double *value)
{
	uint64_t bits = 0;

	if (!c->unpacking)
		memcpy(&bits, value, sizeof(bits));
	bits = __builtin_bswap64(bits);
	number(c, &bits);
	bits = __builtin_bswap64(bits);
	if (c->unpacking)
		memcpy(value, &bits, sizeof(bits));
}

static void target(struct codec *c, struct target *t)
{
	uint64_t kind = t->kind, pid = (uint64_t)t->pid;

	number(c, &kind);
	number(c, &pid);
	number(c, &t->cgroup);
	number(c, &t->start_time_ns);
	text(c, t->comm, sizeof(t->comm));
	text(c, t->path, sizeof(t->path));
	if (c->unpacking) {
		t->kind = (enum target_kind)kind;
		t->pid = (pid_t)pid;
	}
}

static void candidate(struct codec *c, struct event_candidate *e)
{
	target(c, &e->target);
	number(c, &e->footprint_pages);
	number(c, &e->growth_pages);
	number(c, &e->swapin_pages);
	number(c, &e->churn_pages);
	real(c, &e->weight);
	bytes(c, &e->refusal, sizeof(e->refusal));
}

static void waiter(struct codec *c, struct event_evidence *e)
{
	uint64_t has = e->has_waiter;

	number(c, &has);
	if (c->unpacking)
		e->has_waiter = has;
	if (!has)
		return;
	target(c, &e->waiter);
	number(c, &e->wait_usec);
	number(c, &e->wakeups);
	number(c, &e->late_wakeups);
}

static void evidence(struct codec *c, struct event_evidence *e)
{
	uint64_t n = e->n_candidates < EVENT_CANDIDATES ? e->n_candidates : EVENT_CANDIDATES;

	bytes(c, &e->signal, sizeof(e->signal));
	bytes(c, &e->unit, sizeof(e->unit));
	real(c, &e->value);
	real(c, &e->enter);
	real(c, &e->leave);
	real(c, &e->stall);
	number(c, &e->window_ms);
	number(c, &e->swapin_pages);
	number(c, &e->churn_pages);
	number(c, &e->pswpin_pages);
	number(c, &e->latency_us);
	text(c, e->device, sizeof(e->device));
	waiter(c, e);
	number(c, &n);
	for (unsigned int i = 0; i < n; i++)
		candidate(c, &e->candidates[i]);
	if (c->unpacking)
		e->n_candidates = (unsigned int)n;
}

static void event(struct codec *c, struct event *e)
{
	uint64_t kind = e->kind;

	number(c, &kind);
	number(c, &e->ts_ms);
	number(c, &e->claim_id);
	text(c, e->policy, sizeof(e->policy));
	text(c, e->reason, sizeof(e->reason));
	bytes(c, &e->shadow, sizeof(e->shadow));
	bytes(c, &e->has_target, sizeof(e->has_target));
	bytes(c, &e->has_offender, sizeof(e->has_offender));
	bytes(c, &e->has_evidence, sizeof(e->has_evidence));
	if (e->has_target)
		target(c, &e->target);
	if (e->has_offender)
		target(c, &e->offender);
	if (e->has_evidence)
		evidence(c, &e->evidence);
	if (c->unpacking)
		e->kind = (enum event_kind)kind;
}

size_t event_pack(unsigned char *buf, const struct event *e)
{
	struct codec c = { .at = buf };

	/* Packing only reads the event. */
	event(&c, (struct event *)e);
	return (size_t)(c.at - buf);
}

void event_unpack(struct event *out, const unsigned char *buf)
{
	struct codec c = { .at = (unsigned char *)buf, .unpacking = true };

	memset(out, 0, sizeof(*out));
	event(&c, out);
}
