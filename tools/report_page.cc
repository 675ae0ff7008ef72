// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/report_page.h"

#include "tidegate/status.h"
#include "tools/report_assets.h"

namespace tidegate::tools {
namespace {

std::string_view Asset(std::string_view file) {
  for (const internal::EmbeddedText& asset : internal::report_assets()) {
    if (asset.file == file) return asset.text;
  }
  TG_CHECK(false);
  return {};
}

// JSON that may stand in a script element: nothing in it can end the element
// or open a comment.
std::string ForScript(std::string_view json) {
  std::string safe;
  safe.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '<':
        safe += "\\u003c";
        break;
      case '>':
        safe += "\\u003e";
        break;
      case '&':
        safe += "\\u0026";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string ForText(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string FillPage(std::string_view frame_file, std::string_view title,
                     std::string_view json) {
  // One pass over the frame: what is put in is not searched again.
  std::string page;
  std::string_view frame = Asset(frame_file);
  while (true) {
    const std::size_t open = frame.find("{{");
    page += frame.substr(0, open);
    if (open == std::string_view::npos) return page;
    const std::size_t close = frame.find("}}", open);
    TG_CHECK(close != std::string_view::npos);
    const std::string_view name = frame.substr(open + 2, close - open - 2);
    if (name == "title") {
      page += ForText(title);
    } else if (name == "data") {
      page += ForScript(json);
    } else {
      page += Asset(name);
    }
    frame.remove_prefix(close + 2);
  }
}

}  // namespace tidegate::tools
