// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A policy file that is reloaded while the service runs.
//
//   auto watcher = PolicyWatcher::Start(
//       {.file = "policy.toml", .shape = config.shape, .base = weights,
//        .on_reload = [](const PolicyReload& r) { Log(r.ToString()); }},
//       *service, executor);
//
// The kernel says when the file, or one that it includes, was written or
// replaced (inotify, on the folders: editors and configuration managers rename
// a new file over the old one). The whole policy is then read again, checked,
// and swapped in between two steps by Service::Reload(). One that is not right
// changes nothing, and is reported with file, line and column. Files whose
// bytes are the same as before are not reloaded.
//
// Linux; elsewhere Start() answers Unimplemented.
//
// Thread-safety: every method may be called from any thread. `on_reload` and
// `make` are called on a strand over the executor, one at a time.

#ifndef TIDEGATE_POLICY_WATCHER_H_
#define TIDEGATE_POLICY_WATCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/model_shape.h"
#include "tidegate/policy_file.h"
#include "tidegate/service.h"

namespace tidegate {

// What became of one change of the files.
struct PolicyReload {
  // OK: the policy is in effect. Otherwise nothing changed, and this says why.
  absl::Status status;
  std::vector<std::string> warnings;
  std::string file;
  std::int64_t number = 0;  // of this reload, from 1

  // "policy.toml: in effect", or "policy.toml: nothing changed: FILE:LINE:…".
  std::string ToString() const;
};

struct PolicyWatcherOptions {
  std::string file;
  // The model that is served: [[model_override]] and prices follow it.
  ModelShape shape;
  std::string model_config;  // its path, for match.name; may be empty
  // As MakeSchedulerOptions() takes it; a running service knows what is live.
  Bytes base = 0;
  // Variables for ${NAME}; null: the policy may name none. Called on the
  // strand.
  std::function<std::optional<std::string>(std::string_view name)> environment;
  // From the policy, [[model_override]] applied, to what takes effect. Null:
  // prices of `shape` on the policy's engine, as [estimator] says.
  std::function<absl::StatusOr<ServicePolicy>(const PolicyFile&)> make;
  // After each reload, good or bad. Must not throw.
  std::function<void(const PolicyReload&)> on_reload;
};

class PolicyWatcher {
 public:
  // Watches from now on. The file is not loaded: the service runs by it
  // already. NotFound when it is not there; Unimplemented where the system has
  // no inotify. `service` must outlive the watcher.
  static absl::StatusOr<std::unique_ptr<PolicyWatcher>> Start(
      PolicyWatcherOptions options, Service& service,
      boost::asio::any_io_executor executor);
  // Stops watching. A reload that has begun may still take effect.
  virtual ~PolicyWatcher() = default;

  // Reloads although no file changed: what SIGHUP is for.
  virtual void ReloadNow() = 0;

  // Every folder that is watched now, sorted.
  virtual std::vector<std::string> Folders() const = 0;
};

}  // namespace tidegate

#endif  // TIDEGATE_POLICY_WATCHER_H_
