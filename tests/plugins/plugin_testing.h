// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Policies with the shared objects of tests/plugins/objects, and small loads.

#ifndef TIDEGATE_TESTS_PLUGINS_PLUGIN_TESTING_H_
#define TIDEGATE_TESTS_PLUGINS_PLUGIN_TESTING_H_

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "estimators/text.h"
#include "tests/testing/matchers.h"
#include "tidegate/plugins.h"
#include "tidegate/policy_file.h"
#include "tidegate/scheduler.h"
#include "tidegate/simulator.h"
#include "tidegate/status.h"

namespace tidegate::testing {

// A copy of a shared object in a folder of its own, with the permissions that
// a plug-in must have whatever the umask of the build was.
class PluginFile {
 public:
  explicit PluginFile(const std::string& name) {
    std::string folder =
        (std::filesystem::temp_directory_path() / "tidegate_plugin_XXXXXX")
            .string();
    folder_ = mkdtemp(folder.data());
    path_ = folder_ + "/" + name + ".so";
    std::filesystem::copy_file(
        std::string(TIDEGATE_TEST_PLUGINS) + "/" + name + ".so", path_);
    chmod(path_.c_str(), 0755);
  }
  ~PluginFile() { std::filesystem::remove_all(folder_); }
  PluginFile(const PluginFile&) = delete;
  PluginFile& operator=(const PluginFile&) = delete;

  const std::string& path() const { return path_; }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  std::string path_;
};

// A policy whose table `kind` uses the plug-in.
inline absl::StatusOr<PolicyFile> PolicyWith(const std::string& kind,
                                             const std::string& path,
                                             const std::string& options = "") {
  return ParsePolicyFile(
      internal::Concat(
          "[model.shape]\nq_heads = 8\nkv_heads = 8\nhead_dim = 64\nlayers = "
          "4\n[engine]\nname = \"torch\"\nversion = \"2.11.0\"\ndevice = "
          "\"cuda-sm90\"\n[memory]\nceiling = \"400 MiB\"\nbase = \"256 MiB\"\n[",
          kind, "]\nuse = \"plugin:", path, "\"\noptions = {", options, "}\n"),
      "p.toml");
}

// What a program makes of such a policy.
struct Made {
  Plugins plugins;
  SchedulerOptions options;
};
inline absl::StatusOr<Made> Make(const PolicyFile& policy,
                                 const PluginOptions& watch = {}) {
  TG_ASSIGN_OR_RETURN(Plugins plugins, Plugins::Load(policy, watch));
  TG_ASSIGN_OR_RETURN(
      const EstimatorOptions asked,
      MakeEstimatorOptions(policy, *policy.model_shape, *policy.engine));
  TG_ASSIGN_OR_RETURN(CreatedEstimator made, plugins.CreateEstimator(asked));
  TG_ASSIGN_OR_RETURN(SchedulerOptions options,
                      MakeSchedulerOptions(policy, std::move(made.estimator),
                                           /*base=*/0));
  TG_RETURN_IF_ERROR(
      plugins.Apply(*policy.model_shape, *policy.engine, &options));
  return Made{std::move(plugins), std::move(options)};
}
inline absl::StatusOr<Made> Make(const std::string& kind,
                                 const std::string& path,
                                 const std::string& options,
                                 const PluginOptions& watch = {}) {
  TG_ASSIGN_OR_RETURN(const PolicyFile policy, PolicyWith(kind, path, options));
  return Make(policy, watch);
}

// Requests that come faster than they can be served, and more than fit.
inline Trace BusyTrace() {
  Trace trace;
  for (int i = 0; i < 60; ++i) {
    trace.rows.push_back({.arrival = Instant(std::chrono::milliseconds(20 * i)),
                          .prompt_tokens = 1000 + 700 * (i % 11),
                          .output_tokens = 50 + 10 * (i % 7),
                          .session = i});
  }
  return trace;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_PLUGINS_PLUGIN_TESTING_H_
