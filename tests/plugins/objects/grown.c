/* Copyright 2026 The Tidegate Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plug-in as a later minor version of the header would make it: structs have
 * grown at their ends, and an older host works with it all the same. */
#include <stdlib.h>

#include "tidegate/plugin.h"

struct grown_order {
  tidegate_order_policy now;
  void* later;
};
struct grown_plugin {
  tidegate_plugin now;
  void* later[3];
};

static int32_t create(const tidegate_setup* setup, void** self,
                      tidegate_message* why) {
  (void)setup;
  (void)why;
  *self = malloc(1);
  return TIDEGATE_OK;
}
static void destroy(void* self) { free(self); }
static int32_t key(const void* self, const tidegate_request* request,
                   const tidegate_moment* moment, double* key) {
  (void)self;
  (void)moment;
  *key = -(double)request->prompt_tokens;
  return TIDEGATE_OK;
}

static const struct grown_order order = {
    .now = {.struct_size = sizeof(struct grown_order),
            .flags = 0x80000000u,
            .create = create,
            .destroy = destroy,
            .key = key},
};
static const struct grown_plugin plugin = {
    .now = {.struct_size = sizeof(struct grown_plugin),
            .abi_major = TIDEGATE_PLUGIN_ABI_MAJOR,
            .abi_minor = TIDEGATE_PLUGIN_ABI_MINOR + 3,
            .name = "grown",
            .version = "2.0",
            .order = &order.now},
};

const tidegate_plugin* tidegate_plugin_v1(void) { return &plugin.now; }
