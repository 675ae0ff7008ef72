// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "service/folder_watch.h"

#ifdef __linux__

#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace tidegate::internal {
namespace {

namespace fs = std::filesystem;

// A file is complete when its writer closes it, or when it is renamed or linked
// into place; what is created empty and still being written is not.
constexpr std::uint32_t kMask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
                                IN_CREATE | IN_DELETE | IN_DELETE_SELF |
                                IN_MOVE_SELF | IN_ONLYDIR;

bool IsLink(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 &&
         (S_ISLNK(status.st_mode) || status.st_nlink > 1);
}

// Configuration managers replace a folder behind a link whose name starts so:
// the file's own name never changes.
bool IsSwitch(std::string_view name) { return name.starts_with(".."); }

}  // namespace

int FolderWatch::Open() { return ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }

bool FolderWatch::Follow(const std::set<std::string>& files) {
  names_.clear();
  const auto follow = [this](const fs::path& path) {
    const fs::path folder = path.parent_path();
    names_[folder.empty() ? "." : folder.string()].insert(
        path.filename().string());
  };
  for (const std::string& file : files) {
    follow(file);
    std::error_code error;
    const fs::path target = fs::canonical(file, error);
    if (!error && fs::is_symlink(file, error)) follow(target);
  }
  bool added = false;
  std::map<int, std::string> kept;
  for (const auto& [folder, names] : names_) {
    const int watch = ::inotify_add_watch(descriptor_, folder.c_str(), kMask);
    if (watch < 0) continue;  // Not there: the file's own error says it.
    added = added || !folders_.contains(watch);
    kept[watch] = folder;
  }
  for (const auto& [watch, folder] : folders_) {
    if (!kept.contains(watch)) ::inotify_rm_watch(descriptor_, watch);
  }
  folders_ = std::move(kept);
  return added;
}

bool FolderWatch::Concerns(std::string_view events,
                           std::vector<std::string>* lost) {
  bool concerns = false;
  while (events.size() >= sizeof(inotify_event)) {
    inotify_event event{};
    std::memcpy(&event, events.data(), sizeof(event));
    const std::size_t size = sizeof(event) + event.len;
    if (size > events.size()) break;
    const std::string name(events.substr(sizeof(event), event.len).data());
    events.remove_prefix(size);
    if ((event.mask & IN_Q_OVERFLOW) != 0) concerns = true;
    const auto folder = folders_.find(event.wd);
    if (folder == folders_.end()) continue;
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
      lost->push_back(folder->second);
      if ((event.mask & IN_MOVE_SELF) != 0) {
        ::inotify_rm_watch(descriptor_, event.wd);
      }
      folders_.erase(folder);
      concerns = true;
      continue;
    }
    const auto names = names_.find(folder->second);
    const bool named = names != names_.end() && names->second.contains(name);
    if (!named && !IsSwitch(name)) continue;
    concerns = concerns || (event.mask & IN_CREATE) == 0 ||
               IsLink(fs::path(folder->second) / name);
  }
  return concerns;
}

std::vector<std::string> FolderWatch::Folders() const {
  std::vector<std::string> folders;
  for (const auto& [watch, folder] : folders_) folders.push_back(folder);
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace tidegate::internal

#endif  // __linux__
