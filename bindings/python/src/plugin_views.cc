// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "bindings/python/src/plugin_views.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "tidegate/catalogue.h"

namespace tidegate::python {
namespace {

namespace nb = nanobind;
using nb::literals::operator""_a;

std::string MaskText(std::int32_t mask) {
  return std::string(MaskName(static_cast<MaskKind>(mask)));
}

const char* AxisText(std::int32_t axis) {
  return axis == TIDEGATE_AXIS_N        ? "n"
         : axis == TIDEGATE_AXIS_KV_LEN ? "kv_len"
                                        : "chunk";
}

}  // namespace

std::int64_t ChunkQuestionView::Need(std::int64_t n) const {
  if (host == nullptr) throw nb::value_error("the question was answered");
  return need_bytes(host, n);
}

std::optional<std::int64_t> ChunkQuestionView::Takes(std::int64_t n) const {
  if (host == nullptr) throw nb::value_error("the question was answered");
  const std::int64_t takes = takes_ns(host, n);
  if (takes == TIDEGATE_UNSET) return std::nullopt;
  return takes;
}

AdmissionQuestionView::AdmissionQuestionView(
    const tidegate_admission_question& question)
    : tidegate_admission_question(question), request_view(*question.request) {
  for (std::int64_t i = 0; i < question.admitted_count; ++i) {
    admitted_views.emplace_back(*question.admitted[i]);
  }
}

void BindPluginViews(nb::module_& m) {
  nb::class_<ModelView>(m, "PluginModel")
      .def_ro("name", &ModelView::name_text)
      .def_ro("layers", &ModelView::layers)
      .def_ro("attention_layers", &ModelView::attention_layers)
      .def_ro("hidden", &ModelView::hidden)
      .def_ro("vocab", &ModelView::vocab)
      .def_ro("q_heads", &ModelView::q_heads)
      .def_ro("kv_heads", &ModelView::kv_heads)
      .def_ro("head_dim", &ModelView::head_dim)
      .def_ro("head_dim_v", &ModelView::head_dim_v)
      .def_ro("window", &ModelView::window)
      .def_ro("intermediate", &ModelView::intermediate)
      .def_ro("compute_bytes", &ModelView::compute_bytes)
      .def_ro("kv_bytes_per_token", &ModelView::kv_bytes_per_token)
      .def_prop_ro("weight_bytes",
                   [](const ModelView& self) -> std::optional<std::int64_t> {
                     if (self.weight_bytes == TIDEGATE_UNSET)
                       return std::nullopt;
                     return self.weight_bytes;
                   });

  nb::class_<tidegate_chunk>(m, "PluginChunk")
      .def_ro("n", &tidegate_chunk::n)
      .def_ro("kv_len", &tidegate_chunk::kv_len)
      .def_prop_ro("mask", [](const tidegate_chunk& self) {
        return MaskText(self.mask);
      });

  nb::class_<StepView>(m, "PluginStep")
      .def_ro("chunks", &StepView::chunk_list)
      .def_ro("decode_tokens", &StepView::decode_tokens)
      .def_ro("decode_kv_len", &StepView::decode_kv_len)
      .def_ro("logits_rows", &StepView::logits_rows);

  nb::class_<tidegate_range>(m, "PluginRange")
      .def_prop_ro("axis",
                   [](const tidegate_range& self) {
                     return std::string(AxisText(self.axis));
                   })
      .def_ro("fixed", &tidegate_range::fixed)
      .def_ro("lo", &tidegate_range::lo)
      .def_ro("hi", &tidegate_range::hi)
      .def_prop_ro("mask", [](const tidegate_range& self) {
        return MaskText(self.mask);
      });

  nb::class_<RequestView>(m, "PluginRequest")
      .def_ro("id", &RequestView::id)
      .def_ro("priority", &RequestView::priority)
      .def_ro("tenant", &RequestView::tenant_text)
      .def_ro("arrived_ns", &RequestView::arrived_ns)
      .def_ro("prompt_tokens", &RequestView::prompt_tokens)
      .def_ro("cached_tokens", &RequestView::cached_tokens)
      .def_ro("done_tokens", &RequestView::done_tokens)
      .def_ro("max_output_tokens", &RequestView::max_output_tokens)
      .def_ro("decoded_tokens", &RequestView::decoded_tokens)
      .def_ro("claim_bytes", &RequestView::claim_bytes)
      .def_ro("held_bytes", &RequestView::held_bytes)
      .def_ro("preempted", &RequestView::preempted)
      .def_ro("served_tokens", &RequestView::served_tokens)
      .def_ro("tenant_served_tokens", &RequestView::tenant_served_tokens)
      .def_ro("passed_over_tokens", &RequestView::passed_over_tokens)
      .def_prop_ro("admitted",
                   [](const RequestView& self) {
                     return (self.flags & TIDEGATE_REQUEST_ADMITTED) != 0;
                   })
      .def_prop_ro("decoding", [](const RequestView& self) {
        return (self.flags & TIDEGATE_REQUEST_DECODING) != 0;
      });

  nb::class_<tidegate_moment>(m, "PluginMoment")
      .def_ro("now_ns", &tidegate_moment::now_ns)
      .def_ro("served_tokens", &tidegate_moment::served_tokens);

  nb::class_<ChunkQuestionView>(m, "PluginChunkQuestion")
      .def_ro("request", &ChunkQuestionView::request_view)
      .def_ro("max", &ChunkQuestionView::max)
      .def_ro("floor", &ChunkQuestionView::floor)
      .def_ro("quantum", &ChunkQuestionView::quantum)
      .def_ro("most", &ChunkQuestionView::most)
      .def_ro("fits", &ChunkQuestionView::fits)
      .def_ro("room_bytes", &ChunkQuestionView::room_bytes)
      .def_ro("decode_stall_ns", &ChunkQuestionView::decode_stall_ns)
      .def("need_bytes", &ChunkQuestionView::Need, "n"_a)
      .def("takes_ns", &ChunkQuestionView::Takes, "n"_a);

  nb::class_<AdmissionQuestionView>(m, "PluginAdmissionQuestion")
      .def_ro("request", &AdmissionQuestionView::request_view)
      .def_ro("admitted", &AdmissionQuestionView::admitted_views)
      .def_ro("ceiling_bytes", &AdmissionQuestionView::ceiling_bytes)
      .def_ro("headroom_bytes", &AdmissionQuestionView::headroom_bytes)
      .def_ro("live_bytes", &AdmissionQuestionView::live_bytes)
      .def_ro("claimed_bytes", &AdmissionQuestionView::claimed_bytes)
      .def_ro("claim_bytes", &AdmissionQuestionView::claim_bytes)
      .def_prop_ro(
          "fits",
          [](const AdmissionQuestionView& self) { return self.fits != 0; })
      .def_prop_ro("reserve_admits", [](const AdmissionQuestionView& self) {
        return self.reserve_admits != 0;
      });
}

}  // namespace tidegate::python
