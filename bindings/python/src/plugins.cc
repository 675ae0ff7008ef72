// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/plugins.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "bindings/python/src/errors.h"
#include "bindings/python/src/plugin_views.h"
#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;
using nb::literals::operator""_a;

void Write(std::string_view from, char* to, std::int64_t size) {
  if (to == nullptr || size < 1) return;
  const auto count = std::min(from.size(), static_cast<std::size_t>(size - 1));
  std::memcpy(to, from.data(), count);
  to[count] = '\0';
}

// What a method answered. Strict, since what is forgotten in Python is None,
// and None would pass as "no" and True as 1.
[[noreturn]] void WrongType(const char* expected, nb::handle got) {
  throw nb::type_error(internal::Concat("expected ", expected, ", got ",
                                        nb::type_name(got.type()).c_str())
                           .c_str());
}

std::int64_t Integer(nb::handle answer) {
  // Integers of other libraries have __index__ too; floats have not.
  if (PyBool_Check(answer.ptr()) || !PyIndex_Check(answer.ptr())) {
    WrongType("an integer", answer);
  }
  const nb::object index = nb::steal(PyNumber_Index(answer.ptr()));
  if (!index.is_valid()) throw nb::python_error();
  const long long value = PyLong_AsLongLong(index.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  return value;
}

double Real(nb::handle answer) {
  const double value = PyFloat_AsDouble(answer.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  return value;
}

std::int32_t YesOrNo(nb::handle answer) {
  if (!PyBool_Check(answer.ptr())) WrongType("True or False", answer);
  return answer.ptr() == Py_True ? 1 : 0;
}

std::string Text(nb::handle answer) {
  if (!PyUnicode_Check(answer.ptr())) WrongType("a string", answer);
  return nb::cast<std::string>(answer);
}

// An attribute of a Cost that may be None.
void Optional(nb::handle cost, const char* name, std::int64_t* to) {
  const nb::object value = nb::getattr(cost, name);
  if (!value.is_none()) *to = Integer(value);
}

}  // namespace

template <typename Call>
std::int32_t PythonPlugin::Guard(const char* method,
                                 const Call& call) const noexcept {
  if (!nb::is_alive()) return TIDEGATE_FAILED;
  const nb::gil_scoped_acquire gil;
  try {
    call();
    return TIDEGATE_OK;
  } catch (nb::python_error& error) {
    if (error.matches(PyExc_Exception)) {
      Raised(method, error.what());
    } else if (error.matches(PyExc_KeyboardInterrupt)) {
      // Not this plug-in's: it goes on in the main thread, once that is back.
      PyErr_SetInterrupt();
    }
  } catch (const std::exception& error) {
    Raised(method, error.what());
  }
  return TIDEGATE_THREW;
}

void PythonPlugin::Raised(const char* method, const char* what) const noexcept {
  if (std::exchange(told_, true)) return;
  const std::string text = internal::Concat(
      kind_, " plug-in ", name_, ": ", method,
      "() gave no answer; the built-in's counts instead: ", what);
  // A filter may make an exception of it: there is nobody to raise it to.
  if (PyErr_WarnEx(PyExc_RuntimeWarning, text.c_str(), 1) < 0) {
    PyErr_WriteUnraisable(nullptr);
  }
}

// The functions of the tables: `self` is what Create() made of it.
struct Trampolines {
  static const PythonPlugin& Self(const void* self) {
    return *static_cast<const PythonPlugin*>(self);
  }
  static void Destroy(void*) {}  // InProcessPlugin::plugin keeps it
  static std::int32_t NotCalled(const tidegate_setup*, void**,
                                tidegate_message*) {
    return TIDEGATE_FAILED;
  }

  static std::int32_t Price(const void* self, const tidegate_step* step,
                            tidegate_price* price) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("price", [&] {
      const nb::object cost = plugin.price_(StepView(*step));
      if (PyIndex_Check(cost.ptr())) {
        price->transient_bytes = Integer(cost);
        return;
      }
      if (!nb::hasattr(cost, "transient_bytes")) {
        WrongType("an integer or a Cost", cost);
      }
      Optional(cost, "transient_bytes", &price->transient_bytes);
      Optional(cost, "largest_allocation_bytes",
               &price->largest_allocation_bytes);
      Optional(cost, "fixed_in_n_bytes", &price->fixed_in_n_bytes);
    });
  }
  static std::int32_t Breakpoints(const void* self, const tidegate_range* range,
                                  std::int64_t* values, std::int64_t capacity,
                                  std::int64_t* count) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("breakpoints", [&] {
      std::int64_t found = 0;
      for (const nb::handle value : plugin.breakpoints_(*range)) {
        if (found < capacity) values[found] = Integer(value);
        ++found;
      }
      *count = found;
    });
  }
  static std::int32_t SequenceBytes(const void* self, std::int64_t tokens,
                                    std::int64_t chunk, std::int64_t* bytes) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("sequence_bytes", [&] {
      *bytes = Integer(plugin.sequence_bytes_(tokens, chunk));
    });
  }
  static std::int32_t Route(const void* self, const tidegate_step* step,
                            char* name, std::int64_t size) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("route", [&] {
      Write(Text(plugin.route_(StepView(*step))), name, size);
    });
  }
  static std::int32_t Terms(const void* self, const tidegate_step* step,
                            tidegate_term* terms, std::int64_t capacity,
                            std::int64_t* count) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("terms", [&] {
      const nb::object answer = plugin.terms_(StepView(*step));
      if (!PyDict_Check(answer.ptr())) WrongType("a dict", answer);
      *count = 0;
      for (const auto& [name, bytes] : nb::borrow<nb::dict>(answer)) {
        if (*count < capacity) {
          Write(Text(name), terms[*count].name, sizeof(terms[*count].name));
          terms[*count].bytes = Integer(bytes);
        }
        ++*count;
      }
    });
  }

  static std::int32_t OrderKey(const void* self,
                               const tidegate_request* request,
                               const tidegate_moment* moment, double* key) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("key", [&] {
      *key = Real(plugin.key_(RequestView(*request), *moment));
    });
  }
  static std::int32_t MayPass(const void* self, const tidegate_request* blocked,
                              const tidegate_moment* moment,
                              std::int32_t* yes) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("may_pass", [&] {
      *yes = YesOrNo(plugin.may_pass_(RequestView(*blocked), *moment));
    });
  }

  static std::int32_t PressureKey(const void* self,
                                  const tidegate_request* request,
                                  double* key) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard(
        "key", [&] { *key = Real(plugin.key_(RequestView(*request))); });
  }
  static std::int32_t Patience(const void* self, std::int64_t* nanoseconds) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("patience_s", [&] {
      const double seconds = Real(plugin.patience_s_());
      // What is no such time is refused by whoever asked.
      const bool fits = std::fabs(seconds) < 1e9;
      *nanoseconds = fits ? std::llround(seconds * 1e9) : TIDEGATE_UNSET;
    });
  }

  static std::int32_t Width(const void* self,
                            const tidegate_chunk_question* question,
                            std::int64_t* n) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("width", [&] {
      const nb::object asked = nb::cast(ChunkQuestionView(*question));
      struct Answered {
        ChunkQuestionView& view;
        ~Answered() { view.host = nullptr; }
      } answered{nb::cast<ChunkQuestionView&>(asked)};
      *n = Integer(plugin.width_(asked));
    });
  }

  static std::int32_t MayStart(const void* self,
                               const tidegate_admission_question* question,
                               std::int32_t* yes) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("may_start", [&] {
      *yes = YesOrNo(plugin.may_start_(AdmissionQuestionView(*question)));
    });
  }
  static std::int32_t OutputTokens(const void* self,
                                   const tidegate_request* request,
                                   std::int64_t share_permille,
                                   std::int64_t* tokens) {
    const PythonPlugin& plugin = Self(self);
    return plugin.Guard("output_tokens", [&] {
      *tokens =
          Integer(plugin.output_tokens_(RequestView(*request), share_permille));
    });
  }

  // The table of one kind, filled in as far as all kinds are alike.
  template <typename Table>
  static const Table* Begin(Table* table) {
    table->struct_size = sizeof(Table);
    table->create = NotCalled;
    table->destroy = Destroy;
    return table;
  }

  static void Fill(PythonPlugin* plugin, nb::handle object) {
    const auto method = [&](const char* name) {
      const nb::object found = nb::getattr(object, name, nb::none());
      if (found.is_none()) return nb::object();
      return found;
    };
    const auto required = [&](const char* name) {
      nb::object found = method(name);
      if (!found.is_valid() || PyCallable_Check(found.ptr()) == 0) {
        throw nb::type_error(internal::Concat("a plug-in of the kind \"",
                                              plugin->kind_, "\" has a method ",
                                              name, "()")
                                 .c_str());
      }
      return found;
    };
    const auto flag = [&](const char* name, std::uint32_t bit) {
      return nb::cast<bool>(nb::getattr(object, name, nb::bool_(false))) ? bit
                                                                         : 0u;
    };
    plugin->setup_ = method("setup");
    tidegate_plugin& offers = plugin->descriptor_;
    if (plugin->kind_ == "estimator") {
      tidegate_estimator& table = plugin->estimator_;
      offers.estimator = Begin(&table);
      plugin->price_ = required("price");
      table.price = Price;
      table.flags =
          flag("kv_preallocated", TIDEGATE_ESTIMATOR_KV_PREALLOCATED) |
          flag("at_load", TIDEGATE_ESTIMATOR_AT_LOAD) |
          flag("assumed", TIDEGATE_ESTIMATOR_ASSUMED);
      plugin->breakpoints_ = method("breakpoints");
      if (plugin->breakpoints_.is_valid()) {
        table.breakpoints = Breakpoints;
      } else {
        table.flags |= TIDEGATE_ESTIMATOR_MONOTONE;
      }
      plugin->sequence_bytes_ = method("sequence_bytes");
      if (plugin->sequence_bytes_.is_valid()) {
        table.sequence_bytes = SequenceBytes;
      }
      plugin->route_ = method("route");
      if (plugin->route_.is_valid()) table.route = Route;
      plugin->terms_ = method("terms");
      if (plugin->terms_.is_valid()) table.terms = Terms;
    } else if (plugin->kind_ == "chunk") {
      offers.chunk = Begin(&plugin->chunk_);
      plugin->width_ = required("width");
      plugin->chunk_.width = Width;
    } else if (plugin->kind_ == "admission") {
      offers.admission = Begin(&plugin->admission_);
      plugin->may_start_ = required("may_start");
      plugin->admission_.may_start = MayStart;
      plugin->output_tokens_ = method("output_tokens");
      if (plugin->output_tokens_.is_valid()) {
        plugin->admission_.output_tokens = OutputTokens;
      }
    } else if (plugin->kind_ == "order") {
      offers.order = Begin(&plugin->order_);
      plugin->key_ = required("key");
      plugin->order_.key = OrderKey;
      plugin->may_pass_ = method("may_pass");
      if (plugin->may_pass_.is_valid()) plugin->order_.may_pass = MayPass;
    } else {
      offers.pressure = Begin(&plugin->pressure_);
      plugin->key_ = required("key");
      plugin->pressure_.key = PressureKey;
      plugin->patience_s_ = method("patience_s");
      if (plugin->patience_s_.is_valid()) plugin->pressure_.patience = Patience;
    }
  }
};

PythonPlugin::PythonPlugin(std::string kind, std::string name,
                           std::string version, nb::object plugin)
    : kind_(std::move(kind)),
      name_(std::move(name)),
      version_(std::move(version)) {
  descriptor_.struct_size = sizeof(descriptor_);
  descriptor_.abi_major = TIDEGATE_PLUGIN_ABI_MAJOR;
  descriptor_.abi_minor = TIDEGATE_PLUGIN_ABI_MINOR;
  descriptor_.name = name_.c_str();
  descriptor_.version = version_.c_str();
  Trampolines::Fill(this, plugin);
}

std::int32_t PythonPlugin::Create(const tidegate_setup* setup, void** self,
                                  tidegate_message* why) noexcept {
  *self = this;
  if (!setup_.is_valid() || !nb::is_alive()) return TIDEGATE_OK;
  const nb::gil_scoped_acquire gil;
  try {
    std::string engine;
    if (setup->engine_name[0] != '\0') {
      engine = EngineName(
          {setup->engine_name, setup->engine_version, setup->engine_device});
    }
    setup_(ModelView(*setup->model), engine);
    return TIDEGATE_OK;
  } catch (nb::python_error& error) {
    Write(nb::str(error.value()).c_str(), why->text, why->size);
  } catch (const std::exception& error) {
    Write(error.what(), why->text, why->size);
  }
  return TIDEGATE_FAILED;
}

InProcessPlugins InProcess(
    const std::vector<std::shared_ptr<PythonPlugin>>& plugins) {
  InProcessPlugins map;
  for (const std::shared_ptr<PythonPlugin>& plugin : plugins) {
    map[plugin->Word()] = {
        .plugin = {plugin, &plugin->descriptor()},
        .create = [plugin](const tidegate_setup* setup, void** self,
                           tidegate_message* why) {
          return plugin->Create(setup, self, why);
        }};
  }
  return map;
}

void BindPlugins(nb::module_& m) {
  BindPluginViews(m);
  nb::class_<PythonPlugin>(m, "Plugin")
      .def(nb::init<std::string, std::string, std::string, nb::object>(),
           "kind"_a, "name"_a, "version"_a, "plugin"_a);
}

}  // namespace tidegate::python
