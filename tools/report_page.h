// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Pages that need no network and no other file: a frame of tools/report/ with
// style, scripts, charting library and data put in.

#ifndef TIDEGATE_TOOLS_REPORT_PAGE_H_
#define TIDEGATE_TOOLS_REPORT_PAGE_H_

#include <string>
#include <string_view>

namespace tidegate::tools {

// `frame` and what it names in {{ }} are files that are compiled in; {{title}}
// and {{data}} are replaced by these. Both may hold anything: the title becomes
// text, and nothing in `json` can end the script element that it stands in.
std::string FillPage(std::string_view frame, std::string_view title,
                     std::string_view json);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_REPORT_PAGE_H_
