// SPDX-License-Identifier: GPL-2.0-or-later
#include "act/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/safedir.h"
#include "act/undo.h"
#include "lib/cleanup.h"

#define LOCK_AGENT    0
#define LOCK_GUARDIAN 1

/* A guardian undoes 256 claims in a few milliseconds; one that takes this long hangs. */
#define GUARDIAN_WAIT_MS 2000
#define KILL_WAIT_MS	 1000
#define LATE_WAIT_MS	 1000

#define DAMAGED UINT64_MAX /* in ids[]: the slot is in use, but not by a claim that we can name */

struct ledger {
	int fd;
	char boot_id[BOOT_ID_LEN];
	uint64_t ids[CLAIM_MAX]; /* what each slot holds; 0: nothing */
	bool left[CLAIM_MAX];	 /* it was there when the ledger was opened, and is not undone */
	bool undone[CLAIM_MAX];	 /* left, and undone by a guardian; it is to be told of */
	uint64_t top_id;	 /* the highest that it has held since it was opened */
	bool locked, made, made_dir;
	pid_t agent; /* who opened and locked it */
	bool gone;   /* at the last ledger_in_place() */
	int dir;
	char path[PATH_MAX]; /* of the directory */
};

int ledger_fd(const struct ledger *ledger)
{
	return ledger->fd;
}

int ledger_dir(const struct ledger *ledger)
{
	return ledger->dir;
}

bool ledger_holds(const struct ledger *ledger)
{
	for (unsigned int i = 0; i < CLAIM_MAX; i++)
		if (ledger->ids[i] != 0 && !ledger->undone[i])
			return true;
	return false;
}

bool ledger_in_place(struct ledger *ledger)
{
	char path[PATH_MAX + sizeof("/ledger")];
	struct stat ours, there;

	/* By the path: the directory may have been removed and made again. */
	snprintf(path, sizeof(path), "%s/ledger", ledger->path);
	ledger->gone = fstat(ledger->fd, &ours) < 0 || lstat(path, &there) < 0 ||
		       ours.st_dev != there.st_dev || ours.st_ino != there.st_ino;
	return !ledger->gone;
}

/* As much of that as can be told without walking the path, for this is on the way to a freeze. */
static bool is_gone(const struct ledger *ledger)
{
	struct stat st;

	return ledger->gone || fstat(ledger->fd, &st) < 0 || st.st_nlink == 0;
}

/* --- locks ------------------------------------------------------------------------------------ */

static int lock_byte(int fd, off_t byte)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

/* Pid of the process that has the lock, 0 when none has. */
static pid_t lock_holder(int fd, off_t byte)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

int ledger_lock_guardian(struct ledger *ledger)
{
	int r = -EBUSY;

	/* A late guardian of a dead agent may just be finding out that it is not needed. */
	for (int waited_ms = 0; r == -EBUSY && waited_ms < LATE_WAIT_MS; waited_ms++) {
		pid_t agent;

		r = lock_byte(ledger->fd, LOCK_GUARDIAN);
		/* In this order, for a new agent does it the other way round: one of both sees the
		 * other. */
		agent = lock_holder(ledger->fd, LOCK_AGENT);
		if (agent != 0 && agent != ledger->agent)
			return -EBUSY;
		if (r == -EBUSY)
			(void)poll(NULL, 0, 1);
	}
	return r;
}

static void wait_end(int pidfd, int timeout_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (poll(&p, 1, timeout_ms) < 0 && errno == EINTR)
		;
}

/* The agent of that guardian is gone, or we would not have the agent's lock. */
static int wait_for_guardian(int fd, pid_t *holder)
{
	for (int attempt = 0; attempt < 3; attempt++) {
		_cleanup_close_ int pidfd = -1;

		*holder = lock_holder(fd, LOCK_GUARDIAN);
		if (*holder == 0)
			return 0;
		pidfd = pidfd_open(*holder, 0);
		/* Still its pid? Then the descriptor is surely of the guardian. */
		if (pidfd < 0 || lock_holder(fd, LOCK_GUARDIAN) != *holder)
			continue;
		wait_end(pidfd, GUARDIAN_WAIT_MS);
		if (lock_holder(fd, LOCK_GUARDIAN) != *holder)
			continue;
		(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		wait_end(pidfd, KILL_WAIT_MS);
	}
	return lock_holder(fd, LOCK_GUARDIAN) == 0 ? 0 : -EBUSY;
}

static int lock_ledger(int fd, pid_t *holder)
{
	int r;

	/* A holder that ends between the two calls leaves the lock free: try again. */
	for (int attempt = 0; attempt < 3; attempt++) {
		r = lock_byte(fd, LOCK_AGENT);
		if (r != -EBUSY)
			break;
		*holder = lock_holder(fd, LOCK_AGENT);
		if (*holder != 0)
			return r;
	}
	return r < 0 ? r : wait_for_guardian(fd, holder);
}

/* --- slots ------------------------------------------------------------------------------------ */

static int read_slot(const struct ledger *ledger, unsigned int slot, char text[LEDGER_SLOT_SIZE])
{
	ssize_t n = pread(ledger->fd, text, LEDGER_SLOT_SIZE, (off_t)slot * LEDGER_SLOT_SIZE);

	if (n < 0)
		return -errno;
	return n == LEDGER_SLOT_SIZE ? 0 : -EIO;
}

static int write_slot(const struct ledger *ledger, unsigned int slot,
		      const char text[LEDGER_SLOT_SIZE])
{
	ssize_t n;

	do
		n = pwrite(ledger->fd, text, LEDGER_SLOT_SIZE, (off_t)slot * LEDGER_SLOT_SIZE);
	while (n < 0 && errno == EINTR);
	return n == LEDGER_SLOT_SIZE ? 0 : -EIO;
}

static int empty_slot(const struct ledger *ledger, unsigned int slot)
{
	char text[LEDGER_SLOT_SIZE];

	format_empty(text);
	return write_slot(ledger, slot, text);
}

int ledger_slot(const struct ledger *ledger, uint64_t claim_id)
{
	for (int i = 0; i < CLAIM_MAX; i++)
		if (ledger->ids[i] == claim_id)
			return i;
	return -ENOENT;
}

uint64_t ledger_next_id(const struct ledger *ledger)
{
	return ledger->top_id + 1;
}

static void note_id(struct ledger *ledger, uint64_t id)
{
	if (id != DAMAGED && id > ledger->top_id)
		ledger->top_id = id;
}

/* What is only there to be told of makes room where there is none. -ENOENT. */
static int free_slot(const struct ledger *ledger)
{
	int slot = ledger_slot(ledger, 0);

	for (int i = 0; slot < 0 && i < CLAIM_MAX; i++)
		if (ledger->undone[i])
			slot = i;
	return slot;
}

static void forget_left(struct ledger *ledger, unsigned int slot)
{
	ledger->ids[slot] = 0;
	ledger->left[slot] = ledger->undone[slot] = false;
}

int ledger_write(struct ledger *ledger, const struct claim *claim)
{
	char text[LEDGER_SLOT_SIZE];
	int slot = ledger_slot(ledger, claim->id);
	int r;

	if (slot < 0)
		slot = free_slot(ledger);
	if (slot < 0)
		return -ENOSPC;
	if (claim->holds && is_gone(ledger))
		return -EIDRM;
	format_claim(text, claim, ledger->boot_id);
	r = write_slot(ledger, (unsigned int)slot, text);
	if (r < 0)
		return r;
	if (ledger->undone[slot])
		forget_left(ledger, (unsigned int)slot);
	ledger->ids[slot] = claim->id;
	note_id(ledger, claim->id);
	return 0;
}

int ledger_clear(struct ledger *ledger, uint64_t claim_id)
{
	int slot = claim_id == 0 ? -ENOENT : ledger_slot(ledger, claim_id);
	int r;

	if (slot < 0)
		return slot;
	r = empty_slot(ledger, (unsigned int)slot);
	if (r == 0)
		ledger->ids[slot] = 0;
	return r;
}

bool ledger_slot_holds(const struct ledger *ledger, unsigned int slot, uint64_t claim_id)
{
	char text[LEDGER_SLOT_SIZE], id[32];

	if (slot >= CLAIM_MAX || read_slot(ledger, slot, text) < 0)
		return false;
	format_id(id, sizeof(id), claim_id);
	return strncmp(text, id, strlen(id)) == 0;
}

bool ledger_was_left(const struct ledger *ledger, unsigned int slot)
{
	return ledger->left[slot] && ledger_slot_holds(ledger, slot, ledger->ids[slot]);
}

int ledger_settle(const struct ledger *ledger, const enum ledger_fate fates[static CLAIM_MAX])
{
	char text[LEDGER_SLOT_SIZE];
	int r = 0;

	for (unsigned int i = 0; i < CLAIM_MAX; i++) {
		bool known = read_slot(ledger, i, text) == 0;

		if (fates[i] == LEDGER_KEEP || (known && format_is_empty(text)))
			continue;
		if (fates[i] == LEDGER_UNDONE && known)
			format_undone(text);
		else
			format_empty(text);
		if (write_slot(ledger, i, text) < 0)
			r = -EIO;
	}
	return r;
}

int ledger_read(struct ledger *ledger, struct claim *claims, unsigned int max,
		unsigned int *damaged)
{
	char text[LEDGER_SLOT_SIZE];
	unsigned int n = 0;

	*damaged = 0;
	for (unsigned int i = 0; i < CLAIM_MAX && n < max; i++) {
		int r = read_slot(ledger, i, text);

		if (r < 0)
			return r;
		r = parse_claim(text, ledger->boot_id, &claims[n]);
		if (r == 0)
			n += !claims[n].undone;
		else if (r == -EBADMSG)
			(*damaged)++;
	}
	return (int)n;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Gives every slot its page and its spaces, and learns what is in it. */
static int prepare(struct ledger *ledger)
{
	char text[LEDGER_SLOT_SIZE];
	struct claim claim;
	int r = posix_fallocate(ledger->fd, 0, (off_t)CLAIM_MAX * LEDGER_SLOT_SIZE);

	if (r != 0)
		return -r;
	for (unsigned int i = 0; i < CLAIM_MAX; i++) {
		r = read_slot(ledger, i, text);
		if (r < 0)
			return r;
		r = parse_claim(text, ledger->boot_id, &claim);
		ledger->ids[i] = r == 0 || r == -ESTALE ? claim.id : r == -EBADMSG ? DAMAGED : 0;
		ledger->left[i] = ledger->ids[i] != 0;
		ledger->undone[i] = r == 0 && claim.undone;
		note_id(ledger, ledger->ids[i]);
		if (r == -ENODATA && text[0] != ' ') {
			r = empty_slot(ledger, i);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int read_boot_id(char buf[static BOOT_ID_LEN])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, BOOT_ID_LEN - 1);
	if (n != BOOT_ID_LEN - 1)
		return -EIO;
	buf[n] = '\0';
	return 0;
}

/* In a safe directory the file is as root made it; a mistake of root's is still a mistake. */
static int check_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || (st.st_mode & (S_IWGRP | S_IWOTH)) ||
	    (st.st_uid != 0 && st.st_uid != geteuid()))
		return -EPERM;
	return 0;
}

static int open_file(struct ledger *ledger, bool make)
{
	static const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;

	ledger->fd = openat(ledger->dir, "ledger", flags);
	ledger->made = make && ledger->fd < 0 && errno == ENOENT;
	if (ledger->made)
		ledger->fd = openat(ledger->dir, "ledger", flags | O_CREAT | O_EXCL, 0600);
	if (ledger->fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	return check_file(ledger->fd);
}

static int open_locked(struct ledger *ledger, bool make, pid_t *holder)
{
	struct stat st;
	int r = open_file(ledger, make);

	if (r == 0)
		r = lock_ledger(ledger->fd, holder);
	if (r < 0)
		return r;
	/* An agent that was refused has just taken away what it had made. */
	if (fstat(ledger->fd, &st) < 0 || st.st_nlink == 0)
		return -EEXIST;
	ledger->locked = true;
	ledger->agent = getpid();
	return 0;
}

static int fill(struct ledger *ledger, const char *dir, bool make, pid_t *holder, char *what,
		size_t what_size)
{
	int r = -EEXIST;

	snprintf(ledger->path, sizeof(ledger->path), "%s", dir);
	ledger->dir = safedir_open(dir, make ? &ledger->made_dir : NULL, what, what_size);
	if (ledger->dir < 0)
		return ledger->dir;
	snprintf(what, what_size, "%s/ledger", dir);
	for (int attempt = 0; r == -EEXIST && attempt < 3; attempt++) {
		closep(&ledger->fd);
		ledger->fd = -1;
		r = open_locked(ledger, make, holder);
	}
	if (r == 0)
		r = read_boot_id(ledger->boot_id);
	return r < 0 ? r : prepare(ledger);
}

static int open_ledger(struct ledger **out, const char *dir, bool make, pid_t *holder, char *what,
		       size_t what_size)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	int r;

	if (!ledger)
		return -ENOMEM;
	ledger->fd = ledger->dir = -1;
	r = fill(ledger, dir, make, holder, what, what_size);
	if (r < 0)
		ledger_discard(ledger);
	else
		*out = ledger;
	return r;
}

int ledger_open(struct ledger **out, const char *dir, pid_t *holder, char *what, size_t what_size)
{
	return open_ledger(out, dir, true, holder, what, what_size);
}

int ledger_open_existing(struct ledger **out, const char *dir, pid_t *holder, char *what,
			 size_t what_size)
{
	return open_ledger(out, dir, false, holder, what, what_size);
}

void ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return;
	closep(&ledger->fd);
	closep(&ledger->dir);
	free(ledger);
}

void ledger_discard(struct ledger *ledger)
{
	if (!ledger)
		return;
	/* While it is locked nobody else has begun to use it. */
	if (ledger->made && ledger->locked && !ledger_holds(ledger))
		(void)unlinkat(ledger->dir, "ledger", 0);
	/* Only an empty one goes. */
	if (ledger->made_dir)
		(void)rmdir(ledger->path);
	ledger_close(ledger);
}

/* --- releasing -------------------------------------------------------------------------------- */

struct release {
	struct claim claim;
	unsigned int slot;
	int error;
};

static int newest_first(const void *a, const void *b)
{
	uint64_t left = ((const struct release *)a)->claim.id;
	uint64_t right = ((const struct release *)b)->claim.id;

	return left < right ? 1 : left > right ? -1 : 0;
}

static int gather(struct ledger *ledger, struct release *list, unsigned int *count)
{
	char text[LEDGER_SLOT_SIZE];

	*count = 0;
	for (unsigned int i = 0; i < CLAIM_MAX; i++) {
		struct release *item = &list[*count];

		if (!ledger->left[i])
			continue;
		item->slot = i;
		item->error = read_slot(ledger, i, text);
		if (item->error < 0)
			return item->error;
		item->error = parse_claim(text, ledger->boot_id, &item->claim);
		if (item->error != -ENODATA)
			(*count)++;
	}
	qsort(list, *count, sizeof(*list), newest_first);
	return 0;
}

static void undo_list(const struct cgroupfs *fs, struct release *list, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (list[i].error == 0 && list[i].claim.holds)
			list[i].error = undo_claim(fs, &list[i].claim);
	for (unsigned int level = 0; level < CLAIM_SHELLS; level++) {
		for (unsigned int i = 0; i < n; i++) {
			const struct claim *claim = &list[i].claim;

			if (list[i].error == 0 && claim->holds && level < claim->n_shells)
				list[i].error = undo_process(claim->shells[level].pid,
							     claim->shells[level].start_time_ns);
		}
	}
}

static int release_list(struct ledger *ledger, const struct cgroupfs *fs, struct release *list,
			void (*told)(void *user, const struct claim *claim, int error), void *user)
{
	unsigned int n;
	int undone = 0;
	int r = gather(ledger, list, &n);

	if (r < 0)
		return r;
	undo_list(fs, list, n);
	for (unsigned int i = 0; i < n; i++) {
		int error = list[i].error;

		if (told && error != -ESTALE)
			told(user, &list[i].claim, error);
		if (error < 0 && error != -EBADMSG && error != -ESTALE)
			continue;
		undone += error == 0 && !list[i].claim.undone;
		r = empty_slot(ledger, list[i].slot);
		if (r < 0)
			return r;
		forget_left(ledger, list[i].slot);
	}
	return undone;
}

unsigned int ledger_left(const struct ledger *ledger)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < CLAIM_MAX; i++)
		n += ledger->left[i] && !ledger->undone[i];
	return n;
}

int ledger_release(struct ledger *ledger, const struct cgroupfs *fs,
		   void (*told)(void *user, const struct claim *claim, int error), void *user)
{
	struct release *list = calloc(CLAIM_MAX, sizeof(*list));
	int r;

	if (!list)
		return -ENOMEM;
	r = release_list(ledger, fs, list, told, user);
	free(list);
	return r;
}
