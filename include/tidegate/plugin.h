/* Copyright 2026 The Tidegate Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Plug-ins: estimators and policies in a shared object, version 1 of the ABI.
 *
 * A shared object exports one function, tidegate_plugin_v1(), that returns a
 * tidegate_plugin: a table of what it offers. A policy file names it:
 *
 *     [order]
 *     use = "plugin:libdeadline.so"       # relative to the policy file
 *     options = { slack_s = 2.5 }
 *
 * This header is plain C11 and needs nothing else; plugin.hpp makes a plug-in
 * a C++ class of twenty lines. docs/plugins.md is the tutorial.
 *
 * Rules that hold for everything here:
 *
 * - Growth. Every struct that may grow begins with its own size in bytes,
 *   filled in by whoever made it. Fields are only ever appended. A field is
 *   there if struct_size reaches past it; read no other. A change that breaks
 *   this has another symbol (tidegate_plugin_v2) and another major version.
 * - Ownership. Who allocates frees. What a call is given is valid until it
 *   returns: copy what is to last. What create() made is given to destroy(),
 *   once. Tables and the strings in them live as long as the process: the
 *   object is never unloaded.
 * - Errors. A function returns TIDEGATE_OK, or something else for "no answer".
 *   No C++ exception may leave it.
 * - Purity. An answer follows from the arguments and from what create() was
 *   given: no clock, thread, file or random source. `self` is const and is
 *   used from several threads at once.
 * - What comes back is checked. No answer, or one that cannot be, is overruled
 *   by the built-in rule and counted as a fault; after eight faults the
 *   built-in replaces the plug-in for good.
 * - It runs inside the process. A crash in it is a crash of the process.
 */

#ifndef TIDEGATE_PLUGIN_H_
#define TIDEGATE_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TIDEGATE_PLUGIN_ABI_MAJOR 1u
#define TIDEGATE_PLUGIN_ABI_MINOR 0u
#define TIDEGATE_PLUGIN_SYMBOL "tidegate_plugin_v1"

#if defined(_WIN32)
#define TIDEGATE_PLUGIN_EXPORT __declspec(dllexport)
#else
#define TIDEGATE_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* What functions return. */
#define TIDEGATE_OK 0
#define TIDEGATE_FAILED 1 /* no answer */
#define TIDEGATE_THREW 2  /* no answer: plugin.hpp caught an exception */

/* More than any device has: prices saturate here, and a larger one is a fault.
 */
#define TIDEGATE_BYTES_MAX ((int64_t)1 << 60)
/* A field that was left open. */
#define TIDEGATE_UNSET INT64_MIN

/* What kind of mask an attention call has: MaskKind in estimator.h. */
#define TIDEGATE_MASK_NONE 0
#define TIDEGATE_MASK_CAUSAL 1
#define TIDEGATE_MASK_BOOL 2
#define TIDEGATE_MASK_FLOAT 3
#define TIDEGATE_MASK_ARRAY 4
#define TIDEGATE_MASK_LOWER_RIGHT 5

/* ---- What a plug-in is made from ---------------------------------------- */

/* The model, as far as prices depend on it. Heads are those of its first layer
 * with attention; 0 where the model has none. */
typedef struct tidegate_model {
  uint32_t struct_size;
  uint32_t reserved;
  const char* name;
  int64_t layers;
  int64_t attention_layers; /* with softmax attention of any kind */
  int64_t hidden;
  int64_t vocab;
  int64_t q_heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t head_dim_v;
  int64_t window;             /* of sliding attention, in tokens; 0: none */
  int64_t intermediate;       /* of its first feed-forward block */
  int64_t compute_bytes;      /* bytes of one element: 2, or 4 for fp32 */
  int64_t kv_bytes_per_token; /* kept for a token, once windows are full */
  int64_t weight_bytes;       /* TIDEGATE_UNSET: not known */
} tidegate_model;

typedef struct tidegate_setup {
  uint32_t struct_size;
  uint32_t reserved;
  uint32_t host_abi_major;
  uint32_t host_abi_minor;
  /* The `options` table of the policy file, ascending by key. Values as text:
   * numbers in decimal, booleans as "true" and "false". */
  const char* const* option_keys;
  const char* const* option_values;
  int64_t option_count;
  const tidegate_model* model; /* never NULL */
  /* The engine as the policy file says; "" where it says nothing. */
  const char* engine_name;
  const char* engine_version;
  const char* engine_device;
} tidegate_setup;

/* create() writes its reason here when it fails: at most `size` bytes, the
 * final zero included. */
typedef struct tidegate_message {
  uint32_t struct_size;
  uint32_t reserved;
  char* text;
  int64_t size;
} tidegate_message;

/* ---- What is asked about ------------------------------------------------ */

/* Query tokens of one sequence. Of fixed size: it lies in arrays. */
typedef struct tidegate_chunk {
  int64_t n;      /* query tokens, >= 1 */
  int64_t kv_len; /* everything attended to, the chunk included; >= n */
  int32_t mask;   /* TIDEGATE_MASK_… */
  int32_t reserved;
} tidegate_chunk;

/* One forward pass. */
typedef struct tidegate_step {
  uint32_t struct_size;
  uint32_t reserved;
  const tidegate_chunk* chunks; /* one per sequence in prefill */
  int64_t chunk_count;
  int64_t decode_tokens; /* of other sequences, in the same pass */
  int64_t decode_kv_len; /* the longest that one of them attends to */
  int64_t logits_rows;   /* 0: one per chunk and decode token */
} tidegate_step;

typedef struct tidegate_price {
  uint32_t struct_size;
  uint32_t reserved;
  /* Peak of the step minus live before it, without the KV that it adds. */
  int64_t transient_bytes;
  /* The largest single buffer; TIDEGATE_UNSET: the transient. */
  int64_t largest_allocation_bytes;
  /* What of the transient no narrower chunk avoids; TIDEGATE_UNSET: 0. */
  int64_t fixed_in_n_bytes;
} tidegate_price;

/* One summand of a transient, for explanations. Of fixed size. */
typedef struct tidegate_term {
  char name[48]; /* ends with a zero */
  int64_t bytes;
} tidegate_term;

/* Along which variable a price is walked. */
#define TIDEGATE_AXIS_N 0      /* n moves, kv_len = fixed */
#define TIDEGATE_AXIS_KV_LEN 1 /* kv_len moves, n = fixed */
#define TIDEGATE_AXIS_CHUNK 2  /* n moves, kv_len = fixed + n */

typedef struct tidegate_range {
  uint32_t struct_size;
  int32_t axis; /* TIDEGATE_AXIS_… */
  int64_t fixed;
  int64_t lo;
  int64_t hi;
  int32_t mask; /* TIDEGATE_MASK_… */
  int32_t reserved;
} tidegate_range;

#define TIDEGATE_REQUEST_ADMITTED 1u
#define TIDEGATE_REQUEST_DECODING 2u /* its prompt is computed */

typedef struct tidegate_request {
  uint32_t struct_size;
  uint32_t flags; /* TIDEGATE_REQUEST_… */
  uint64_t id;
  int64_t priority;
  const char* tenant; /* tenant_length bytes, no final zero; "" for none */
  int64_t tenant_length;
  int64_t arrived_ns;
  int64_t prompt_tokens;
  int64_t cached_tokens; /* of the prompt: not computed */
  int64_t done_tokens;   /* in the cache now: hits and computed ones */
  int64_t max_output_tokens;
  int64_t decoded_tokens;
  int64_t claim_bytes; /* promised, and not live yet */
  int64_t held_bytes;  /* live, and gone when it ends */
  int64_t preempted;   /* times that it lost its progress */
  /* Prompt tokens computed: for it, for its tenant, and for others since it
   * last ran or arrived; the last is told to order policies only, 0 elsewhere.
   */
  int64_t served_tokens;
  int64_t tenant_served_tokens;
  int64_t passed_over_tokens;
} tidegate_request;

typedef struct tidegate_moment {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t now_ns;        /* on the clock of arrived_ns */
  int64_t served_tokens; /* prompt tokens computed so far, of all requests */
} tidegate_moment;

/* ---- The five kinds ------------------------------------------------------ */

/* create() makes an object from the setup, or fails and says why. */
typedef int32_t (*tidegate_create)(const tidegate_setup* setup, void** self,
                                   tidegate_message* why);
typedef void (*tidegate_destroy)(void* self);

/* For tidegate_estimator.flags. */
/* Prices never fall as n or kv_len grow: `breakpoints` may be NULL. */
#define TIDEGATE_ESTIMATOR_MONOTONE 1u
/* The engine allocates a sequence's whole KV at its start. */
#define TIDEGATE_ESTIMATOR_KV_PREALLOCATED 2u
/* Transients are reserved for the widest step when the model loads. */
#define TIDEGATE_ESTIMATOR_AT_LOAD 4u
/* Prices are guesses: `assumed` is shown beside them. */
#define TIDEGATE_ESTIMATOR_ASSUMED 8u

/* What will a step cost? */
typedef struct tidegate_estimator {
  uint32_t struct_size;
  uint32_t flags;
  tidegate_create create;
  tidegate_destroy destroy;
  /* `price` comes with every field unset. */
  int32_t (*price)(const void* self, const tidegate_step* step,
                   tidegate_price* price);
  /* Required unless MONOTONE: every v in (lo, hi] at which the transient or
   * the largest allocation may be below that at v - 1, ascending. Writes the
   * first `capacity` of them, and to *count how many there are. */
  int32_t (*breakpoints)(const void* self, const tidegate_range* range,
                         int64_t* values, int64_t capacity, int64_t* count);
  /* Optional: resident bytes of a sequence of `tokens` tokens whose last chunk
   * had `chunk`. 0 tokens keep 0 bytes, more tokens never fewer. NULL: as the
   * model's shape says. What a step adds follows from it. */
  int32_t (*sequence_bytes)(const void* self, int64_t tokens, int64_t chunk,
                            int64_t* bytes);
  /* Optional: the name of the kernel that a step takes, which corrections by
   * measurement are kept for. At most `size` bytes, the final zero included. */
  int32_t (*route)(const void* self, const tidegate_step* step, char* name,
                   int64_t size);
  /* Optional: the transient's summands, for explanations; they must add up to
   * it. Counts as `breakpoints` does. */
  int32_t (*terms)(const void* self, const tidegate_step* step,
                   tidegate_term* terms, int64_t capacity, int64_t* count);
} tidegate_estimator;

/* Who is next? */
typedef struct tidegate_order_policy {
  uint32_t struct_size;
  uint32_t flags; /* none */
  tidegate_create create;
  tidegate_destroy destroy;
  /* The lowest key is served first; of equals the earlier arrival. Finite. */
  int32_t (*key)(const void* self, const tidegate_request* request,
                 const tidegate_moment* moment, double* key);
  /* Optional: whether others may be admitted past `blocked`, which is first
   * but waits for memory. Writes 0 or 1. NULL: never, so that nobody starves.
   */
  int32_t (*may_pass)(const void* self, const tidegate_request* blocked,
                      const tidegate_moment* moment, int32_t* yes);
} tidegate_order_policy;

/* Who loses its progress when nothing else makes room? */
typedef struct tidegate_pressure_policy {
  uint32_t struct_size;
  uint32_t flags; /* none */
  tidegate_create create;
  tidegate_destroy destroy;
  /* The lowest key is preempted first; of equals the lower id. Finite. */
  int32_t (*key)(const void* self, const tidegate_request* request,
                 double* key);
  /* Optional: how long memory is short before anybody is preempted, 0 to one
   * hour; asked once. NULL: 5 s. */
  int32_t (*patience)(const void* self, int64_t* nanoseconds);
} tidegate_pressure_policy;

/* A chunk's width is to be chosen. */
typedef struct tidegate_chunk_question {
  uint32_t struct_size;
  uint32_t reserved;
  const tidegate_request* request; /* the chunk starts at done_tokens */
  /* The limits of the policy file. */
  int64_t max;
  int64_t floor;
  int64_t quantum;
  /* What may be answered: 1 to `most` tokens. Others may have a part of the
   * step. */
  int64_t most;
  /* What the built-in throttle would take: the widest that fits and leaves a
   * remainder that still fits. 0: nothing fits now. */
  int64_t fits;
  /* Bytes that are free for this chunk: its growth and its transient. */
  int64_t room_bytes;
  /* Longest step that decoding requests should wait for; 0: no limit. */
  int64_t decode_stall_ns;
  /* What a chunk costs: valid during the call. `host` is their argument. */
  const void* host;
  /* Transient and growth of a chunk of n tokens. */
  int64_t (*need_bytes)(const void* host, int64_t n);
  /* How long it takes; TIDEGATE_UNSET before steps were measured. */
  int64_t (*takes_ns)(const void* host, int64_t n);
} tidegate_chunk_question;

/* How wide is the next chunk? */
typedef struct tidegate_chunk_policy {
  uint32_t struct_size;
  uint32_t flags; /* none */
  tidegate_create create;
  tidegate_destroy destroy;
  /* 0: not now. Otherwise at least `floor`, or all that is left of the prompt,
   * or `fits`; at most `most`. It is cut to a multiple of the quantum and to
   * what leaves a remainder that still fits. */
  int32_t (*width)(const void* self, const tidegate_chunk_question* question,
                   int64_t* n);
} tidegate_chunk_policy;

typedef struct tidegate_admission_question {
  uint32_t struct_size;
  uint32_t reserved;
  const tidegate_request* request;
  /* Everything that was admitted, by id. */
  const tidegate_request* const* admitted;
  int64_t admitted_count;
  int64_t ceiling_bytes;
  int64_t headroom_bytes;
  int64_t live_bytes;    /* now */
  int64_t claimed_bytes; /* promised to others, and not live yet */
  int64_t claim_bytes;   /* what would be promised to this one */
  /* 1: its prompt and the output that output_tokens() says fit now, beside
   * everything promised. 0: admitting it is a fault. */
  int32_t fits;
  /* 1: the built-in `reserve` would admit it: all that it may ever hold fits,
   * and everybody who was admitted can still finish. */
  int32_t reserve_admits;
} tidegate_admission_question;

/* May this request start? What can never fit is refused before it is asked. */
typedef struct tidegate_admission_policy {
  uint32_t struct_size;
  uint32_t flags; /* none */
  tidegate_create create;
  tidegate_destroy destroy;
  /* 1: it starts. 0: it waits. */
  int32_t (*may_start)(const void* self,
                       const tidegate_admission_question* question,
                       int32_t* yes);
  /* Optional: how many output tokens to keep room for, 0 to max_output_tokens.
   * `share_permille` of their budgets is what requests used of late. NULL: all
   * of them. */
  int32_t (*output_tokens)(const void* self, const tidegate_request* request,
                           int64_t share_permille, int64_t* tokens);
} tidegate_admission_policy;

/* ---- What a shared object exports ---------------------------------------- */

typedef struct tidegate_plugin {
  uint32_t struct_size;
  uint32_t abi_major; /* TIDEGATE_PLUGIN_ABI_MAJOR that it was built with */
  uint32_t abi_minor; /* TIDEGATE_PLUGIN_ABI_MINOR, likewise */
  /* The lowest minor version of a host that it works with; 0: any. */
  uint32_t needs_minor;
  /* 1 to 64 of a-z, 0-9, '-', '_' and '.'. */
  const char* name;
  /* Changes whenever the same question may get another answer. */
  const char* version;
  /* NULL: not offered. */
  const tidegate_estimator* estimator;
  const tidegate_chunk_policy* chunk;
  const tidegate_admission_policy* admission;
  const tidegate_order_policy* order;
  const tidegate_pressure_policy* pressure;
} tidegate_plugin;

/* The one exported symbol. */
TIDEGATE_PLUGIN_EXPORT const tidegate_plugin* tidegate_plugin_v1(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* TIDEGATE_PLUGIN_H_ */
