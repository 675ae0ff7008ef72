# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""A headless browser for tests of pages. Importing it ends the test with 77 (skipped) where Chromium, its driver or
Selenium is missing."""

import shutil
import sys

SKIPPED = 77
try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
except ImportError:
    print("skipped: python3-selenium is not installed")
    sys.exit(SKIPPED)
BROWSER = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
if BROWSER is None or DRIVER is None:
    print("skipped: chromium or chromium-driver is not installed")
    sys.exit(SKIPPED)


def open_browser(*flags):
    options = Options()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))
