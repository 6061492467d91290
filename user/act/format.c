// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/format.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "act/weights.h"
#include "lib/cleanup.h"

static const char *const action_names[] = {
	[CLAIM_FREEZE] = "freeze",	 [CLAIM_STOP] = "stop", [CLAIM_DEMOTE] = "demote",
	[CLAIM_TERMINATE] = "terminate", [CLAIM_KILL] = "kill",
};

static const char *const kind_names[] = {
	[TARGET_CGROUP] = "cgroup",
	[TARGET_PROCESS] = "process",
};

/* What stands around the strings: names, numbers of up to 20 digits, three shells or weights. */
#define FIXED_MAX  750
#define UNDONE	   ",\"undone\":true"
#define ESCAPE_MAX 6 /* \u001f: the longest form of one byte */

_Static_assert(FIXED_MAX + ESCAPE_MAX * (CLAIM_NAME_LEN + CLAIM_REASON_LEN + 16) + CLAIM_PATH_LEN <
		       LEDGER_SLOT_SIZE,
	       "an ordinary path fits whole behind the worst policy, reason and comm");

const char *claim_action_name(enum claim_action action)
{
	return action_names[action];
}

/* --- writing ---------------------------------------------------------------------------------- */

struct text {
	char *buf;
	size_t len;
	size_t size; /* a unit that does not fit whole is left out, and all after it */
};

static void grow(struct text *t, int n)
{
	if (n > 0 && (size_t)n < t->size - t->len)
		t->len += (size_t)n;
}

#define put(t, ...) grow(t, snprintf((t)->buf + (t)->len, (t)->size - (t)->len, __VA_ARGS__))

/* Length of the UTF-8 sequence at s (RFC 3629: shortest form, no surrogates), 0 when it is none. */
static size_t utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The byte that "\xNN" at s stands for in our escaping, or -1 when it is an ordinary text. */
static int escaped_byte(const char *s)
{
	int high, low, byte;

	if (s[0] != '\\' || s[1] != 'x')
		return -1;
	high = hex_digit(s[2]);
	low = high < 0 ? -1 : hex_digit(s[3]);
	if (low < 0)
		return -1;
	byte = high * 16 + low;
	return byte == '\\' || byte >= 0x80 ? byte : -1;
}

static bool is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* One unit of s as JSON text into out. Returns how many bytes of s it was. */
static size_t escape(const char *s, char out[8])
{
	unsigned char c = (unsigned char)*s;
	size_t n = utf8_len((const unsigned char *)s);

	/* Nearly always: printing each letter took longer than writing it all to the file. */
	if (is_plain(*s)) {
		out[0] = *s;
		out[1] = '\0';
		return 1;
	}
	if (n == 0) {
		snprintf(out, 8, "\\\\x%02x", c);
		return 1;
	}
	if (c == '\\')
		snprintf(out, 8, "%s", escaped_byte(s) < 0 ? "\\\\" : "\\\\x5c");
	else if (c == '"')
		snprintf(out, 8, "\\\"");
	else if (c < 0x20 || c == 0x7f)
		snprintf(out, 8, "\\u%04x", c);
	else
		snprintf(out, 8, "%.*s", (int)n, s);
	return n;
}

static void put_string(struct text *t, const char *name, const char *s)
{
	char unit[8];

	put(t, ",\"%s\":\"", name);
	while (*s) {
		size_t len;

		s += escape(s, unit);
		len = strlen(unit);
		/* Keep a place for the quote. */
		if (t->len + len >= t->size - 1)
			break;
		memcpy(t->buf + t->len, unit, len);
		t->len += len;
	}
	put(t, "\"");
}

static void put_number(struct text *t, const char *name, uint64_t value)
{
	/* JSON readers have signed 64 bits; the cast is undone when reading. */
	put(t, ",\"%s\":%" PRId64, name, (int64_t)value);
}

static void put_process(struct text *t, const struct claim *claim)
{
	put_number(t, "pid", (uint64_t)claim->target.pid);
	put_number(t, "start_time", claim->target.start_time_ns);
	put(t, ",\"shells\":[");
	for (unsigned int i = 0; i < claim->n_shells; i++)
		put(t, "%s{\"pid\":%d,\"start_time\":%" PRId64 "}", i ? "," : "",
		    (int)claim->shells[i].pid, (int64_t)claim->shells[i].start_time_ns);
	put(t, "]");
	put_string(t, "comm", claim->target.comm);
}

static void put_weights(struct text *t, const struct claim_weight *weights)
{
	const char *comma = "";

	put(t, ",\"weights\":[");
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		if (!claim_weight_is_ours(&weights[i]))
			continue;
		put(t, "%s{\"file\":\"%s\",\"old\":%u,\"ours\":%u}", comma, weights_file_name(i),
		    weights[i].old, weights[i].ours);
		comma = ",";
	}
	put(t, "]");
}

void format_empty(char slot[static LEDGER_SLOT_SIZE])
{
	memset(slot, ' ', LEDGER_SLOT_SIZE - 1);
	slot[LEDGER_SLOT_SIZE - 1] = '\n';
}

void format_id(char *buf, size_t size, uint64_t id)
{
	snprintf(buf, size, "{\"id\":%" PRId64 ",", (int64_t)id);
}

void format_claim(char slot[static LEDGER_SLOT_SIZE], const struct claim *claim,
		  const char *boot_id)
{
	/* "}", the newline, and what a guardian may have to add. */
	struct text t = { slot, 0, LEDGER_SLOT_SIZE - 2 - strlen(UNDONE) };

	put(&t, "{\"id\":%" PRId64 ",\"action\":\"%s\",\"holds\":%s,\"kind\":\"%s\"",
	    (int64_t)claim->id, action_names[claim->action], claim->holds ? "true" : "false",
	    kind_names[claim->target.kind]);
	put_number(&t, "cgroup", claim->target.cgroup);
	put_number(&t, "since", claim->since_ms);
	put_string(&t, "boot", boot_id);
	if (claim->target.kind == TARGET_PROCESS)
		put_process(&t, claim);
	if (claim_has_weights(claim->weights))
		put_weights(&t, claim->weights);
	put_string(&t, "policy", claim->policy);
	put_string(&t, "reason", claim->reason);
	put_string(&t, "path", claim->target.path);
	slot[t.len++] = '}';
	memset(slot + t.len, ' ', LEDGER_SLOT_SIZE - 1 - t.len);
	slot[LEDGER_SLOT_SIZE - 1] = '\n';
}

void format_undone(char slot[static LEDGER_SLOT_SIZE])
{
	static const char end[] = UNDONE "}";
	const size_t len = sizeof(end) - 1;
	size_t at = LEDGER_SLOT_SIZE - 1;

	while (at > 0 && slot[at] != '}')
		at--;
	if (at > 0 && at + len < LEDGER_SLOT_SIZE)
		memcpy(slot + at, end, len);
	else
		format_empty(slot);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool get_number(const json_t *json, const char *name, uint64_t *value)
{
	const json_t *number = json_object_get(json, name);

	if (!json_is_integer(number))
		return false;
	*value = (uint64_t)json_integer_value(number);
	return true;
}

static bool get_pid(const json_t *json, pid_t *pid)
{
	uint64_t value;

	if (!get_number(json, "pid", &value) || value < 1 || value > INT32_MAX)
		return false;
	*pid = (pid_t)value;
	return true;
}

/* Undoes escape(); what does not fit into out is cut. */
static bool get_string(const json_t *json, const char *name, char *out, size_t size)
{
	const char *s = json_string_value(json_object_get(json, name));
	size_t len = 0;

	if (!s)
		return false;
	while (*s && len < size - 1) {
		int byte = escaped_byte(s);

		out[len++] = byte < 0 ? *s : (char)byte;
		s += byte < 0 ? 1 : 4;
	}
	out[len] = '\0';
	return true;
}

static bool get_name(const json_t *json, const char *name, const char *const *names, size_t n,
		     unsigned int *index)
{
	const char *s = json_string_value(json_object_get(json, name));

	for (*index = 0; s && *index < n; (*index)++)
		if (strcmp(s, names[*index]) == 0)
			return true;
	return false;
}

static bool get_process(const json_t *json, struct claim *claim)
{
	const json_t *shells = json_object_get(json, "shells");
	size_t n = json_array_size(shells);

	if (!get_pid(json, &claim->target.pid) ||
	    !get_number(json, "start_time", &claim->target.start_time_ns) ||
	    !get_string(json, "comm", claim->target.comm, sizeof(claim->target.comm)) ||
	    n > CLAIM_SHELLS)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *shell = json_array_get(shells, i);

		if (!get_pid(shell, &claim->shells[i].pid) ||
		    !get_number(shell, "start_time", &claim->shells[i].start_time_ns))
			return false;
	}
	claim->n_shells = (unsigned int)n;
	return true;
}

static bool get_weight(const json_t *json, struct claim_weight *weights)
{
	const char *file = json_string_value(json_object_get(json, "file"));
	uint64_t old, ours;

	if (!file || !get_number(json, "old", &old) || !get_number(json, "ours", &ours) ||
	    old > UINT32_MAX || ours > UINT32_MAX)
		return false;
	for (unsigned int i = 0; i < CLAIM_WEIGHTS; i++) {
		if (strcmp(file, weights_file_name(i)) == 0) {
			weights[i] = (struct claim_weight){ (uint32_t)old, (uint32_t)ours };
			return true;
		}
	}
	return false;
}

/* Most claims have none. */
static bool get_weights(const json_t *json, struct claim_weight *weights)
{
	const json_t *list = json_object_get(json, "weights"), *weight;
	size_t i;

	if (list && !json_is_array(list))
		return false;
	json_array_foreach (list, i, weight)
		if (!get_weight(weight, weights))
			return false;
	return true;
}

static bool get_claim(const json_t *json, struct claim *claim)
{
	const json_t *holds = json_object_get(json, "holds");
	unsigned int action, kind;

	if (!get_number(json, "id", &claim->id) || claim->id == 0 ||
	    !get_name(json, "action", action_names, ARRAY_SIZE(action_names), &action) ||
	    !get_name(json, "kind", kind_names, ARRAY_SIZE(kind_names), &kind) ||
	    !json_is_boolean(holds) || !get_number(json, "cgroup", &claim->target.cgroup) ||
	    !get_number(json, "since", &claim->since_ms) ||
	    !get_string(json, "policy", claim->policy, sizeof(claim->policy)) ||
	    !get_string(json, "reason", claim->reason, sizeof(claim->reason)) ||
	    !get_string(json, "path", claim->target.path, sizeof(claim->target.path)))
		return false;
	claim->action = (enum claim_action)action;
	claim->target.kind = (enum target_kind)kind;
	claim->undone = json_is_true(json_object_get(json, "undone"));
	claim->holds = json_is_true(holds) && !claim->undone;
	return get_weights(json, claim->weights) &&
	       (kind != TARGET_PROCESS || get_process(json, claim));
}

bool format_is_empty(const char slot[static LEDGER_SLOT_SIZE])
{
	for (size_t i = 0; i < LEDGER_SLOT_SIZE; i++)
		if (slot[i] != ' ' && slot[i] != '\n' && slot[i] != '\0')
			return false;
	return true;
}

static int damaged(const char *slot, struct claim *claim)
{
	*claim = (struct claim){ 0 };
	snprintf(claim->reason, sizeof(claim->reason), "%.*s", (int)sizeof(claim->reason) - 1,
		 slot);
	return -EBADMSG;
}

int parse_claim(const char slot[static LEDGER_SLOT_SIZE], const char *boot_id, struct claim *claim)
{
	_cleanup_(json_decrefp)
	json_t *json = NULL;
	char boot[BOOT_ID_LEN];

	*claim = (struct claim){ 0 };
	if (format_is_empty(slot))
		return -ENODATA;
	json = json_loadb(slot, LEDGER_SLOT_SIZE, 0, NULL);
	if (!json || !get_string(json, "boot", boot, sizeof(boot)) || !get_claim(json, claim))
		return damaged(slot, claim);
	return strcmp(boot, boot_id) == 0 ? 0 : -ESTALE;
}
