// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a plug-in made of itself for one policy file, its functions and its
// account. Adapters share it; the last one gives it back.

#ifndef TIDEGATE_PLUGINS_INSTANCE_H_
#define TIDEGATE_PLUGINS_INSTANCE_H_

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/text.h"
#include "plugins/meter.h"
#include "tidegate/engine.h"
#include "tidegate/model_shape.h"
#include "tidegate/plugin.h"
#include "tidegate/plugins.h"
#include "tidegate/policy_file.h"

namespace tidegate::internal {

// A tidegate_setup and what it points to.
class PluginSetup {
 public:
  PluginSetup(const PluginOptionTable& options, const ModelShape& shape,
              const EngineSpec& engine);
  PluginSetup(const PluginSetup&) = delete;
  PluginSetup& operator=(const PluginSetup&) = delete;

  const tidegate_setup* get() const { return &setup_; }

 private:
  const PluginOptionTable options_;
  const EngineSpec engine_;
  const std::string model_name_;
  std::vector<const char*> keys_;
  std::vector<const char*> values_;
  tidegate_model model_{};
  tidegate_setup setup_{};
};

template <typename Table>
class PluginInstance {
 public:
  // InvalidArgument "FILE: why" when the plug-in refuses. `in_process` is empty
  // for a shared object.
  static absl::StatusOr<std::shared_ptr<PluginInstance>> Create(
      const Table& table, const InProcessPlugin& in_process,
      const PluginSetup& setup, PluginReport identity,
      const PluginOptions& options) {
    std::array<char, 512> text{};
    tidegate_message why{.struct_size = sizeof(why),
                         .reserved = 0,
                         .text = text.data(),
                         .size = static_cast<std::int64_t>(text.size())};
    void* self = nullptr;
    const std::int32_t status =
        in_process.create ? in_process.create(setup.get(), &self, &why)
                          : table.create(setup.get(), &self, &why);
    text.back() = '\0';
    if (status != TIDEGATE_OK) {
      const std::string reason(text.data());
      return InvalidArgument(
          identity.file, ": plug-in ", identity.name,
          " refuses: ", reason.empty() ? Concat("status ", status) : reason);
    }
    return std::shared_ptr<PluginInstance>(new PluginInstance(
        table, in_process.plugin, self, std::move(identity), options));
  }
  ~PluginInstance() { table_.destroy(self_); }
  PluginInstance(const PluginInstance&) = delete;
  PluginInstance& operator=(const PluginInstance&) = delete;

  const Table& table() const { return table_; }
  const void* self() const { return self_; }
  PluginMeter& meter() const { return meter_; }

 private:
  PluginInstance(const Table& table,
                 std::shared_ptr<const tidegate_plugin> owner, void* self,
                 PluginReport identity, const PluginOptions& options)
      : owner_(std::move(owner)),
        table_(table),
        self_(self),
        meter_(std::move(identity), options) {}

  const std::shared_ptr<const tidegate_plugin> owner_;  // of the table, if any
  const Table& table_;
  void* const self_;
  mutable PluginMeter meter_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_PLUGINS_INSTANCE_H_
