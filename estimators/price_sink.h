// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How a law states a price once and is read twice.
//
// A *law* is a class with
//
//   template <typename Sink>
//   void Emit(const StepQuery& step, Sink& sink) const;
//   void Breakpoints(Axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind,
//                    std::vector<Tokens>* out) const;
//   Bytes Resident(const StepQuery& step) const;   // growth that stays
//   std::string RouteName(const StepQuery& step) const;
//
// Emit walks the moments of one forward pass:
//
//   sink.BeginPart("attention.full");
//   sink.Add("scores", SatMul(heads, n, kv_len, 2));
//   sink.AddFixed("kv_repeat", SatMul(heads, kv_len, dim, 2));  // no n in it
//   sink.EndPart();
//
// TotalsSink keeps four integers (the hot path: names vanish when inlined),
// TermsSink keeps every part and term. Since both run the same code, the
// number that decides and the arithmetic that explains are the same.
//
// Rules for laws. A phase of a kernel in which other buffers are alive is a
// part of its own ("attention.full.output"). A part with the same name may be
// emitted again, e.g. once per chunk: the largest counts. Adding the same term
// again within a part adds up: that is how chunks whose transients coexist are
// summed. Bytes are non-negative and saturate.

#ifndef TIDEGATE_ESTIMATORS_PRICE_SINK_H_
#define TIDEGATE_ESTIMATORS_PRICE_SINK_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tidegate/estimator.h"
#include "tidegate/types.h"

namespace tidegate::internal {

class TotalsSink {
 public:
  void BeginPart(std::string_view /*name*/) { part_ = part_fixed_ = 0; }
  // One buffer.
  void Add(std::string_view /*name*/, Bytes bytes) {
    part_ = SatAdd(part_, bytes);
    largest_ = std::max(largest_, bytes);
  }
  // Several buffers, the largest of which has `largest` bytes.
  void AddMany(std::string_view /*name*/, Bytes bytes, Bytes largest) {
    part_ = SatAdd(part_, bytes);
    largest_ = std::max(largest_, largest);
  }
  // One buffer whose size does not depend on n.
  void AddFixed(std::string_view name, Bytes bytes) {
    part_fixed_ = SatAdd(part_fixed_, bytes);
    Add(name, bytes);
  }
  // Several buffers whose sizes do not depend on n.
  void AddManyFixed(std::string_view name, Bytes bytes, Bytes largest) {
    part_fixed_ = SatAdd(part_fixed_, bytes);
    AddMany(name, bytes, largest);
  }
  void EndPart() {
    transient_ = std::max(transient_, part_);
    fixed_ = std::max(fixed_, part_fixed_);
  }
  // All parts at once, for a law that knows what they come to.
  void AddStep(Bytes transient, Bytes largest, Bytes fixed) {
    transient_ = std::max(transient_, transient);
    largest_ = std::max(largest_, largest);
    fixed_ = std::max(fixed_, fixed);
  }

  PriceTotals Totals(Bytes resident) const {
    return {.transient_bytes = transient_,
            .resident_bytes = resident,
            .largest_allocation_bytes = largest_,
            .fixed_in_n_bytes = fixed_};
  }

 private:
  Bytes part_ = 0;
  Bytes part_fixed_ = 0;
  Bytes transient_ = 0;
  Bytes largest_ = 0;
  Bytes fixed_ = 0;
};

class TermsSink {
 public:
  void BeginPart(std::string_view name) {
    totals_.BeginPart(name);
    part_ = Part{.name = std::string(name), .bytes = 0, .terms = {}};
  }
  void Add(std::string_view name, Bytes bytes) {
    totals_.Add(name, bytes);
    Record(name, bytes);
  }
  void AddMany(std::string_view name, Bytes bytes, Bytes largest) {
    totals_.AddMany(name, bytes, largest);
    Record(name, bytes);
  }
  void AddFixed(std::string_view name, Bytes bytes) {
    totals_.AddFixed(name, bytes);
    Record(name, bytes);
  }
  void AddManyFixed(std::string_view name, Bytes bytes, Bytes largest) {
    totals_.AddManyFixed(name, bytes, largest);
    Record(name, bytes);
  }
  void EndPart() {
    totals_.EndPart();
    auto same = std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) {
      return p.name == part_.name;
    });
    if (same == parts_.end()) {
      parts_.push_back(std::move(part_));
    } else if (same->bytes < part_.bytes) {
      *same = std::move(part_);
    }
  }

  // Moves the parts out. The first of the largest parts binds.
  Price Take(Bytes resident) {
    Price price;
    static_cast<PriceTotals&>(price) = totals_.Totals(resident);
    for (const Part& part : parts_) {
      if (price.binding_part.empty() || part.bytes > largest_part_) {
        largest_part_ = part.bytes;
        price.binding_part = part.name;
      }
    }
    price.parts = std::move(parts_);
    return price;
  }

 private:
  void Record(std::string_view name, Bytes bytes) {
    part_.bytes = SatAdd(part_.bytes, bytes);
    for (Term& term : part_.terms) {
      if (term.name == name) {
        term.bytes = SatAdd(term.bytes, bytes);
        return;
      }
    }
    part_.terms.push_back({std::string(name), bytes});
  }

  TotalsSink totals_;
  Part part_;
  std::vector<Part> parts_;
  Bytes largest_part_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_PRICE_SINK_H_
