#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Opens the server's live page in a browser while completions run.

Usage: live_page_browser_test.py TIDEGATE_SERVER SOURCE_DIR. Exits with 77 (skipped) where Chromium, its driver or Selenium
is missing.
"""

import json
import pathlib
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from browser import open_browser  # noqa: E402

from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402


def look(driver, url):
    driver.get(url)
    shown = "return (document.querySelector('#totals td[data-key=finished]') || {}).textContent"
    WebDriverWait(driver, 60).until(lambda _: driver.execute_script(shown) == "3")
    for chart in ("chart-memory", "chart-queue"):
        names = driver.execute_script(
            "return echarts.getInstanceByDom(document.getElementById(arguments[0])).getOption().series.map((s) => s.name)",
            chart)
        assert len([name for name in names if name]) >= 2, (chart, names)
    assert driver.execute_script("return document.getElementById('trouble').hidden")
    theme = "return document.documentElement.dataset.theme"
    before = driver.execute_script(theme)
    driver.execute_script("document.getElementById('theme').click()")
    assert driver.execute_script(theme) != before
    assert driver.get_log("browser") == [], "the console is not quiet"
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked = message["params"]["request"]["url"]
            assert asked.startswith((url, "data:", "chrome:", "about:")), asked


def main():
    server, source = sys.argv[1:3]
    process = subprocess.Popen([server, "--policy", source + "/policy_files/mlx-36gb.toml", "--port", "0"],
                               stdout=subprocess.PIPE, text=True)
    try:
        process.stdout.readline()
        url = process.stdout.readline().split(" on ")[1].strip()
        for _ in range(3):
            body = json.dumps({"prompt": "Hello", "max_tokens": 3}).encode()
            urllib.request.urlopen(url + "v1/completions", body).read()
        driver = open_browser()
        try:
            look(driver, url)
        finally:
            driver.quit()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


if __name__ == "__main__":
    main()
