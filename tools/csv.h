// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Tables in CSV, as the estimators read them.

#ifndef TIDEGATE_TOOLS_CSV_H_
#define TIDEGATE_TOOLS_CSV_H_

#include "estimators/csv.h"

namespace tidegate::tools {

using internal::CsvTable;
using internal::ParseCsv;
using internal::ReadCsv;

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_CSV_H_
