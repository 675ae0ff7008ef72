// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A plug-in as a C++ class: the C ABI of plugin.h, written once.
//
//   #include "tidegate/plugin.hpp"
//
//   struct Deadline : tidegate::plugin::Order {
//     explicit Deadline(const tidegate::plugin::Setup& setup)
//         : slack_s(setup.Number("slack_s", 10)) {}
//     double Key(const tidegate_request& request,
//                const tidegate_moment&) const {
//       return request.arrived_ns / 1e9 + slack_s;
//     }
//     double slack_s;
//   };
//   TIDEGATE_PLUGIN("deadline", "1", Deadline)
//
// TIDEGATE_PLUGIN takes at most one class of each kind. The constructor may
// throw: what() is what the operator reads. Methods may throw too, and then
// have given no answer. An option of the policy file that the constructor did
// not ask for is an error.
//
// C++17, header-only; needs plugin.h and the standard library alone.

#ifndef TIDEGATE_PLUGIN_HPP_
#define TIDEGATE_PLUGIN_HPP_

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "tidegate/plugin.h"

#if __cplusplus < 201703L
#error "tidegate/plugin.hpp needs C++17: -std=c++17 or CMAKE_CXX_STANDARD 17"
#endif

// Hidden, so that two plug-ins of one process with classes of the same name
// have nothing in common: the linker would unify their tables otherwise.
#if defined(__GNUC__)
#define TIDEGATE_PLUGIN_HIDDEN_ __attribute__((visibility("hidden")))
#else
#define TIDEGATE_PLUGIN_HIDDEN_
#endif

namespace tidegate::plugin {

// What a plug-in is made from. Valid during the constructor only.
class Setup {
 public:
  explicit Setup(const tidegate_setup& setup)
      : setup_(setup),
        read_(static_cast<std::size_t>(
            std::max<std::int64_t>(0, setup.option_count))) {}

  const tidegate_model& model() const { return *setup_.model; }
  std::string_view engine_name() const { return setup_.engine_name; }
  std::string_view engine_version() const { return setup_.engine_version; }
  std::string_view engine_device() const { return setup_.engine_device; }

  // The option's value, or `fallback` where the policy file has none. They
  // throw where the value is not of that type.
  std::string Text(std::string_view key, std::string_view fallback) const {
    const char* value = Find(key);
    return std::string(value != nullptr ? value : fallback);
  }
  double Number(std::string_view key, double fallback) const {
    const char* value = Find(key);
    if (value == nullptr) return fallback;
    char* end = nullptr;
    const double number = std::strtod(value, &end);
    if (end == value || *end != '\0' || !(number - number == 0)) {
      Refuse(key, "a number", value);
    }
    return number;
  }
  std::int64_t Integer(std::string_view key, std::int64_t fallback) const {
    const char* value = Find(key);
    if (value == nullptr) return fallback;
    std::int64_t number = 0;
    const char* end = value + std::strlen(value);
    const auto [stop, error] = std::from_chars(value, end, number);
    if (error != std::errc() || stop != end) Refuse(key, "an integer", value);
    return number;
  }
  bool Flag(std::string_view key, bool fallback) const {
    const char* value = Find(key);
    if (value == nullptr) return fallback;
    const std::string_view text = value;
    if (text != "true" && text != "false") Refuse(key, "true or false", value);
    return text == "true";
  }

  // Throws for an option that nobody asked for: a misspelt one.
  void RefuseOthers() const {
    for (std::size_t i = 0; i < read_.size(); ++i) {
      if (read_[i]) continue;
      throw std::invalid_argument("unknown option \"" +
                                  std::string(setup_.option_keys[i]) + "\"");
    }
  }

 private:
  const char* Find(std::string_view key) const {
    for (std::size_t i = 0; i < read_.size(); ++i) {
      if (key != setup_.option_keys[i]) continue;
      read_[i] = true;
      return setup_.option_values[i];
    }
    return nullptr;
  }
  [[noreturn]] static void Refuse(std::string_view key, const char* wanted,
                                  const char* got) {
    throw std::invalid_argument("option " + std::string(key) + ": expected " +
                                wanted + ", got \"" + got + "\"");
  }

  const tidegate_setup& setup_;
  mutable std::vector<bool> read_;
};

// Sums and products of quantities that are not negative; TIDEGATE_BYTES_MAX
// when they do not fit.
inline std::int64_t Add(std::int64_t a, std::int64_t b) {
  return a > TIDEGATE_BYTES_MAX - b ? TIDEGATE_BYTES_MAX : a + b;
}
inline std::int64_t Mul(std::int64_t a, std::int64_t b) {
  if (a == 0 || b == 0) return 0;
  return a > TIDEGATE_BYTES_MAX / b ? TIDEGATE_BYTES_MAX : a * b;
}
template <typename... Rest>
std::int64_t Mul(std::int64_t a, std::int64_t b, std::int64_t c, Rest... rest) {
  return Mul(Mul(a, b), c, rest...);
}

// The chunks of a step: `for (const tidegate_chunk& chunk : Chunks(step))`.
class Chunks {
 public:
  explicit Chunks(const tidegate_step& step)
      : begin_(step.chunks), end_(step.chunks + step.chunk_count) {}
  const tidegate_chunk* begin() const { return begin_; }
  const tidegate_chunk* end() const { return end_; }

 private:
  const tidegate_chunk* begin_;
  const tidegate_chunk* end_;
};

inline std::string_view Tenant(const tidegate_request& request) {
  return {request.tenant, static_cast<std::size_t>(request.tenant_length)};
}

// A price: tidegate_price with what most leave open.
struct Cost {
  std::int64_t transient_bytes = TIDEGATE_UNSET;
  std::int64_t largest_allocation_bytes = TIDEGATE_UNSET;
  std::int64_t fixed_in_n_bytes = TIDEGATE_UNSET;
};

struct Term {
  std::string name;
  std::int64_t bytes = 0;
};

// What a class derives from says which kind it is. Methods that it has besides
// are found by name; those marked optional may be left out.

// Cost Price(const tidegate_step&) const
// std::vector<std::int64_t> Breakpoints(const tidegate_range&) const
//     optional: without it prices never fall as n or kv_len grow
// std::int64_t SequenceBytes(std::int64_t tokens, std::int64_t chunk) const
//     optional
// std::string Route(const tidegate_step&) const           optional
// std::vector<Term> Terms(const tidegate_step&) const     optional
// static constexpr std::uint32_t kFlags = TIDEGATE_ESTIMATOR_…   optional
struct Estimator {};

// double Key(const tidegate_request&, const tidegate_moment&) const
// bool MayPass(const tidegate_request&, const tidegate_moment&) const
//     optional
struct Order {};

// double Key(const tidegate_request&) const
// std::int64_t PatienceNs() const    optional
struct Pressure {};

// std::int64_t Width(const tidegate_chunk_question&) const
struct Chunk {};

// bool MayStart(const tidegate_admission_question&) const
// std::int64_t OutputTokens(const tidegate_request&, std::int64_t
//     share_permille) const    optional
struct Admission {};

namespace internal TIDEGATE_PLUGIN_HIDDEN_ {

// No exception leaves a plug-in.
template <typename Call>
std::int32_t Guard(const Call& call) noexcept {
  try {
    call();
    return TIDEGATE_OK;
  } catch (...) {
    return TIDEGATE_THREW;
  }
}

inline void Write(std::string_view from, char* to, std::int64_t size) {
  if (to == nullptr || size < 1) return;
  const auto count = std::min(from.size(), static_cast<std::size_t>(size - 1));
  std::memcpy(to, from.data(), count);
  to[count] = '\0';
}

template <typename T>
std::int32_t Create(const tidegate_setup* from, void** self,
                    tidegate_message* why) noexcept {
  try {
    const Setup setup(*from);
    auto made = std::make_unique<T>(setup);
    setup.RefuseOthers();
    *self = made.release();
    return TIDEGATE_OK;
  } catch (const std::exception& error) {
    Write(error.what(), why->text, why->size);
    return TIDEGATE_FAILED;
  } catch (...) {
    Write("its constructor threw", why->text, why->size);
    return TIDEGATE_THREW;
  }
}

template <typename T>
void Destroy(void* self) noexcept {
  delete static_cast<T*>(self);
}

template <typename T>
const T& Self(const void* self) {
  return *static_cast<const T*>(self);
}

template <typename T, typename = void>
struct FlagsOf : std::integral_constant<std::uint32_t, 0> {};
template <typename T>
struct FlagsOf<T, std::void_t<decltype(T::kFlags)>>
    : std::integral_constant<std::uint32_t, T::kFlags> {};

// Whether T has a method of that name.
#define TIDEGATE_PLUGIN_HAS_(name)       \
  template <typename T, typename = void> \
  struct Has##name : std::false_type {}; \
  template <typename T>                  \
  struct Has##name<T, std::void_t<decltype(&T::name)>> : std::true_type {}
TIDEGATE_PLUGIN_HAS_(Breakpoints);
TIDEGATE_PLUGIN_HAS_(SequenceBytes);
TIDEGATE_PLUGIN_HAS_(Route);
TIDEGATE_PLUGIN_HAS_(Terms);
TIDEGATE_PLUGIN_HAS_(MayPass);
TIDEGATE_PLUGIN_HAS_(PatienceNs);
TIDEGATE_PLUGIN_HAS_(OutputTokens);
#undef TIDEGATE_PLUGIN_HAS_

template <typename T>
const tidegate_estimator* EstimatorTable() {
  static const tidegate_estimator table = [] {
    tidegate_estimator made{};
    made.struct_size = sizeof(made);
    made.flags = FlagsOf<T>::value;
    made.create = Create<T>;
    made.destroy = Destroy<T>;
    made.price = [](const void* self, const tidegate_step* step,
                    tidegate_price* price) {
      return Guard([&] {
        const Cost cost = Self<T>(self).Price(*step);
        price->transient_bytes = cost.transient_bytes;
        price->largest_allocation_bytes = cost.largest_allocation_bytes;
        price->fixed_in_n_bytes = cost.fixed_in_n_bytes;
      });
    };
    if constexpr (HasBreakpoints<T>::value) {
      made.breakpoints = [](const void* self, const tidegate_range* range,
                            std::int64_t* values, std::int64_t capacity,
                            std::int64_t* count) {
        return Guard([&] {
          const std::vector<std::int64_t> all =
              Self<T>(self).Breakpoints(*range);
          *count = static_cast<std::int64_t>(all.size());
          std::copy_n(all.begin(), std::min(capacity, *count), values);
        });
      };
    } else {
      made.flags |= TIDEGATE_ESTIMATOR_MONOTONE;
    }
    if constexpr (HasSequenceBytes<T>::value) {
      made.sequence_bytes = [](const void* self, std::int64_t tokens,
                               std::int64_t chunk, std::int64_t* bytes) {
        return Guard(
            [&] { *bytes = Self<T>(self).SequenceBytes(tokens, chunk); });
      };
    }
    if constexpr (HasRoute<T>::value) {
      made.route = [](const void* self, const tidegate_step* step, char* name,
                      std::int64_t size) {
        return Guard([&] { Write(Self<T>(self).Route(*step), name, size); });
      };
    }
    if constexpr (HasTerms<T>::value) {
      made.terms = [](const void* self, const tidegate_step* step,
                      tidegate_term* terms, std::int64_t capacity,
                      std::int64_t* count) {
        return Guard([&] {
          const std::vector<Term> all = Self<T>(self).Terms(*step);
          *count = static_cast<std::int64_t>(all.size());
          for (std::int64_t i = 0; i < std::min(capacity, *count); ++i) {
            const Term& term = all[static_cast<std::size_t>(i)];
            Write(term.name, terms[i].name, sizeof(terms[i].name));
            terms[i].bytes = term.bytes;
          }
        });
      };
    }
    return made;
  }();
  return &table;
}

template <typename T>
const tidegate_order_policy* OrderTable() {
  static const tidegate_order_policy table = [] {
    tidegate_order_policy made{};
    made.struct_size = sizeof(made);
    made.create = Create<T>;
    made.destroy = Destroy<T>;
    made.key = [](const void* self, const tidegate_request* request,
                  const tidegate_moment* moment, double* key) {
      return Guard([&] { *key = Self<T>(self).Key(*request, *moment); });
    };
    if constexpr (HasMayPass<T>::value) {
      made.may_pass = [](const void* self, const tidegate_request* blocked,
                         const tidegate_moment* moment, std::int32_t* yes) {
        return Guard(
            [&] { *yes = Self<T>(self).MayPass(*blocked, *moment) ? 1 : 0; });
      };
    }
    return made;
  }();
  return &table;
}

template <typename T>
const tidegate_pressure_policy* PressureTable() {
  static const tidegate_pressure_policy table = [] {
    tidegate_pressure_policy made{};
    made.struct_size = sizeof(made);
    made.create = Create<T>;
    made.destroy = Destroy<T>;
    made.key = [](const void* self, const tidegate_request* request,
                  double* key) {
      return Guard([&] { *key = Self<T>(self).Key(*request); });
    };
    if constexpr (HasPatienceNs<T>::value) {
      made.patience = [](const void* self, std::int64_t* nanoseconds) {
        return Guard([&] { *nanoseconds = Self<T>(self).PatienceNs(); });
      };
    }
    return made;
  }();
  return &table;
}

template <typename T>
const tidegate_chunk_policy* ChunkTable() {
  static const tidegate_chunk_policy table = [] {
    tidegate_chunk_policy made{};
    made.struct_size = sizeof(made);
    made.create = Create<T>;
    made.destroy = Destroy<T>;
    made.width = [](const void* self, const tidegate_chunk_question* question,
                    std::int64_t* n) {
      return Guard([&] { *n = Self<T>(self).Width(*question); });
    };
    return made;
  }();
  return &table;
}

template <typename T>
const tidegate_admission_policy* AdmissionTable() {
  static const tidegate_admission_policy table = [] {
    tidegate_admission_policy made{};
    made.struct_size = sizeof(made);
    made.create = Create<T>;
    made.destroy = Destroy<T>;
    made.may_start = [](const void* self,
                        const tidegate_admission_question* question,
                        std::int32_t* yes) {
      return Guard([&] { *yes = Self<T>(self).MayStart(*question) ? 1 : 0; });
    };
    if constexpr (HasOutputTokens<T>::value) {
      made.output_tokens = [](const void* self, const tidegate_request* request,
                              std::int64_t share_permille,
                              std::int64_t* tokens) {
        return Guard([&] {
          *tokens = Self<T>(self).OutputTokens(*request, share_permille);
        });
      };
    }
    return made;
  }();
  return &table;
}

template <typename T>
void Offer(tidegate_plugin& plugin) {
  constexpr int kKinds =
      std::is_base_of_v<Estimator, T> + std::is_base_of_v<Order, T> +
      std::is_base_of_v<Pressure, T> + std::is_base_of_v<Chunk, T> +
      std::is_base_of_v<Admission, T>;
  static_assert(kKinds == 1,
                "derive from one of Estimator, Order, Pressure, Chunk and "
                "Admission in namespace tidegate::plugin");
  if constexpr (std::is_base_of_v<Estimator, T>) {
    plugin.estimator = EstimatorTable<T>();
  } else if constexpr (std::is_base_of_v<Order, T>) {
    plugin.order = OrderTable<T>();
  } else if constexpr (std::is_base_of_v<Pressure, T>) {
    plugin.pressure = PressureTable<T>();
  } else if constexpr (std::is_base_of_v<Chunk, T>) {
    plugin.chunk = ChunkTable<T>();
  } else {
    plugin.admission = AdmissionTable<T>();
  }
}

}  // namespace internal TIDEGATE_PLUGIN_HIDDEN_

template <typename... Classes>
TIDEGATE_PLUGIN_HIDDEN_ tidegate_plugin Describe(const char* name,
                                                 const char* version) {
  tidegate_plugin plugin{};
  plugin.struct_size = sizeof(plugin);
  plugin.abi_major = TIDEGATE_PLUGIN_ABI_MAJOR;
  plugin.abi_minor = TIDEGATE_PLUGIN_ABI_MINOR;
  plugin.name = name;
  plugin.version = version;
  (internal::Offer<Classes>(plugin), ...);
  return plugin;
}

}  // namespace tidegate::plugin

// Once in a shared object: its name, its version, its classes.
#define TIDEGATE_PLUGIN(name, version, ...)                                    \
  extern "C" TIDEGATE_PLUGIN_EXPORT const tidegate_plugin* tidegate_plugin_v1( \
      void) {                                                                  \
    static const tidegate_plugin plugin =                                      \
        ::tidegate::plugin::Describe<__VA_ARGS__>(name, version);              \
    return &plugin;                                                            \
  }

#endif  // TIDEGATE_PLUGIN_HPP_
