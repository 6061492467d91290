/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a policy can have done to its target. */
#ifndef CULPRIT_DECIDE_ACTION_H
#define CULPRIT_DECIDE_ACTION_H

enum policy_action {
	ACTION_FREEZE,
	ACTION_STOP,
	ACTION_DEMOTE,
	ACTION_TERMINATE,
	ACTION_KILL,
	ACTION_TURN,
	ACTION_NOTIFY
};

#endif
