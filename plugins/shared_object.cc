// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "plugins/shared_object.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "estimators/text.h"
#include "tidegate/status.h"

#if defined(__linux__)
#include <elf.h>
#endif

namespace tidegate::internal {
namespace {

template <typename... Pieces>
absl::Status Refuse(const std::string& path, const Pieces&... why) {
  return InvalidArgument(path, ": ", why...);
}

// Whoever can write the file, or put another one in its place, runs code with
// the rights of this process.
absl::Status CheckPermissions(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) {
    return errno == ENOENT || errno == ENOTDIR
               ? absl::NotFoundError(Concat(path, ": no such file"))
               : Refuse(path, "cannot be looked at: ", std::strerror(errno));
  }
  if (!S_ISREG(file.st_mode)) return Refuse(path, "expected a file");
  const auto deny = [&](const auto&... why) {
    return absl::PermissionDeniedError(Concat(path, ": ", why...));
  };
  if (file.st_uid != 0 && file.st_uid != geteuid()) {
    return deny("belongs to user ", file.st_uid,
                ", neither to root nor to user ", geteuid(),
                ", as which this runs");
  }
  if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return deny(
        "others than its owner can write it, and what is loaded runs with all "
        "rights of this process: chmod go-w it");
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  struct stat parent {};
  if (stat(folder.c_str(), &parent) != 0) {
    return Refuse(folder, "cannot be looked at: ", std::strerror(errno));
  }
  const bool sticky = (parent.st_mode & S_ISVTX) != 0;
  if ((parent.st_mode & S_IWOTH) != 0 && !sticky) {
    return deny(
        "everybody can write its folder, and so put another file in "
        "its place: chmod o-w ",
        folder);
  }
  return absl::OkStatus();
}

#if defined(__linux__)
// The loader maps what the headers promise; of a file that is shorter, the
// first access beyond its end would end this process.
absl::Status CheckComplete(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Refuse(path, "cannot be read");
  in.seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(in.tellg());
  in.seekg(0);
  unsigned char ident[EI_NIDENT] = {};
  in.read(reinterpret_cast<char*>(ident), sizeof(ident));
  if (size < sizeof(ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0) {
    return Refuse(path, "is no shared object: it does not begin as one");
  }
  // Of another word size: the loader says so.
  if (ident[EI_CLASS] != ELFCLASS64) return absl::OkStatus();
  const auto truncated = [&](std::uint64_t needed) {
    return Refuse(path, "is truncated: it has ", size, " bytes of at least ",
                  needed);
  };
  Elf64_Ehdr header{};
  in.seekg(0);
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (!in) return truncated(sizeof(header));
  std::uint64_t needed =
      header.e_phoff + std::uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > size ||
      needed > size) {
    return truncated(needed);
  }
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    in.seekg(
        static_cast<std::streamoff>(header.e_phoff + i * sizeof(Elf64_Phdr)));
    in.read(reinterpret_cast<char*>(&segment), sizeof(segment));
    if (!in || segment.p_offset > size ||
        segment.p_filesz > size - segment.p_offset) {
      return truncated(segment.p_offset + segment.p_filesz);
    }
  }
  return absl::OkStatus();
}
#else
absl::Status CheckComplete(const std::string&) { return absl::OkStatus(); }
#endif

bool GoodName(const char* name) {
  if (name == nullptr) return false;
  const std::size_t length = strnlen(name, 65);
  return length >= 1 && length <= 64 &&
         std::all_of(name, name + length, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

bool GoodVersion(const char* version) {
  if (version == nullptr) return false;
  const std::size_t length = strnlen(version, 65);
  return length >= 1 && length <= 64 &&
         std::all_of(version, version + length,
                     [](char c) { return c > ' ' && c <= '~'; });
}

// A table of functions that is as long as version 1.0 has it, and complete.
template <typename Table, typename Complete>
absl::Status CheckTable(const std::string& path, std::string_view kind,
                        const Table* table, std::string_view functions,
                        const Complete& complete) {
  if (table == nullptr) return absl::OkStatus();
  if (table->struct_size < sizeof(Table)) {
    return Refuse(path, "its table \"", kind, "\" has ", table->struct_size,
                  " bytes of at least ", sizeof(Table));
  }
  if (table->create != nullptr && table->destroy != nullptr &&
      complete(*table)) {
    return absl::OkStatus();
  }
  return Refuse(path, "its table \"", kind,
                "\" lacks a function: create, destroy and ", functions,
                " are required");
}

}  // namespace

absl::Status CheckDescriptor(const std::string& path,
                             const tidegate_plugin* plugin) {
  if (plugin == nullptr) {
    return Refuse(path, TIDEGATE_PLUGIN_SYMBOL "() returned nothing");
  }
  // Nothing behind the versions may be read before they are known to be ours.
  if (plugin->abi_major != TIDEGATE_PLUGIN_ABI_MAJOR) {
    return Refuse(path, "is built for version ", plugin->abi_major, ".",
                  plugin->abi_minor, " of the plug-in ABI, this is version ",
                  TIDEGATE_PLUGIN_ABI_MAJOR, ".", TIDEGATE_PLUGIN_ABI_MINOR,
                  ": build it again with this version's headers");
  }
  if (plugin->struct_size < sizeof(tidegate_plugin)) {
    return Refuse(path, "its descriptor has ", plugin->struct_size,
                  " bytes of at least ", sizeof(tidegate_plugin));
  }
  if (plugin->needs_minor > TIDEGATE_PLUGIN_ABI_MINOR) {
    return Refuse(path, "needs version ", TIDEGATE_PLUGIN_ABI_MAJOR, ".",
                  plugin->needs_minor, " of the plug-in ABI, this is version ",
                  TIDEGATE_PLUGIN_ABI_MAJOR, ".", TIDEGATE_PLUGIN_ABI_MINOR);
  }
  if (!GoodName(plugin->name)) {
    return Refuse(path,
                  "its name is not 1 to 64 of a-z, 0-9, '-', '_' and '.'");
  }
  if (!GoodVersion(plugin->version)) {
    return Refuse(path, "its version is not 1 to 64 visible characters");
  }
  TG_RETURN_IF_ERROR(CheckTable(
      path, "estimator", plugin->estimator,
      "price, and breakpoints unless its flags say MONOTONE,",
      [](const tidegate_estimator& table) {
        const bool monotone = (table.flags & TIDEGATE_ESTIMATOR_MONOTONE) != 0;
        return table.price != nullptr &&
               (monotone || table.breakpoints != nullptr);
      }));
  TG_RETURN_IF_ERROR(
      CheckTable(path, "chunk", plugin->chunk, "width",
                 [](const auto& table) { return table.width != nullptr; }));
  TG_RETURN_IF_ERROR(
      CheckTable(path, "admission", plugin->admission, "may_start",
                 [](const auto& table) { return table.may_start != nullptr; }));
  TG_RETURN_IF_ERROR(
      CheckTable(path, "order", plugin->order, "key",
                 [](const auto& table) { return table.key != nullptr; }));
  TG_RETURN_IF_ERROR(
      CheckTable(path, "pressure", plugin->pressure, "key",
                 [](const auto& table) { return table.key != nullptr; }));
  return absl::OkStatus();
}

absl::StatusOr<const tidegate_plugin*> LoadSharedObject(
    const std::string& path) {
  // A name without a slash would be looked for elsewhere.
  const std::string file = std::filesystem::absolute(path).string();
  TG_RETURN_IF_ERROR(CheckPermissions(file));
  TG_RETURN_IF_ERROR(CheckComplete(file));
  void* const object = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    std::string_view why = dlerror();
    if (why.starts_with(file + ": ")) why.remove_prefix(file.size() + 2);
    return Refuse(file, "cannot be loaded: ", why);
  }
  void* const symbol = dlsym(object, TIDEGATE_PLUGIN_SYMBOL);
  if (symbol == nullptr) {
    return Refuse(file, "exports no " TIDEGATE_PLUGIN_SYMBOL
                        ", so it is no plug-in, or one of another ABI version");
  }
  const auto describe = reinterpret_cast<const tidegate_plugin* (*)()>(symbol);
  const tidegate_plugin* const plugin = describe();
  TG_RETURN_IF_ERROR(CheckDescriptor(file, plugin));
  return plugin;
}

}  // namespace tidegate::internal
