// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/plugins.h"

#include <map>
#include <mutex>
#include <utility>

#include "estimators/text.h"
#include "plugins/adapters.h"
#include "plugins/registry.h"
#include "plugins/shared_object.h"
#include "scheduler/policy_keys.h"
#include "tidegate/status.h"

namespace tidegate {

using internal::Concat;
using internal::InvalidArgument;
using internal::kPluginWord;

namespace {

// One kind, as the policy file has it.
struct Use {
  std::string_view kind;
  const std::optional<std::string>* word;
  const PluginOptionTable* options;
};

std::vector<Use> UsesOf(const PolicyFile& policy) {
  return {{"estimator", &policy.estimator, &policy.estimator_options},
          {"chunk", &policy.chunk_policy, &policy.chunk_options},
          {"admission", &policy.admission_policy, &policy.admission_options},
          {"order", &policy.order_policy, &policy.order_options},
          {"pressure", &policy.pressure_policy, &policy.pressure_options}};
}

bool NamesPlugin(const Use& use) {
  return use.word->has_value() && (*use.word)->starts_with(kPluginWord);
}

}  // namespace

struct Plugins::State {
  internal::Registries registries = internal::Registries::WithBuiltins();
  PluginOptions options;
  std::vector<PluginReport> loaded;

  // What was made, and the account of it: one for each kind, the last.
  mutable std::mutex mutex;
  std::map<int, std::function<PluginReport()>> reports;

  template <typename Table>
  absl::StatusOr<std::shared_ptr<internal::PluginInstance<Table>>> Instance(
      int place, const Table& table, const InProcessPlugin& in_process,
      const PluginOptionTable& given, const ModelShape& shape,
      const EngineSpec& engine, PluginReport identity) {
    const internal::PluginSetup setup(given, shape, engine);
    TG_ASSIGN_OR_RETURN(auto instance, internal::PluginInstance<Table>::Create(
                                           table, in_process, setup,
                                           std::move(identity), options));
    const std::lock_guard lock(mutex);
    reports[place] = [instance] { return instance->meter().Report(); };
    return instance;
  }

  // How a policy of this kind is made, once its fallback is there.
  template <typename Policy, typename Table>
  void AddPolicy(int place, const Use& use, const Table& table,
                 const InProcessPlugin& in_process, PluginReport identity,
                 std::string_view fallback,
                 internal::Registries::OfPolicy<Policy>* to,
                 absl::StatusOr<std::shared_ptr<const Policy>> (*adapt)(
                     std::shared_ptr<internal::PluginInstance<Table>>,
                     std::shared_ptr<const Policy>)) {
    identity.fallback = fallback;
    loaded.push_back(identity);
    to->Add(**use.word,
            [this, place, &table, in_process, given = *use.options, identity,
             to, adapt](const ModelShape& shape, const EngineSpec& engine)
                -> absl::StatusOr<std::shared_ptr<const Policy>> {
              TG_ASSIGN_OR_RETURN(auto instance,
                                  Instance(place, table, in_process, given,
                                           shape, engine, identity));
              TG_ASSIGN_OR_RETURN(auto built_in,
                                  to->Make(identity.fallback, shape, engine));
              return adapt(std::move(instance), std::move(built_in));
            });
  }

  void AddEstimator(int place, const Use& use, const tidegate_estimator& table,
                    const InProcessPlugin& in_process, PluginReport identity);
  absl::Status Add(int place, const Use& use, const tidegate_plugin& plugin,
                   const InProcessPlugin& in_process, const std::string& file);
};

void Plugins::State::AddEstimator(int place, const Use& use,
                                  const tidegate_estimator& table,
                                  const InProcessPlugin& in_process,
                                  PluginReport identity) {
  identity.fallback = internal::kFallbackEstimator;
  loaded.push_back(identity);
  registries.estimator.Add(
      **use.word,
      [this, place, &table, in_process, given = *use.options, identity](
          const EstimatorOptions& asked) -> absl::StatusOr<CreatedEstimator> {
        EstimatorOptions fallback = asked;
        fallback.use = identity.fallback;
        TG_ASSIGN_OR_RETURN(
            CreatedEstimator built_in,
            registries.estimator.Make(identity.fallback, fallback));
        TG_ASSIGN_OR_RETURN(auto instance,
                            Instance(place, table, in_process, given,
                                     asked.shape, asked.engine, identity));
        internal::PluginMeter& meter = instance->meter();
        CreatedEstimator made;
        made.estimator = internal::AdaptEstimator(
            instance, asked.shape, std::move(built_in.estimator));
        TG_RETURN_IF_ERROR(internal::CheckEstimator(*made.estimator, meter));
        meter.Reset();
        return made;
      });
}

namespace {

template <typename Policy, typename Table>
absl::StatusOr<std::shared_ptr<const Policy>> Adapted(
    std::shared_ptr<internal::PluginInstance<Table>> instance,
    std::shared_ptr<const Policy> fallback) {
  if constexpr (std::is_same_v<Policy, ChunkPolicy>) {
    return internal::AdaptChunk(std::move(instance), std::move(fallback));
  } else if constexpr (std::is_same_v<Policy, AdmissionPolicy>) {
    return internal::AdaptAdmission(std::move(instance), std::move(fallback));
  } else if constexpr (std::is_same_v<Policy, OrderPolicy>) {
    return internal::AdaptOrder(std::move(instance), std::move(fallback));
  } else {
    return internal::AdaptPressure(std::move(instance), std::move(fallback));
  }
}

}  // namespace

absl::Status Plugins::State::Add(int place, const Use& use,
                                 const tidegate_plugin& plugin,
                                 const InProcessPlugin& in_process,
                                 const std::string& file) {
  PluginReport identity{.kind = std::string(use.kind),
                        .name = plugin.name,
                        .version = plugin.version,
                        .file = file};
  const auto add_policy = [&](const auto* table, std::string_view fallback,
                              auto* registry) {
    if (table == nullptr) return false;
    AddPolicy(place, use, *table, in_process, identity, fallback, registry,
              &Adapted);
    return true;
  };
  bool added = false;
  if (use.kind == "estimator") {
    added = plugin.estimator != nullptr;
    if (added) {
      AddEstimator(place, use, *plugin.estimator, in_process, identity);
    }
  } else if (use.kind == "chunk") {
    added =
        add_policy(plugin.chunk, internal::kFallbackChunk, &registries.chunk);
  } else if (use.kind == "admission") {
    added = add_policy(plugin.admission, internal::kFallbackAdmission,
                       &registries.admission);
  } else if (use.kind == "order") {
    added =
        add_policy(plugin.order, internal::kFallbackOrder, &registries.order);
  } else {
    added = add_policy(plugin.pressure, internal::kFallbackPressure,
                       &registries.pressure);
  }
  if (added) return absl::OkStatus();
  std::string offered;
  for (const auto& [kind, table] :
       {std::pair<std::string_view, const void*>{"estimator", plugin.estimator},
        {"chunk", plugin.chunk},
        {"admission", plugin.admission},
        {"order", plugin.order},
        {"pressure", plugin.pressure}}) {
    if (table != nullptr) offered += Concat(offered.empty() ? "" : ", ", kind);
  }
  return InvalidArgument(file, ": plug-in ", plugin.name, " offers ",
                         offered.empty() ? "nothing" : offered, ", and no ",
                         use.kind);
}

Plugins::Plugins(std::unique_ptr<State> state) : state_(std::move(state)) {}
Plugins::Plugins(Plugins&&) noexcept = default;
Plugins& Plugins::operator=(Plugins&&) noexcept = default;
Plugins::~Plugins() = default;

bool Plugins::NamedBy(const PolicyFile& policy) {
  for (const Use& use : UsesOf(policy)) {
    if (NamesPlugin(use)) return true;
  }
  return false;
}

absl::StatusOr<Plugins> Plugins::Load(const PolicyFile& policy,
                                      const PluginOptions& options,
                                      const InProcessPlugins& in_process) {
  auto state = std::make_unique<State>();
  state->options = options;
  int place = 0;
  for (const Use& use : UsesOf(policy)) {
    ++place;
    if (!NamesPlugin(use)) continue;
    const std::string file = (*use.word)->substr(kPluginWord.size());
    absl::Status status;
    if (const auto own = in_process.find(file); own != in_process.end()) {
      const tidegate_plugin* const plugin = own->second.plugin.get();
      status = internal::CheckDescriptor(file, plugin);
      if (status.ok()) {
        status = state->Add(place, use, *plugin, own->second, file);
      }
    } else {
      const auto plugin = internal::LoadSharedObject(file);
      status = plugin.status();
      if (status.ok()) status = state->Add(place, use, **plugin, {}, file);
    }
    if (status.ok()) continue;
    return absl::Status(
        status.code(),
        Concat(use.kind, ".use: ", std::string(status.message())));
  }
  return Plugins(std::move(state));
}

absl::StatusOr<CreatedEstimator> Plugins::CreateEstimator(
    const EstimatorOptions& options) {
  return state_->registries.estimator.Make(options.use, options);
}

absl::Status Plugins::Apply(const ModelShape& shape, const EngineSpec& engine,
                            SchedulerOptions* options) {
  const internal::Registries& all = state_->registries;
  const auto make = [&](const auto& registry, const std::string& word,
                        auto* policy) -> absl::Status {
    if (!word.starts_with(kPluginWord)) return absl::OkStatus();
    TG_ASSIGN_OR_RETURN(*policy, registry.Make(word, shape, engine));
    return absl::OkStatus();
  };
  TG_RETURN_IF_ERROR(
      make(all.chunk, options->chunk_policy, &options->custom_chunk));
  TG_RETURN_IF_ERROR(make(all.admission, options->admission_policy,
                          &options->custom_admission));
  TG_RETURN_IF_ERROR(
      make(all.order, options->order_policy, &options->custom_order));
  TG_RETURN_IF_ERROR(
      make(all.pressure, options->pressure_policy, &options->custom_pressure));
  if (options->estimator != nullptr &&
      options->estimator->Name().starts_with(kPluginWord)) {
    options->calibrate = true;
  }
  return absl::OkStatus();
}

const std::vector<PluginReport>& Plugins::Loaded() const {
  return state_->loaded;
}

std::vector<PluginReport> Plugins::Reports() const {
  std::vector<PluginReport> reports;
  const std::lock_guard lock(state_->mutex);
  for (const auto& [place, report] : state_->reports) {
    reports.push_back(report());
  }
  return reports;
}

}  // namespace tidegate
