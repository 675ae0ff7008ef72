// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Files by the folders in which they lie, through inotify: a file that is
// replaced by another is another inode, and only its folder tells. Knows no
// event loop; whoever owns it reads the descriptor.
//
// Thread-safety: none.

#ifndef TIDEGATE_SERVICE_FOLDER_WATCH_H_
#define TIDEGATE_SERVICE_FOLDER_WATCH_H_

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tidegate::internal {

class FolderWatch {
 public:
  // A new descriptor for the caller to own; negative with errno on failure.
  static int Open();

  explicit FolderWatch(int descriptor) : descriptor_(descriptor) {}

  // From now on these files, and no others. A link is watched where it lies
  // and where it leads. True when a folder is watched that was not before:
  // what happened in it until now was not seen.
  bool Follow(const std::set<std::string>& files);

  // Whether what was read from the descriptor concerns one of the files.
  // Appends to `lost` the folders that are gone.
  bool Concerns(std::string_view events, std::vector<std::string>* lost);

  std::vector<std::string> Folders() const;

 private:
  const int descriptor_;
  std::map<int, std::string> folders_;                  // by watch
  std::map<std::string, std::set<std::string>> names_;  // of files, by folder
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_FOLDER_WATCH_H_
