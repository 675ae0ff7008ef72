// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a Python plug-in is asked about. Copies: Python may keep them.

#ifndef TIDEGATE_BINDINGS_PYTHON_PLUGIN_VIEWS_H_
#define TIDEGATE_BINDINGS_PYTHON_PLUGIN_VIEWS_H_

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tidegate/plugin.h"

namespace tidegate::python {

struct ModelView : tidegate_model {
  explicit ModelView(const tidegate_model& model)
      : tidegate_model(model), name_text(model.name) {}
  std::string name_text;
};

struct RequestView : tidegate_request {
  explicit RequestView(const tidegate_request& request)
      : tidegate_request(request),
        tenant_text(request.tenant,
                    static_cast<std::size_t>(request.tenant_length)) {}
  std::string tenant_text;
};

struct StepView : tidegate_step {
  explicit StepView(const tidegate_step& step)
      : tidegate_step(step),
        chunk_list(step.chunks, step.chunks + step.chunk_count) {}
  std::vector<tidegate_chunk> chunk_list;
};

struct ChunkQuestionView : tidegate_chunk_question {
  explicit ChunkQuestionView(const tidegate_chunk_question& question)
      : tidegate_chunk_question(question), request_view(*question.request) {}
  // Throw ValueError once the call is over, which clears `host`.
  std::int64_t Need(std::int64_t n) const;
  std::optional<std::int64_t> Takes(std::int64_t n) const;
  RequestView request_view;
};

struct AdmissionQuestionView : tidegate_admission_question {
  explicit AdmissionQuestionView(const tidegate_admission_question& question);
  RequestView request_view;
  std::vector<RequestView> admitted_views;
};

void BindPluginViews(nanobind::module_& m);

}  // namespace tidegate::python

#endif  // TIDEGATE_BINDINGS_PYTHON_PLUGIN_VIEWS_H_
