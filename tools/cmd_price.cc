// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate price: what one step costs, with every term.

#include <string>
#include <utility>

#include "estimators/text.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/price_output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;
using internal::InvalidArgument;

absl::StatusOr<Chunk> ReadChunk(const Arguments& args) {
  Chunk chunk;
  TG_ASSIGN_OR_RETURN(chunk.n, ReadTokens(args.n, "--n", std::nullopt, 1));
  TG_ASSIGN_OR_RETURN(chunk.kv_len,
                      ReadTokens(args.kv_len, "--kv-len", chunk.n, 1));
  if (chunk.kv_len < chunk.n) {
    return InvalidArgument("--kv-len: expected at least --n = ", chunk.n,
                           " tokens, since a chunk attends to itself, got ",
                           chunk.kv_len);
  }
  TG_ASSIGN_OR_RETURN(chunk.mask, ReadMask(args));
  return chunk;
}

void PrintPrice(const Inputs& inputs, const Chunk& chunk, const Price& price,
                std::ostream& out) {
  out << TokenCount(chunk.n) << " at a kv length of " << Grouped(chunk.kv_len)
      << ", mask " << MaskName(chunk.mask) << "\n"
      << inputs.shape.name << " on "
      << (inputs.engine.name.empty() ? "any engine" : EngineName(inputs.engine))
      << ", route " << price.route
      << (price.assumed ? " (assumed: no proven bound)" : "") << "\n\n"
      << PartTable(price) << "\n";
  TextTable sums({"", "", ""}, {Align::kLeft, Align::kRight, Align::kLeft});
  const bool at_load = inputs.estimator->Timing() == TransientTiming::kAtLoad;
  sums.Add({"transient", FormatBytes(price.transient_bytes),
            at_load ? "reserved when the model loads, for the widest step"
                    : "peak above live, freed when the step ends"});
  sums.Add({"fixed in n", FormatBytes(price.fixed_in_n_bytes),
            "of it, what no narrower chunk avoids"});
  sums.Add({"resident", FormatBytes(price.resident_bytes),
            inputs.estimator->KvPreallocated()
                ? "growth by the step: the cache is allocated beforehand"
                : "KV and state that the step adds and keeps"});
  sums.Add({"largest allocation", FormatBytes(price.largest_allocation_bytes),
            "the largest single buffer"});
  // The header is empty: the first line holds nothing.
  const std::string text = sums.ToString();
  out << text.substr(text.find('\n') + 1);
}

}  // namespace

absl::StatusOr<int> RunPrice(const Arguments& args, Streams& io) {
  TG_ASSIGN_OR_RETURN(const Chunk chunk, ReadChunk(args));
  TG_ASSIGN_OR_RETURN(const Inputs inputs, LoadInputs(args));
  TG_ASSIGN_OR_RETURN(const Price price,
                      inputs.estimator->Explain({.chunks = {&chunk, 1}}));
  PrintWarnings(inputs.warnings, io.err);
  if (!args.json) {
    PrintPrice(inputs, chunk, price, io.out);
    return kExitDone;
  }
  JsonWriter json;
  json.Put("n", chunk.n);
  json.Put("kv_len", chunk.kv_len);
  json.Put("mask", MaskName(chunk.mask));
  PutPrice(price, json);
  PutStrings("warnings", inputs.warnings, json);
  io.out << json.ToString();
  return kExitDone;
}

}  // namespace tidegate::tools
