// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prints a page of metrics: the service's library, what it needs included.
#include <iostream>

#include "tidegate/service_metrics.h"

int main() {
  std::cout << tidegate::PrometheusText({});
  return 0;
}
