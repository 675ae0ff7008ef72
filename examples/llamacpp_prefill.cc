// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
// A prompt through llama.cpp, under a ceiling: MODEL.gguf MIB "PROMPT"
#include <iostream>

#include "tidegate/llamacpp.h"
#include "tidegate/tidegate.h"
using namespace tidegate;  // NOLINT

static absl::Status Serve(llama_model* model, Bytes mib, std::string text) {
  TG_ASSIGN_OR_RETURN(auto loaded,
                      llamacpp::Load(model, {.ceiling = mib << 20}));
  TG_ASSIGN_OR_RETURN(auto device, llamacpp::Device::Create(loaded));
  TG_ASSIGN_OR_RETURN(auto gate, PullScheduler::Create(loaded.scheduler));
  std::vector<llama_token> tokens(4 * text.size() + 8);
  tokens.resize(llama_tokenize(llama_model_get_vocab(model), text.data(),
                               text.size(), tokens.data(), tokens.size(), true,
                               false));
  const Arrive request = {1, {.prompt_tokens = Tokens(tokens.size())}};
  TG_RETURN_IF_ERROR(device->Add(1, {.tokens = tokens}));
  const Instant now{};  // your clock
  TG_RETURN_IF_ERROR(gate->Submit(request, now));
  while (const std::optional<Work> work = gate->Next(now)) {
    if (const auto* run = std::get_if<RunStep>(&*work)) {
      TG_RETURN_IF_ERROR(gate->Complete(run->step, device->Run(*run), now));
    } else if (const auto* decode = std::get_if<StartDecode>(&*work)) {
      std::cout << device->Logits(decode->id).size() << " logits\n";
      TG_RETURN_IF_ERROR(gate->Finish(decode->id, now));
    } else if (const auto* answer = std::get_if<Answer>(&*work)) {
      std::cout << OutcomeName(answer->outcome) << answer->reason << "\n";
    }
  }
  return absl::OkStatus();
}

int main(int, char** argv) {
  llama_model* model =
      llama_model_load_from_file(argv[1], llama_model_default_params());
  std::cout << Serve(model, std::stoll(argv[2]), argv[3]) << "\n";
}
