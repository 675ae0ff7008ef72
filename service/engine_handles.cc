// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <utility>

#include "tidegate/service_engine.h"

namespace tidegate {

struct DecodeHandle::State {
  std::atomic<bool> ended{false};
  Send send;
};

void DecodeHandle::Deleter::operator()(State* state) const { delete state; }

DecodeHandle::DecodeHandle(Send send) : state_(new State) {
  state_->send = std::move(send);
}

DecodeHandle& DecodeHandle::operator=(DecodeHandle&& other) noexcept {
  if (this != &other) {
    End("the engine dropped the request while it decoded");
    state_ = std::move(other.state_);
  }
  return *this;
}

DecodeHandle::~DecodeHandle() {
  End("the engine dropped the request while it decoded");
}

void DecodeHandle::Generated(Tokens tokens) {
  if (state_ == nullptr || state_->ended) return;
  state_->send({.tokens = tokens, .failure = ""});
}

bool DecodeHandle::Finish() { return End(""); }

bool DecodeHandle::Fail(std::string reason) {
  if (reason.empty()) reason = "the engine could not decode the request";
  return End(std::move(reason));
}

bool DecodeHandle::End(std::string failure) {
  if (state_ == nullptr || state_->ended.exchange(true)) return false;
  state_->send({.tokens = std::nullopt, .failure = std::move(failure)});
  return true;
}

}  // namespace tidegate
