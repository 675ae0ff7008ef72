// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From a path to a tidegate_plugin that can be used, or the reason why not.

#ifndef TIDEGATE_PLUGINS_SHARED_OBJECT_H_
#define TIDEGATE_PLUGINS_SHARED_OBJECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "tidegate/plugin.h"

namespace tidegate::internal {

// Never unloaded: what it handed out must last. Messages begin with the path.
absl::StatusOr<const tidegate_plugin*> LoadSharedObject(
    const std::string& path);

// What can be said about a descriptor alone: versions, sizes, names, and that
// what it offers is complete. `path` is for messages.
absl::Status CheckDescriptor(const std::string& path,
                             const tidegate_plugin* plugin);

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_SHARED_OBJECT_H_
