// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Who holds whom: the watcher holds the Reloader, and so do its coroutines,
// which end when the descriptor is closed. The Reloader knows the service only
// until the watcher is gone.

#include "tidegate/policy_watcher.h"

#include "estimators/text.h"
#include "tidegate/status.h"

#ifdef __linux__

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "estimators/read_file.h"
#include "service/folder_watch.h"

namespace tidegate {
namespace {

namespace asio = boost::asio;
using asio::any_io_executor;
using internal::Concat;

absl::StatusOr<ServicePolicy> MakeFromShape(const PolicyWatcherOptions& options,
                                            const PolicyFile& policy) {
  TG_ASSIGN_OR_RETURN(
      const EstimatorOptions estimator,
      MakeEstimatorOptions(policy, options.shape,
                           policy.engine.value_or(EngineSpec{})));
  TG_ASSIGN_OR_RETURN(CreatedEstimator created, CreateEstimator(estimator));
  ServicePolicy made;
  TG_ASSIGN_OR_RETURN(
      made.scheduler,
      MakeSchedulerOptions(policy, std::move(created.estimator), options.base));
  made.tenants = policy.tenants;
  return made;
}

// All but the constructor and Stop() on the strand.
class Reloader : public std::enable_shared_from_this<Reloader> {
 public:
  Reloader(PolicyWatcherOptions options, Service& service,
           const any_io_executor& executor, int descriptor)
      : options_(std::move(options)),
        service_(&service),
        strand_(asio::make_strand(executor)),
        descriptor_(strand_, descriptor),
        watch_(descriptor) {}

  // What the service runs by is on the disk: only its folders are learned.
  absl::Status Begin() {
    Files files;
    const absl::Status read = Read(&files).status();
    if (files.begin()->second.missing) return read;
    Follow(files);
    files_ = std::move(files);
    return absl::OkStatus();
  }

  void Spawn() {
    asio::co_spawn(strand_, Watch(shared_from_this()), asio::detached);
    // What was written before the folders were watched.
    asio::co_spawn(strand_, Load(shared_from_this(), false), asio::detached);
  }

  void ReloadNow() {
    asio::co_spawn(strand_, Load(shared_from_this(), true), asio::detached);
  }

  // No report is under way, and none comes, when this returns; but for the one
  // that calls it.
  void Stop() {
    {
      const std::lock_guard lock(reporting_);
      stopped_ = true;
    }
    {
      const std::lock_guard lock(mutex_);
      service_ = nullptr;
    }
    asio::post(strand_, [self = shared_from_this()] {
      boost::system::error_code ignored;
      self->descriptor_.close(ignored);
    });
  }

  std::vector<std::string> Folders() const {
    const std::lock_guard lock(mutex_);
    return folders_;
  }

 private:
  struct File {
    bool missing = false;
    std::string text;
    friend bool operator==(const File&, const File&) = default;
  };
  using Files = std::map<std::string, File>;

  // What the files say now; `files` has all that were looked for.
  absl::StatusOr<PolicyFile> Read(Files* files) const {
    PolicySources sources;
    sources.environment = options_.environment;
    sources.read =
        [files](const std::string& path) -> absl::StatusOr<std::string> {
      absl::StatusOr<std::string> text =
          internal::ReadFile(path, "policy file");
      (*files)[path] = {!text.ok(), text.ok() ? *text : ""};
      return text;
    };
    return LoadPolicyFile(options_.file, std::move(sources));
  }

  // True when something may have been missed meanwhile.
  bool Follow(const Files& files) {
    std::set<std::string> paths;
    for (const auto& [path, file] : files) paths.insert(path);
    const bool added = watch_.Follow(paths);
    const std::lock_guard lock(mutex_);
    folders_ = watch_.Folders();
    return added;
  }

  absl::StatusOr<ServicePolicy> Make(const absl::StatusOr<PolicyFile>& read,
                                     std::vector<std::string>* warnings) const {
    TG_RETURN_IF_ERROR(read.status());
    TG_ASSIGN_OR_RETURN(
        const PolicyFile policy,
        PolicyForModel(*read,
                       DescribeModel(options_.shape, options_.model_config)));
    *warnings = policy.warnings;
    return options_.make != nullptr ? options_.make(policy)
                                    : MakeFromShape(options_, policy);
  }

  void Report(PolicyReload reload) {
    const std::lock_guard lock(reporting_);
    if (stopped_) return;
    reload.file = options_.file;
    reload.number = ++number_;
    if (options_.on_reload != nullptr) options_.on_reload(reload);
  }

  static asio::awaitable<void> Watch(std::shared_ptr<Reloader> self) {
    // Room for many events: what comes at once is one reload.
    std::array<char, 16384> buffer;
    for (;;) {
      boost::system::error_code error;
      const std::size_t size = co_await self->descriptor_.async_read_some(
          asio::buffer(buffer),
          asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      std::vector<std::string> lost;
      const bool concerns = self->watch_.Concerns({buffer.data(), size}, &lost);
      for (const std::string& folder : lost) {
        self->Report({.status = absl::NotFoundError(
                          Concat(folder, ": the folder is gone"))});
      }
      if (concerns) co_await Load(self, false);
    }
  }

  // At most one at a time: what comes meanwhile is looked at afterwards.
  static asio::awaitable<void> Load(std::shared_ptr<Reloader> self,
                                    bool force) {
    self->force_ = self->force_ || force;
    if (self->loading_) {
      self->again_ = true;
      co_return;
    }
    self->loading_ = true;
    do {
      self->again_ = false;
      const bool forced = std::exchange(self->force_, false);
      Files files;
      const absl::StatusOr<PolicyFile> read = self->Read(&files);
      if (self->Follow(files)) self->again_ = true;
      if (files == self->files_ && !forced) continue;
      self->files_ = std::move(files);
      PolicyReload reload;
      const absl::StatusOr<ServicePolicy> made =
          self->Make(read, &reload.warnings);
      reload.status = made.status();
      if (made.ok()) {
        std::optional<asio::awaitable<absl::Status>> swap;
        {
          const std::lock_guard lock(self->mutex_);
          // The call copies what it needs of the service.
          if (self->service_ != nullptr) swap = self->service_->Reload(*made);
        }
        if (!swap.has_value()) break;
        reload.status = co_await std::move(*swap);
      }
      self->Report(std::move(reload));
    } while (self->again_);
    self->loading_ = false;
  }

  const PolicyWatcherOptions options_;
  mutable std::mutex mutex_;
  Service* service_;                  // under mutex_; null: stopped
  std::vector<std::string> folders_;  // under mutex_
  // Held while the caller's callback runs, which may let go of the watcher.
  std::recursive_mutex reporting_;
  bool stopped_ = false;  // under reporting_
  const asio::strand<any_io_executor> strand_;
  asio::posix::stream_descriptor descriptor_;
  internal::FolderWatch watch_;
  Files files_;
  std::int64_t number_ = 0;
  bool loading_ = false;
  bool again_ = false;
  bool force_ = false;
};

class Watcher final : public PolicyWatcher {
 public:
  explicit Watcher(std::shared_ptr<Reloader> reloader)
      : reloader_(std::move(reloader)) {}
  ~Watcher() override { reloader_->Stop(); }

  void ReloadNow() override { reloader_->ReloadNow(); }
  std::vector<std::string> Folders() const override {
    return reloader_->Folders();
  }

 private:
  const std::shared_ptr<Reloader> reloader_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PolicyWatcher>> PolicyWatcher::Start(
    PolicyWatcherOptions options, Service& service, any_io_executor executor) {
  if (!executor) {
    return internal::InvalidArgument("executor: expected one, got none");
  }
  const int descriptor = internal::FolderWatch::Open();
  if (descriptor < 0) {
    return absl::ResourceExhaustedError(
        Concat("inotify: ", std::string(std::strerror(errno))));
  }
  auto reloader = std::make_shared<Reloader>(std::move(options), service,
                                             executor, descriptor);
  TG_RETURN_IF_ERROR(reloader->Begin());
  reloader->Spawn();
  return std::unique_ptr<PolicyWatcher>(
      std::make_unique<Watcher>(std::move(reloader)));
}

}  // namespace tidegate

#else  // __linux__

namespace tidegate {

absl::StatusOr<std::unique_ptr<PolicyWatcher>> PolicyWatcher::Start(
    PolicyWatcherOptions /*options*/, Service& /*service*/,
    boost::asio::any_io_executor /*executor*/) {
  return absl::UnimplementedError(
      "policy watcher: not supported on this system, which has no inotify; "
      "call Service::Reload()");
}

}  // namespace tidegate

#endif  // __linux__

namespace tidegate {

std::string PolicyReload::ToString() const {
  if (status.ok()) return internal::Concat(file, ": in effect");
  return internal::Concat(file,
                          ": nothing changed: ", std::string(status.message()));
}

}  // namespace tidegate
