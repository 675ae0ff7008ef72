// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// llama.cpp under a ceiling: llamacpp_prefill MODEL.gguf MIB "PROMPT"

#include <iostream>

#include "tidegate/llamacpp.h"
#include "tidegate/tidegate.h"

static absl::Status Serve(const char* file, tidegate::Bytes ceiling,
                          const std::string& text) {
  using namespace tidegate;
  llama_model* model =
      llama_model_load_from_file(file, llama_model_default_params());
  if (model == nullptr) return absl::NotFoundError("no model");
  TG_ASSIGN_OR_RETURN(auto loaded, llamacpp::Load(model, {.ceiling = ceiling}));
  std::cout << loaded.plan.reason << "\n";
  TG_ASSIGN_OR_RETURN(auto device, llamacpp::Device::Create(loaded));
  TG_ASSIGN_OR_RETURN(auto gate, PullScheduler::Create(loaded.scheduler));
  std::vector<llama_token> tokens(text.size() + 8);
  tokens.resize(llama_tokenize(llama_model_get_vocab(model), text.data(),
                               text.size(), tokens.data(), tokens.size(), true,
                               false));
  const Arrive request = {.id = 1,
                          .request = {.prompt_tokens = Tokens(tokens.size())}};
  TG_RETURN_IF_ERROR(device->Add(1, {.tokens = tokens}));
  const Instant now{};  // your clock
  TG_RETURN_IF_ERROR(gate->Submit(request, now));
  while (const std::optional<Work> work = gate->Next(now)) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      TG_RETURN_IF_ERROR(gate->Complete(run->step, device->Run(*run), now));
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      std::cout << "logits: " << device->Logits(decode->id).size() << "\n";
      TG_RETURN_IF_ERROR(gate->Finish(decode->id, now));
    } else if (const auto* answer = std::get_if<Answer>(&*work)) {
      std::cout << OutcomeName(answer->outcome) << answer->reason << "\n";
    }
  }
  return absl::OkStatus();
}

int main(int argc, char** argv) {
  if (argc != 4) return std::cerr << "MODEL.gguf MIB PROMPT\n", 2;
  const absl::Status status =
      Serve(argv[1], std::stoll(argv[2]) << 20, argv[3]);
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
