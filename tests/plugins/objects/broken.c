/* Copyright 2026 The Tidegate Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Shared objects that must not be loaded; which is wrong, the build says. */
#include "tidegate/plugin.h"

#if defined(BROKEN_UNRESOLVED)
extern void tidegate_test_nobody_defines_this(void);
#endif

static int32_t create(const tidegate_setup* setup, void** self,
                      tidegate_message* why) {
  (void)setup;
  (void)self;
  (void)why;
#if defined(BROKEN_UNRESOLVED)
  tidegate_test_nobody_defines_this();
#endif
  return TIDEGATE_FAILED;
}
static void destroy(void* self) { (void)self; }
#if !defined(BROKEN_FUNCTION)
static int32_t key(const void* self, const tidegate_request* request,
                   const tidegate_moment* moment, double* key) {
  (void)self;
  (void)request;
  (void)moment;
  *key = 0;
  return TIDEGATE_OK;
}
#endif
#if defined(BROKEN_BREAKPOINTS)
static int32_t price(const void* self, const tidegate_step* step,
                     tidegate_price* price) {
  (void)self;
  (void)step;
  price->transient_bytes = 1;
  return TIDEGATE_OK;
}
#endif

static const tidegate_order_policy order = {
#if defined(BROKEN_TABLE_SIZE)
    .struct_size = 16,
#else
    .struct_size = sizeof(tidegate_order_policy),
#endif
    .create = create,
    .destroy = destroy,
#if defined(BROKEN_FUNCTION)
    .key = NULL,
#else
    .key = key,
#endif
};

#if defined(BROKEN_BREAKPOINTS)
/* Not monotone, and without breakpoints. */
static const tidegate_estimator estimator = {
    .struct_size = sizeof(tidegate_estimator),
    .create = create,
    .destroy = destroy,
    .price = price,
};
#endif

static const tidegate_plugin plugin = {
#if defined(BROKEN_SIZE)
    .struct_size = 24,
#else
    .struct_size = sizeof(tidegate_plugin),
#endif
#if defined(BROKEN_MAJOR)
    .abi_major = 2,
    .abi_minor = 7,
#else
    .abi_major = TIDEGATE_PLUGIN_ABI_MAJOR,
    .abi_minor = TIDEGATE_PLUGIN_ABI_MINOR,
#endif
#if defined(BROKEN_MINOR)
    .needs_minor = 9,
#endif
#if defined(BROKEN_NAME)
    .name = "Not A Name",
#else
    .name = "broken",
#endif
#if defined(BROKEN_VERSION)
    .version = NULL,
#else
    .version = "1",
#endif
#if defined(BROKEN_BREAKPOINTS)
    .estimator = &estimator,
#endif
    .order = &order,
};

#if defined(BROKEN_SYMBOL)
TIDEGATE_PLUGIN_EXPORT const tidegate_plugin* tidegate_plugin_v0(void);
const tidegate_plugin* tidegate_plugin_v0(void) { return &plugin; }
#elif defined(BROKEN_NULL)
const tidegate_plugin* tidegate_plugin_v1(void) {
  (void)plugin;
  return NULL;
}
#else
const tidegate_plugin* tidegate_plugin_v1(void) { return &plugin; }
#endif
