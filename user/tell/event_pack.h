/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events without their empty space: 8 KiB with all buffers, a few hundred bytes packed. */
#ifndef CULPRIT_TELL_EVENT_PACK_H
#define CULPRIT_TELL_EVENT_PACK_H

#include <stddef.h>

#include "tell/event.h"

/* No event packs to more: numbers take at most 10 bytes instead of 8, texts lose their padding. */
#define EVENT_PACKED_MAX (sizeof(struct event) * 5 / 4)

/* Packs into buf (EVENT_PACKED_MAX bytes); returns the bytes used. */
size_t event_pack(unsigned char *buf, const struct event *event);
/* Unpacks what event_pack() made in this process (static texts are kept as pointers). */
void event_unpack(struct event *out, const unsigned char *buf);

#endif
