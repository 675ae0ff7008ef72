// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Strict reading of TOML: the kernel catalogue and policy files share it.
//
//   TG_ASSIGN_OR_RETURN(TomlNode root, ParseToml(text, "policy.toml"));
//   TomlReader reader(root, "policy.toml");
//   TomlReader chunk = reader.Table("chunk");   // absent: an empty table
//   chunk.Optional("max", &max);
//   TG_RETURN_IF_ERROR(chunk.Finish());         // a key nobody read is an
//   error
//
// Every message is "FILE:LINE:COLUMN: KEY: expected …, got …", with a
// suggestion where a word was probably mistyped.
//
// toml++ is seen by toml_reader.cc alone: its exceptions end there.
//
// Thread-safety: nodes are plain values; a reader belongs to one thread.

#ifndef TIDEGATE_ESTIMATORS_TOML_READER_H_
#define TIDEGATE_ESTIMATORS_TOML_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidegate::internal {

struct TomlEntry;

// Which document a value is of, where several are read as one.
struct TomlOrigin {
  std::string file;
  std::string part;  // of the file, in words; empty: nothing special
};

// One value of a document, with its place.
struct TomlNode {
  enum class Kind {
    kTable,
    kArray,
    kString,
    kInteger,
    kFloat,
    kBoolean,
    kTime,  // dates and times: nothing here takes one
  };
  Kind kind = Kind::kTable;
  // 1-based; 0 where the document does not say (an implicit table).
  int line = 0;
  int column = 0;
  // Null: the file that the reader names.
  std::shared_ptr<const TomlOrigin> origin;
  // Variables of the environment that are in `string`: "A, B".
  std::string environment;

  std::string string;
  std::int64_t integer = 0;
  double number = 0;  // kFloat, and kInteger rounded
  bool boolean = false;
  std::vector<TomlEntry> entries;  // kTable, in the order of the document
  std::vector<TomlNode> items;     // kArray

  // The value under `key`, or null.
  const TomlNode* Find(std::string_view key) const;
};

struct TomlEntry {
  std::string key;
  int line = 0;  // of the key
  int column = 0;
  TomlNode value;
};

// Parses a document. InvalidArgument with file, line and column when it is not
// TOML, holds control characters or bytes above 0x7F outside strings and
// comments, or is larger than kTomlBytesMax.
absl::StatusOr<TomlNode> ParseToml(std::string_view text,
                                   std::string_view file);

// A policy file or a catalogue is a few kilobytes; a megabyte is a mistake.
inline constexpr std::size_t kTomlBytesMax = 4 << 20;

// What the kind is called in messages: "a string", "an integer", …
std::string_view KindName(TomlNode::Kind kind);

// Reads one table. The first error wins and every later call does nothing, so
// that callers check once, in Finish().
class TomlReader {
 public:
  // Both must outlive the reader. `path` names the table in messages.
  TomlReader(const TomlNode& table, std::string_view file,
             std::string_view path = "");

  bool Has(std::string_view key) const;

  // Reads the value when the key is there; `out` keeps its value otherwise.
  // Returns whether a value was read.
  bool Optional(std::string_view key, std::string* out);
  bool Optional(std::string_view key, bool* out);
  bool Optional(std::string_view key, std::int64_t* out);
  bool Optional(std::string_view key, double* out);  // finite
  bool Optional(std::string_view key, std::vector<std::string>* out);
  bool Optional(std::string_view key, std::vector<std::int64_t>* out);

  template <typename T>
  bool Optional(std::string_view key, std::optional<T>* out) {
    T value{};
    if (!Optional(key, &value)) return false;
    *out = std::move(value);
    return true;
  }

  // As Optional; an absent key is an error.
  template <typename T>
  bool Required(std::string_view key, T* out) {
    if (!Has(key)) Missing(key);
    return Optional(key, out);
  }

  // An integer in [min, max].
  bool Integer(std::string_view key, std::int64_t min, std::int64_t max,
               std::int64_t* out);
  // A number in [min, max].
  bool Number(std::string_view key, double min, double max, double* out);
  // An integer, or a string such as "36 GiB"; not negative.
  bool Bytes(std::string_view key, std::int64_t* out);
  // One of `words`: its index.
  bool Word(std::string_view key, std::span<const std::string_view> words,
            int* index);

  // The table under `key`; an empty one when the key is absent. Errors found
  // there are this reader's errors too, and the other way round. The caller
  // calls Finish() on it.
  TomlReader Table(std::string_view key);
  // The tables of the array of tables under `key`.
  std::vector<TomlReader> Tables(std::string_view key);
  // The raw value, counted as read; null when absent.
  const TomlNode* Raw(std::string_view key);
  // The same without counting; null when absent.
  const TomlNode* Peek(std::string_view key) const { return table_->Find(key); }
  // Keys of the table, in the order of the document.
  std::vector<std::string_view> Keys() const;
  // Counts `key` as known although nothing read it.
  void Ignore(std::string_view key);

  // Records "FILE:LINE:COLUMN: KEY: MESSAGE" at the value of `key`, or at the
  // table when the key is absent.
  void Error(std::string_view key, std::string_view message);

  // The first error; or, when there is none, an error for the first key that
  // nothing asked for, with the nearest key that something did ask for.
  absl::Status Finish();
  const absl::Status& status() const { return shared_->status; }

 private:
  struct Shared {
    std::string file;
    absl::Status status;
  };
  TomlReader(const TomlNode& table, std::shared_ptr<Shared> shared,
             std::string path);
  const TomlEntry* Take(std::string_view key);
  const TomlNode* TakeKind(std::string_view key, TomlNode::Kind kind);
  void Missing(std::string_view key);
  // In the file that `of` is of.
  void ErrorAt(const TomlNode& of, int line, int column, std::string_view key,
               std::string_view message);
  void Expected(std::string_view key, std::string_view what,
                const TomlNode& got);
  std::string PathOf(std::string_view key) const;

  const TomlNode* table_;
  std::shared_ptr<Shared> shared_;
  std::string path_;
  std::vector<std::string> known_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TOML_READER_H_
