/* Copyright 2026 The Tidegate Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Who is preempted: the lowest priority, and of those whoever has computed
 * least. In plain C: no wrapper, and nothing but plugin.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tidegate/plugin.h"

struct state {
  int64_t patience_ns;
};

static int32_t refuse(tidegate_message* why, const char* text,
                      const char* word) {
  snprintf(why->text, (size_t)why->size, "%s \"%s\"", text, word);
  return TIDEGATE_FAILED;
}

static int32_t create(const tidegate_setup* setup, void** self,
                      tidegate_message* why) {
  double patience_s = 5;
  for (int64_t i = 0; i < setup->option_count; ++i) {
    char* end = NULL;
    const char* value = setup->option_values[i];
    if (strcmp(setup->option_keys[i], "patience_s") != 0) {
      return refuse(why, "unknown option", setup->option_keys[i]);
    }
    patience_s = strtod(value, &end);
    if (*value == '\0' || *end != '\0' || !(patience_s >= 0) ||
        patience_s > 3600) {
      return refuse(why, "patience_s: expected 0 to 3600, got", value);
    }
  }
  struct state* state = malloc(sizeof(*state));
  if (state == NULL) return refuse(why, "no memory for", "state");
  state->patience_ns = (int64_t)(patience_s * 1e9);
  *self = state;
  return TIDEGATE_OK;
}

static void destroy(void* self) { free(self); }

static int32_t key(const void* self, const tidegate_request* request,
                   double* key) {
  (void)self;
  const int64_t computed =
      request->done_tokens - request->cached_tokens + request->decoded_tokens;
  /* Fewer tokens than this are in any request. */
  *key = (double)request->priority * 1e9 + (double)computed;
  return TIDEGATE_OK;
}

static int32_t patience(const void* self, int64_t* nanoseconds) {
  *nanoseconds = ((const struct state*)self)->patience_ns;
  return TIDEGATE_OK;
}

static const tidegate_pressure_policy pressure = {
    .struct_size = sizeof(tidegate_pressure_policy),
    .create = create,
    .destroy = destroy,
    .key = key,
    .patience = patience,
};

static const tidegate_plugin plugin = {
    .struct_size = sizeof(tidegate_plugin),
    .abi_major = TIDEGATE_PLUGIN_ABI_MAJOR,
    .abi_minor = TIDEGATE_PLUGIN_ABI_MINOR,
    .name = "lowest_priority",
    .version = "1.0",
    .pressure = &pressure,
};

const tidegate_plugin* tidegate_plugin_v1(void) { return &plugin; }
