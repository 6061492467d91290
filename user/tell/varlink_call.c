// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "tell/json.h"
#include "tell/varlink_private.h"

/* A tree takes many times the memory of its text; after a large one the heap is given back. */
#define TRIM_ABOVE (64 * 1024)

#define INVALID_PARAMETER "org.varlink.service.InvalidParameter"

/* --- answers ------------------------------------------------------------------------------- */

void call_free(struct varlink_call *call)
{
	if (call->stream)
		fclose(call->stream);
	free(call->text);
	if (call->client->call == call)
		call->client->call = NULL;
	free(call);
}

/* The call is over; what its client has sent since may be heard. */
static void finish(struct varlink_call *call)
{
	struct varlink_client *client = call->client;

	call_free(call);
	if (!client->answering)
		server_sweep(client->server);
}

FILE *varlink_begin(struct varlink_call *call)
{
	if (!call->stream) {
		call->stream = open_memstream(&call->text, &call->length);
		if (call->stream)
			fputs("{\"parameters\":", call->stream);
	}
	return call->stream;
}

/* Ends the stream and hands its text, with the NUL that open_memstream(3) puts behind it, out. */
static bool send_stream(struct varlink_call *call, bool continues)
{
	struct varlink_client *client = call->client;
	bool failed;
	char *text;

	fputs(continues ? ",\"continues\":true}" : "}", call->stream);
	failed = ferror(call->stream) != 0;
	failed |= fclose(call->stream) != 0;
	call->stream = NULL;
	text = take_ptr(call->text);
	if (call->oneway || failed) {
		free(text);
		return !failed;
	}
	return connection_send(client, text, call->length + 1);
}

bool varlink_end(struct varlink_call *call, bool continues)
{
	bool sent = call->stream && send_stream(call, continues);

	if (!sent)
		connection_kill(call->client);
	if (!continues)
		finish(call);
	return sent;
}

static bool answer(struct varlink_call *call, json_t *parameters, bool continues)
{
	FILE *stream = varlink_begin(call);

	if (stream && parameters)
		json_dumpf(parameters, stream, JSON_COMPACT);
	else if (stream)
		fputs("{}", stream);
	json_decref(parameters);
	return varlink_end(call, continues);
}

bool varlink_reply(struct varlink_call *call, json_t *parameters)
{
	return answer(call, parameters, false);
}

bool varlink_notify(struct varlink_call *call, json_t *parameters)
{
	return answer(call, parameters, true);
}

void varlink_error(struct varlink_call *call, const char *error, json_t *parameters)
{
	json_t *reply = json_pack("{s:s, s:o}", "error", error, "parameters",
				  parameters ? parameters : json_object());
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	if (!text)
		connection_kill(call->client);
	else if (call->oneway)
		free(text);
	else
		(void)connection_send(call->client, text, strlen(text) + 1);
	finish(call);
}

void varlink_errorf(struct varlink_call *call, const char *error, const char *format, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	/* json_pack refuses what is not UTF-8, and the message may quote anything. */
	varlink_error(call, error, json_pack("{s:o}", "message", json_text(message)));
}

char *call_error_text(const char *error, const char *message, size_t *length)
{
	json_t *reply =
		json_pack("{s:s, s:{s:s}}", "error", error, "parameters", "message", message);
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	*length = text ? strlen(text) + 1 : 0;
	return text;
}

void call_refuse(struct varlink_client *client, const char *error, const char *message)
{
	size_t length;
	char *text = call_error_text(error, message, &length);

	client->closing = true;
	if (text)
		(void)connection_send(client, text, length);
	else
		connection_kill(client);
}

bool varlink_wants_more(const struct varlink_call *call)
{
	return call->more;
}

void varlink_on_close(struct varlink_call *call, void (*fn)(void *user, struct varlink_call *call),
		      void *user)
{
	call->on_close = fn;
	call->on_close_user = user;
}

uid_t varlink_uid(const struct varlink_call *call)
{
	return call->client->uid;
}

/* --- questions ----------------------------------------------------------------------------- */

static void invalid_parameter(struct varlink_call *call, const char *name)
{
	varlink_error(call, INVALID_PARAMETER, json_pack("{s:o}", "parameter", json_text(name)));
}

/* An absent member is false. */
static bool take_flag(const json_t *message, const char *name, bool *flag)
{
	const json_t *value = json_object_get(message, name);

	*flag = json_is_true(value);
	return !value || json_is_boolean(value);
}

static void not_found(struct varlink_call *call, const char *name)
{
	const struct varlink_method *methods = call->client->server->methods;
	const char *dot = strrchr(name, '.');
	size_t interface = dot ? (size_t)(dot - name) : 0;

	if (!dot || interface == 0) {
		invalid_parameter(call, "method");
		return;
	}
	if (strncmp(name, "org.varlink.service.", sizeof("org.varlink.service.") - 1) == 0) {
		varlink_error(call, "org.varlink.service.MethodNotImplemented",
			      json_pack("{s:o}", "method", json_text(name)));
		return;
	}
	for (const struct varlink_method *m = methods; m->name; m++) {
		if (strncmp(m->name, name, interface + 1) == 0) {
			varlink_error(call, "org.varlink.service.MethodNotFound",
				      json_pack("{s:o}", "method", json_text(name)));
			return;
		}
	}
	varlink_error(call, "org.varlink.service.InterfaceNotFound",
		      json_pack("{s:s%}", "interface", name, interface));
}

static void handle(struct varlink_call *call, const char *name, json_t *parameters)
{
	const struct varlink_server *server = call->client->server;
	const struct varlink_method *m = server->methods;

	while (m->name && strcmp(m->name, name) != 0)
		m++;
	if (!m->name)
		not_found(call, name);
	else if (m->access == VARLINK_ROOT && call->client->rank != PEER_ROOT)
		varlink_errorf(call, VARLINK_DENIED,
			       "only root may call %s; members of the group culprit may look",
			       m->name);
	else
		m->handle(server->user, call, parameters);
}

static void take_message(struct varlink_call *call, const json_t *message)
{
	const json_t *method = json_object_get(message, "method");
	json_t *parameters = json_object_get(message, "parameters");
	json_t *none = NULL;

	if (!take_flag(message, "oneway", &call->oneway)) {
		invalid_parameter(call, "oneway");
		return;
	}
	if (!take_flag(message, "more", &call->more)) {
		invalid_parameter(call, "more");
		return;
	}
	/* Nothing that is said later would reach a caller who wants no answer. */
	call->more = call->more && !call->oneway;
	if (!json_is_string(method)) {
		invalid_parameter(call, "method");
		return;
	}
	if (!parameters || json_is_null(parameters))
		parameters = none = json_object();
	if (json_is_object(parameters))
		handle(call, json_string_value(method), parameters);
	else
		invalid_parameter(call, "parameters");
	json_decref(none);
}

void call_dispatch(struct varlink_client *client, const char *text, size_t length)
{
	json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	struct varlink_call *call;

	if (!json_is_object(message)) {
		call_refuse(client, VARLINK_REFUSED,
			    "the call is not a JSON object ended by a NUL byte");
		json_decref(message);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call) {
		call->client = client;
		client->call = call;
		take_message(call, message);
	} else {
		connection_kill(client);
	}
	json_decref(message);
	if (length > TRIM_ABOVE)
		malloc_trim(0);
}

/* --- parameters ---------------------------------------------------------------------------- */

static bool take_value(const struct varlink_field *field, const json_t *value)
{
	switch (field->type) {
	case VARLINK_STRING:
		if (json_is_string(value))
			*(const char **)field->value = json_string_value(value);
		return json_is_string(value);
	case VARLINK_INT:
		if (json_is_integer(value))
			*(int64_t *)field->value = json_integer_value(value);
		return json_is_integer(value);
	case VARLINK_BOOL:
		if (json_is_boolean(value))
			*(bool *)field->value = json_is_true(value);
		return json_is_boolean(value);
	}
	return false;
}

static const struct varlink_field *find_field(const struct varlink_field *fields, const char *name)
{
	for (; fields->name; fields++)
		if (strcmp(fields->name, name) == 0)
			return fields;
	return NULL;
}

bool varlink_fields(struct varlink_call *call, json_t *parameters,
		    const struct varlink_field *fields)
{
	const char *name;
	json_t *value;

	json_object_foreach (parameters, name, value) {
		if (!find_field(fields, name)) {
			invalid_parameter(call, name);
			return false;
		}
	}
	for (const struct varlink_field *f = fields; f->name; f++) {
		bool given;

		value = json_object_get(parameters, f->name);
		given = value && !json_is_null(value);
		if (f->given)
			*f->given = given;
		if (given ? !take_value(f, value) : f->required) {
			invalid_parameter(call, f->name);
			return false;
		}
	}
	return true;
}
