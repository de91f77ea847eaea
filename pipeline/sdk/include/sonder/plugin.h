/* sonder/plugin.h: the boundary between the Sonder host and a plugin, in C11.
 *
 * A plugin is one shared library that exports one function, `sonder_plugin_entry`, and carries a JSON manifest in the ELF
 * section `.sonder_manifest` that the host reads before it runs any code of the library. Everything else goes through the
 * structs below. No exception, no C++ type and no ownership of memory crosses this line, but for Arrow arrays that a plugin
 * makes, which carry Arrow's release callback.
 *
 * GROWTH. Every struct starts with its size in bytes as the side that fills it knows it. Fields are only ever appended; who
 * reads one that a smaller struct lacks takes it as zero (`SONDER_HAS`). What is released never changes: name, layout,
 * number or meaning. The major version must match; a plugin's minor must be at most the host's. Replacements of a service
 * get a new id (`state/2`) beside the old one.
 *
 * THREADS. Each function names the thread that may call it:
 *   [control]  one thread at a time, never while a call on the same module or instance runs
 *   [task]     a thread of the host's pool; never two at a time for one instance, different ones over time
 *   [any]      any thread, also at the same time
 * Services are called by a plugin only inside a call that the host made to it, on that call's thread, and only for the
 * instance that the call is for. The host checks this in release builds, counts violations and refuses the call.
 *
 * LENDING. All that the host hands to a call (arrays, strings, bytes) lives until the call returns, is read-only unless it
 * says otherwise, and may be unmapped afterwards. Arrays are dense: a row that the stage may not see is not in them. The
 * batch is lent as it stands when all rows are allowed; otherwise the host gathers the allowed rows and scatters results
 * back. Nothing of a withheld row or field is in any lent buffer.
 *
 * SAVEPOINTS. Each call is a savepoint: verdicts, columns, emitted rows, state, timers and metrics count only if the call
 * returns SONDER_OK, and are undone otherwise. Counting never waits for the commit of the epoch; state and rows do.
 *
 * REPLAY. A call may be repeated with the same or with fewer rows (bisection calls a failed batch again in halves, left to
 * right; a discarded epoch is run again by new instances). An instance's own memory must therefore be only a cache of its
 * stores, and randomness and time must come from the host.
 */
#ifndef SONDER_PLUGIN_H
#define SONDER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include "sonder/arrow_c.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SONDER_ABI_MAJOR 1
#define SONDER_ABI_MINOR 0

/* True if the struct at `pointer`, as its maker knew it, has `field`. */
#define SONDER_HAS(pointer, field)                                            \
  ((pointer)->struct_size >=                                                  \
   (offsetof(__typeof__(*(pointer)), field) + sizeof((pointer)->field)))

#define SONDER_EXPORT __attribute__((visibility("default")))

/* ---- Plain values ------------------------------------------------------------------------------------------------- */

/* UTF-8 text that is not terminated by zero. `data` may be null only if `size` is 0. */
typedef struct sonder_string {
  const char* data;
  uint64_t size;
} sonder_string;

typedef struct sonder_bytes {
  const uint8_t* data;
  uint64_t size;
} sonder_bytes;

/* What a call answers. Numbers are for ever. */
typedef enum sonder_status {
  SONDER_OK = 0,
  /* The same call may work later: the host undoes it, waits `retry_after_ms` (bounded, growing), outside any open
   * transaction, and makes it again; the task stands still meanwhile. For single rows there is SONDER_RETRY_ROW. */
  SONDER_RETRY = 1,
  /* Some row of this batch always fails: the host bisects to it and dead-letters it alone. */
  SONDER_BAD_RECORDS = 2,
  /* The instance is not usable any more: the host makes a new one once; then the worker stops. */
  SONDER_FATAL = 3,
  /* Only from the create functions: the configuration cannot work. `message` names the property and what to do. */
  SONDER_BAD_CONFIG = 4,
  /* The host asked to stop (see sonder_batch.cancelled) and the call gave up. */
  SONDER_CANCELLED = 5
} sonder_status;

/* What becomes of one row. */
typedef enum sonder_verdict {
  SONDER_PASS = 0,
  SONDER_DROP = 1,        /* on purpose, with a reason of the manifest */
  SONDER_DEAD_LETTER = 2, /* cannot be handled, with a reason of the manifest */
  /* Parked with the later rows of its subject (of its record's key, where it has none) and offered again after
   * retry_after_ms, or a growing back-off if that is longer, both bounded; after `attempts_max` it is dead-lettered. The call
   * counts like any that returns SONDER_OK: what it kept, counted and emitted stays. On a table input the call is undone
   * instead, and made again. */
  SONDER_RETRY_ROW = 3
} sonder_verdict;

/* Filled by the plugin when a call does not return SONDER_OK; owned by the caller. `message` ends with zero, is for
 * operators, and never holds anything of a record. */
typedef struct sonder_error {
  uint32_t struct_size;
  uint32_t retry_after_ms;
  char message[248];
} sonder_error;

/* ---- The host and its services ------------------------------------------------------------------------------------ */

typedef enum sonder_host_flags {
  /* `sonder try` and the testing host: no secrets are configured and nothing is kept, so that a plugin that needs a
   * secret may make one up for this run. Never set in a flow. */
  SONDER_HOST_TRIAL = 1
} sonder_host_flags;

typedef struct sonder_host sonder_host;
struct sonder_host {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint32_t flags; /* sonder_host_flags */
  uint32_t reserved;
  void* ctx;
  /* The service struct for an id such as "state/1", or null if it does not exist, was not asked for in the manifest, or is
   * not offered here. A module's host offers log/1 and secrets/1; an instance's host offers all that were granted.
   * The pointer lives as long as the host struct that it came from. [control] [task] */
  const void* (*service)(const sonder_host* host, const char* id);
};

typedef enum sonder_log_level {
  SONDER_LOG_DEBUG = 0,
  SONDER_LOG_INFO = 1,
  SONDER_LOG_WARNING = 2,
  SONDER_LOG_ERROR = 3
} sonder_log_level;

/* "log/1". Bounded in rate and length by the host. Never log anything of a record. */
typedef struct sonder_log_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  void (*write)(void* ctx, int32_t level, sonder_string message);
} sonder_log_service;

/* "metrics/1": the metrics that the manifest declares, in its order. `label_value` is the index of a declared value, 0 for
 * a metric without label. An index out of range is a counted violation and has no other effect. */
typedef struct sonder_metrics_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  void (*add)(void* ctx, uint32_t metric, uint32_t label_value, double amount);  /* counter: amount >= 0; gauge: the value */
} sonder_metrics_service;

/* "state/1": the stores that the manifest declares, in its order; each belongs to the task. Keys are at most 4 KiB, values
 * at most 1 MiB. Every function answers SONDER_OK, or SONDER_FATAL when the limits are broken or the disk failed.
 * In an `ordering: stateless` plugin this service is null. */
typedef struct sonder_state_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  /* `*found` is 1 and `*value` the newest value, or `*found` is 0. `*value` lives until the next call of this service. */
  int32_t (*get)(void* ctx, uint32_t store, sonder_bytes key, sonder_bytes* value, int32_t* found);
  int32_t (*put)(void* ctx, uint32_t store, sonder_bytes key, sonder_bytes value);
  int32_t (*erase)(void* ctx, uint32_t store, sonder_bytes key);
  /* Calls `visit` for each entry whose key starts with `prefix`, by ascending key, until it returns non-zero. `visit` must
   * not call this service. */
  int32_t (*scan)(void* ctx, uint32_t store, sonder_bytes prefix,
                  int32_t (*visit)(void* visit_ctx, sonder_bytes key, sonder_bytes value), void* visit_ctx);
} sonder_state_service;

/* "clock/1". Times are int64 milliseconds of the Unix epoch, UTC. All are fixed for the length of a call. */
typedef struct sonder_clock_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  int64_t (*event_time_ms)(void* ctx);      /* the task's: the greatest event time merged so far; INT64_MIN before any */
  int64_t (*processing_time_ms)(void* ctx); /* of the call */
} sonder_clock_service;

/* "random/1": the same numbers for the same row on every replay, whoever else is in the batch: seeded by subject, event
 * position and the plugin's version. `row` is a row of the batch of this call. */
typedef struct sonder_random_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  uint64_t (*next)(void* ctx, int64_t row);
} sonder_random_service;

/* "secrets/1": secrets that the manifest names and the operator's configuration supplies by file or environment.
 * SONDER_OK, or SONDER_BAD_CONFIG if there is none of that name. Copy what you keep; wipe it when done. */
typedef struct sonder_secrets_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  int32_t (*get)(void* ctx, sonder_string name, sonder_bytes* secret);
} sonder_secrets_service;

typedef enum sonder_time_kind { SONDER_EVENT_TIME = 0, SONDER_PROCESSING_TIME = 1 } sonder_time_kind;

/* "timer/1": one timer per (subject of the row, declared timer, `tag`); setting it again moves it. When it fires, its
 * subject's consent is checked again; if it is gone, the timer is dropped and counted. `payload` is at most 4 KiB. */
typedef struct sonder_timer_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  int32_t (*set)(void* ctx, int64_t row, uint32_t timer, uint64_t tag, int32_t time_kind, int64_t at_ms,
                 sonder_bytes payload);
  int32_t (*cancel)(void* ctx, int64_t row, uint32_t timer, uint64_t tag);
} sonder_timer_service;

/* "consent_authority/1": granted to one stage of a flow, by its configuration. The purposes that the flow uses, each with
 * the bit that stands for it in `sonder_output.purpose_mask`. At most 64. Fixed for the life of the process. */
typedef struct sonder_consent_authority_service {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  uint32_t (*purposes)(void* ctx);
  sonder_string (*purpose)(void* ctx, uint32_t bit);
} sonder_consent_authority_service;

/* ---- Calls -------------------------------------------------------------------------------------------------------- */

/* Rows of one input port, oldest first. */
typedef struct sonder_batch {
  uint32_t struct_size;
  uint32_t port; /* index in the manifest's `inputs` */
  int64_t rows;  /* > 0 */
  /* Format "+s": one child for each of the port's `reads`, in the manifest's order, of exactly the declared type. A read
   * that is declared optional (`optional_where`: under a configuration that has this property) and that the flow has not is
   * a column of nulls; one declared as string may be an enum in the flow: its symbols as text. */
  const struct ArrowSchema* schema;
  const struct ArrowArray* array;
  /* Reserved columns, `rows` long; null unless the port lists them under `reserved`. */
  const int64_t* timestamp_ms;        /* "timestamp": of the record in the log */
  const int64_t* event_time_ms;       /* "event_time": the topic's configured field, else the record timestamp */
  const uint8_t* tombstone;           /* "tombstone": 1 where the record has no value (all its reads are null) */
  const struct ArrowArray* key;       /* "key": binary, null where the record has none */
  const struct ArrowArray* headers;   /* "headers": map<utf8, binary> */
  int64_t watermark_ms;               /* no event of this port with an earlier time is expected; INT64_MIN: unknown */
  const volatile int32_t* cancelled;  /* becomes non-zero when the call should give up */
} sonder_batch;

/* What a call makes of a batch; filled by the plugin, owned by the host. */
typedef struct sonder_output {
  uint32_t struct_size;
  uint32_t columns_count;
  uint8_t* verdicts;         /* [rows], preset to SONDER_PASS */
  uint16_t* reasons;         /* [rows], index in the manifest's `reasons` for drops and dead letters; preset to 0 */
  uint32_t* retry_after_ms;  /* [rows], for SONDER_RETRY_ROW; preset to 0 */
  /* One slot for each of the port's `writes`, in the manifest's order, preset to all zero. A slot whose `release` is set
   * after the call is an array of the declared type with exactly `rows` entries (entries of rows that do not pass are
   * ignored); the host releases it. An empty slot means null for each row, and is refused for a type without null. */
  struct ArrowArray* columns;
  /* [rows], only for the stage that holds consent_authority/1, else null. Preset to 0: no purpose. */
  uint64_t* purpose_mask;
  /* Emits `count` rows on output port `port` (index in the manifest's `outputs`, one that declares `emits`). `array` has
   * format "+s" with one child per declared field; ownership passes to the host also when it is refused. Row i comes from
   * row `source_rows[i]` of this batch and inherits its subject, consent and position. SONDER_OK, or SONDER_FATAL when a
   * limit or the declared shape is broken; the call should then return it. */
  int32_t (*emit)(void* ctx, uint32_t port, const int64_t* source_rows, int64_t count, struct ArrowArray* array);
  void* ctx;
} sonder_output;

/* Timers that are due, oldest first. For services, row i is entry i. Their output has no columns; rows are emitted. */
typedef struct sonder_due_timers {
  uint32_t struct_size;
  uint32_t timer; /* index in the manifest's `timers` */
  int64_t rows;
  const int64_t* at_ms;
  const uint64_t* tags;
  const sonder_bytes* payloads;
} sonder_due_timers;

typedef struct sonder_module_args {
  uint32_t struct_size;
  uint32_t reserved;
  sonder_string stage;       /* its name in the flow */
  sonder_string config_json; /* valid under the manifest's `config`, defaults filled in */
  sonder_string purpose;     /* the stage's purpose; empty if it has none */
} sonder_module_args;

/* What `sonder_plugin_entry` returns: static, immutable. */
typedef struct sonder_plugin {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  /* One module per stage and process: weights, compiled patterns, all that instances share. It is read by many threads at a
   * time after this call. `*module` is handed back as it is. This and all calls below are under the stage's deadline. [control] */
  int32_t (*module_create)(const sonder_host* host, const sonder_module_args* args, void** module, sonder_error* error);
  void (*module_destroy)(void* module); /* [control] after all its instances */
  /* One instance per task, light, made anew after each discarded epoch. With `ordering: stateless` a host may make several
   * for a task, one a thread, and split a batch between them; `per_task` instances see all rows of their task in order.
   * `host` outlives the instance. [control] [task] */
  int32_t (*instance_create)(void* module, const sonder_host* host, void** instance, sonder_error* error);
  void (*instance_destroy)(void* instance); /* [control] [task] */
  int32_t (*process)(void* instance, const sonder_batch* batch, sonder_output* output, sonder_error* error); /* [task] */
  /* Null if the manifest declares no timers. [task] */
  int32_t (*fire)(void* instance, const sonder_due_timers* due, sonder_output* output, sonder_error* error);
  /* Null if no store ever changed its version. Turns one entry written by version `from` of store `store` into the current
   * form by `replace(ctx, key, value)` (not called: the entry is dropped). [control] */
  int32_t (*migrate)(void* module, uint32_t store, uint32_t from, sonder_bytes key, sonder_bytes value,
                     void (*replace)(void* ctx, sonder_bytes key, sonder_bytes value), void* ctx, sonder_error* error);
} sonder_plugin;

/* The one exported symbol. [any] */
SONDER_EXPORT const sonder_plugin* sonder_plugin_entry(void);

typedef const sonder_plugin* (*sonder_plugin_entry_fn)(void);

#ifdef __cplusplus
}
#endif

#endif
