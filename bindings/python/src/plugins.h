// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A Python object behind the tables of plugin.h: what the scheduler asks is
// asked of its methods, and what they answer goes the way of every plug-in's
// answer, through the checks of plugins/. tidegate/plugins.py has the classes
// that people derive from.

#ifndef TIDEGATE_BINDINGS_PYTHON_PLUGINS_H_
#define TIDEGATE_BINDINGS_PYTHON_PLUGINS_H_

#include <nanobind/nanobind.h>

#include <memory>
#include <string>
#include <vector>

#include "tidegate/plugin.h"
#include "tidegate/plugins.h"

namespace tidegate::python {

// Thread-safety: the tables' functions from any thread, with or without the
// GIL, which they take. The constructor and the destructor need it.
class PythonPlugin {
 public:
  // `kind` as in a policy file; `plugin` has the methods that the kind asks
  // for, but for those that may be left out.
  PythonPlugin(std::string kind, std::string name, std::string version,
               nanobind::object plugin);
  PythonPlugin(const PythonPlugin&) = delete;
  PythonPlugin& operator=(const PythonPlugin&) = delete;

  const tidegate_plugin& descriptor() const { return descriptor_; }
  // What the policy's `use` has behind "plugin:".
  std::string Word() const { return "python:" + kind_ + ":" + name_; }
  // In place of create() of the tables.
  std::int32_t Create(const tidegate_setup* setup, void** self,
                      tidegate_message* why) noexcept;

 private:
  friend struct Trampolines;

  // What `call` does with the GIL held, as a status: no exception leaves it.
  // The first one is told as a warning, with its traceback.
  template <typename Call>
  std::int32_t Guard(const char* method, const Call& call) const noexcept;
  void Raised(const char* method, const char* what) const noexcept;

  const std::string kind_;
  const std::string name_;
  const std::string version_;
  // Bound methods; those that the object lacks are null.
  nanobind::object setup_, price_, breakpoints_, sequence_bytes_, route_,
      terms_, key_, may_pass_, patience_s_, width_, may_start_, output_tokens_;
  mutable bool told_ = false;  // under the GIL
  tidegate_estimator estimator_{};
  tidegate_chunk_policy chunk_{};
  tidegate_admission_policy admission_{};
  tidegate_order_policy order_{};
  tidegate_pressure_policy pressure_{};
  tidegate_plugin descriptor_{};
};

// As Plugins::Load() takes them. Each is kept for as long as anything is made
// of it. Throws ValueError for two of a kind.
InProcessPlugins InProcess(
    const std::vector<std::shared_ptr<PythonPlugin>>& plugins);

// The class of this file and the views that its methods are called with.
void BindPlugins(nanobind::module_& m);

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_PLUGINS_H_
