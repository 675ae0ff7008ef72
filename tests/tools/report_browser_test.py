#!/usr/bin/env python3
# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Opens report.html as a user would: in a browser, offline, and looks at what is there.

Usage: report_browser_test.py TIDEGATE SOURCE_DIR. Exits with 77 (skipped) where Chromium, its driver or Selenium is
missing. With TIDEGATE_SCREENSHOTS=DIR it leaves pictures of every page there, in light and dark.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from browser import open_browser  # noqa: E402

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

TIDEGATE, SOURCE = sys.argv[1:3] if len(sys.argv) > 2 else ("tidegate", ".")
MODEL = "config = '{}/tests/data/configs/llama-3.1-8b.json'".format(SOURCE)
POLICY = """
[model]
%s
[engine]
name = "mlx"
version = "0.31.2"
device = "metal"
[memory]
ceiling = "36 GiB"
base = "16 GiB"
[chunk]
use = "%s"
max = %d
"""
HEADER = "arrival_s,prompt_tokens,cached_tokens,output_tokens,session\n"

# A name that would end the script element and run code, were it not escaped.
HOSTILE = "</script><img src=x onerror=window.hacked=1>'\"&.csv"


def browser():
    return open_browser("--hide-scrollbars", "--window-size=1400,1000",
                        "--user-data-dir=" + os.path.join(FOLDER.name, "profile"))


def run(*words):
    done = subprocess.run([TIDEGATE, *words], capture_output=True, text=True, cwd=FOLDER.name, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(name, text):
    path = pathlib.Path(FOLDER.name, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


# Colours of a canvas, counted. A chart without marks has those of its axes only.
INK = """
const canvas = arguments[0].querySelector('canvas');
if (!canvas || !canvas.width) return null;
const copy = document.createElement('canvas');
copy.width = canvas.width;
copy.height = canvas.height;
const context = copy.getContext('2d', {willReadFrequently: true});
context.drawImage(canvas, 0, 0);
const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
const wanted = arguments[1].map((name) => {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const rgb = getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number);
  probe.remove();
  return rgb;
});
return wanted.map((rgb) => {
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i + 3] > 100 && Math.abs(pixels[i] - rgb[0]) + Math.abs(pixels[i + 1] - rgb[1]) +
        Math.abs(pixels[i + 2] - rgb[2]) < 24) ++count;
  }
  return count;
});
"""


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.driver = browser()

    @classmethod
    def tearDownClass(cls):
        cls.driver.quit()

    def open(self, page):
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(pathlib.Path(FOLDER.name, page).as_uri())

    def check_quiet(self):
        """No error in the console, and nothing was fetched but the page."""
        self.assertEqual(self.driver.get_log("browser"), [])
        fetched = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("data:", "blob:", "chrome:", "about:")):
                    fetched.append(url)
        self.assertLessEqual(len(set(fetched)), 1, fetched)

    def wait_for(self, condition):
        """ECharts answers the mouse some frames later."""
        WebDriverWait(self.driver, 20).until(lambda _: condition())

    def ink(self, chart, colours):
        element = self.driver.find_element(By.ID, "chart-" + chart)
        return self.driver.execute_script(INK, element, colours)

    def check_table(self, runs, cells=15):
        """Every number of the table is that of the JSON, shown and kept."""
        rows = self.driver.find_elements(By.CSS_SELECTOR, "#runs tbody tr")
        self.assertEqual(len(rows), len(runs))
        scale = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
        checked = 0
        for row in rows:
            run = runs[int(row.get_attribute("data-run"))]
            for cell in row.find_elements(By.CSS_SELECTOR, "td[data-value]"):
                value = run[cell.get_attribute("data-key")]
                if isinstance(value, str):
                    self.assertEqual(cell.get_attribute("data-value"), value)
                    continue
                self.assertEqual(float(cell.get_attribute("data-value")), value)
                words = cell.get_attribute("textContent").replace(",", "").split()
                shown = float(words[0]) * (scale[words[1]] if len(words) > 1 else 1)
                unit = scale[words[1]] * 0.01 if len(words) > 1 else 1
                digits = words[0].partition(".")[2]
                slack = unit if len(words) > 1 else 0.5000001 * 10.0 ** -len(digits)
                self.assertLessEqual(abs(shown - value), slack, cell.get_attribute("data-key"))
                checked += 1
        self.assertGreaterEqual(checked, cells * len(runs))

    def shoot(self, name):
        folder = os.environ.get("TIDEGATE_SCREENSHOTS")
        if not folder:
            return
        for theme in ("light", "dark"):
            self.set_theme(theme)
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
            self.driver.set_window_size(1400, height + 140)
            self.driver.save_screenshot(os.path.join(folder, "{}-{}.png".format(name, theme)))

    def set_theme(self, theme):
        if self.driver.execute_script("return document.documentElement.dataset.theme") != theme:
            self.driver.find_element(By.ID, "theme").click()

    def test_simulation(self):
        trace = write("trace.csv", HEADER + "".join("{},{},0,40,{}\n".format(i, 900 + 400 * (i % 7), i)
                                                    for i in range(60)) + "60,400000,0,10,99\n")
        policy = write("one.toml", POLICY % (MODEL, "throttle", 2048))
        summary = json.loads(run("simulate", "--policy", policy, "--trace", trace, "--out", "simulated", "--json"))
        self.open("simulated/report.html")
        for chart in ("memory", "width", "ttft", "itl"):
            self.assertGreater(self.ink(chart, ["--c0"])[0], 30, chart)
        self.assertGreater(self.ink("memory", ["--limit"])[0], 30)
        self.assertGreater(self.ink("refusals", ["--c1"])[0], 30)
        data = json.loads(self.driver.find_element(By.ID, "data").get_attribute("textContent"))
        shown = data["runs"][0]
        self.assertEqual({key: shown[key] for key in summary}, summary)
        self.check_table(data["runs"])
        self.shoot("simulate")
        self.check_quiet()

    def test_comparison(self):
        first = write("one.toml", POLICY % (MODEL, "throttle", 2048))
        second = write("two.toml", POLICY % (MODEL, "fixed", 1024))
        rows = "".join("{:.1f},{},0,50,{}\n".format(i * 0.1, 900 + 1700 * (i % 9), i) for i in range(80))
        trace = write("trace.csv", HEADER + rows)
        hostile = write("a<" + HOSTILE[1:], HEADER + rows)
        out = run("compare", "--policies", first + "," + second, "--trace", trace, "--trace", hostile, "--ceiling",
                  "24 GiB,36 GiB", "--out", "compared", "--json")
        runs = json.loads(out)["runs"]
        self.assertEqual(len(runs), 8)
        self.assertEqual(json.loads(pathlib.Path(FOLDER.name, "compared/compare.json").read_text())["runs"], runs)
        self.open("compared/report.html")
        data = json.loads(self.driver.find_element(By.ID, "data").get_attribute("textContent"))
        self.assertEqual(data["runs"], runs)
        self.check_table(runs)
        for theme in ("light", "dark"):
            self.set_theme(theme)
            for chart in ("memory", "width", "ttft", "goodput", "pareto"):
                for count in self.ink(chart, ["--c0", "--c1"]):
                    self.assertGreater(count, 30, chart + " in " + theme)

        # The other trace, whose name must be text everywhere.
        options = self.driver.find_elements(By.CSS_SELECTOR, "#filter-trace option")
        self.assertEqual(options[1].get_attribute("title"), hostile)
        options[1].click()
        self.assertGreater(self.ink("memory", ["--c0"])[0], 30)
        self.assertIsNone(self.driver.execute_script("return window.hacked || null"))
        self.assertEqual(self.driver.find_elements(By.CSS_SELECTOR, "img"), [])

        # A click on a heading sorts, a second one the other way round.
        for descending in (False, True):
            self.driver.find_element(By.CSS_SELECTOR, "th[data-key=tokens_per_s] button").click()
            shown = [float(cell.get_attribute("data-value")) for cell in
                     self.driver.find_elements(By.CSS_SELECTOR, "td[data-key=tokens_per_s]")]
            self.assertEqual(shown, sorted((run["tokens_per_s"] for run in runs), reverse=descending))

        # Hovering shows a tooltip; Ctrl and the wheel zoom.
        chart = self.driver.find_element(By.ID, "chart-memory")
        webdriver.ActionChains(self.driver).move_to_element(chart).perform()
        self.wait_for(lambda: "GiB" in chart.get_attribute("textContent"))
        webdriver.ActionChains(self.driver).key_down(Keys.CONTROL).scroll_from_origin(
            ScrollOrigin.from_element(chart), 0, -300).key_up(Keys.CONTROL).perform()
        self.wait_for(lambda: self.driver.execute_script(
            "const zoom = echarts.getInstanceByDom(arguments[0]).getOption().dataZoom[0];"
            "return zoom.end - zoom.start", chart) < 99)
        self.shoot("compare")
        self.check_quiet()

    def test_calibration(self):
        data = pathlib.Path(SOURCE, "tests/data")
        hostile = write("a<" + HOSTILE[1:], (data / "validate/attention_torch.csv").read_text())
        out = json.loads(run("calibrate", str(data / "h200/model_h200.csv"), hostile, "--out", "profile.toml", "--json"))
        self.open("profile.html")
        data = json.loads(self.driver.find_element(By.ID, "data").get_attribute("textContent"))
        self.assertEqual(data["routes"], out["routes"])
        self.assertGreater(len(out["refused"]), 0)
        self.check_table(out["routes"], cells=9)
        refused = self.driver.find_elements(By.CSS_SELECTOR, "#refused td[data-key=reason]")
        self.assertEqual([cell.get_attribute("textContent") for cell in refused],
                         [route["reason"] for route in out["refused"]])
        self.assertEqual(len(self.driver.find_elements(By.CSS_SELECTOR, "section.route")), len(out["routes"]))
        for theme in ("light", "dark"):
            self.set_theme(theme)
            self.wait_for(lambda: (self.ink("fit-0", ["--c2"]) or [0])[0] > 30)
            self.wait_for(lambda: (self.ink("residuals-0", ["--limit"]) or [0])[0] > 30)
        self.assertIsNone(self.driver.execute_script("return window.hacked || null"))
        self.assertEqual(self.driver.find_elements(By.CSS_SELECTOR, "img"), [])

        self.assertIn(pathlib.Path(hostile).name, self.driver.find_element(By.ID, "facts").get_attribute("textContent"))

        # A row under the mouse states its numbers.
        drawn = data["charts"][0]["rows"]
        middle = sorted(drawn, key=lambda row: row[3])[len(drawn) // 2]
        chart = self.driver.find_element(By.ID, "chart-fit-0")
        self.driver.execute_script("arguments[0].scrollIntoView()", chart)
        x, y = self.driver.execute_script(
            "return echarts.getInstanceByDom(arguments[0]).convertToPixel({seriesIndex: 0}, arguments[1])", chart,
            [middle[2], middle[3]])
        box = chart.size
        webdriver.ActionChains(self.driver).move_to_element_with_offset(
            chart, round(x - box["width"] / 2), round(y - box["height"] / 2)).perform()
        self.wait_for(lambda: "price / measured" in chart.get_attribute("textContent"))
        # A route that is far down is drawn when it is reached.
        last = len(out["routes"]) - 1
        self.driver.find_element(By.CSS_SELECTOR, "a[href='#route-{}']".format(last)).click()
        self.wait_for(lambda: (self.ink("fit-{}".format(last), ["--c2"]) or [0])[0] > 30)
        self.shoot("calibrate")
        self.check_quiet()

    def test_the_system_theme_is_followed(self):
        if not pathlib.Path(FOLDER.name, "simulated/report.html").exists():
            self.test_simulation()
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.open("simulated/report.html")
        self.assertEqual(self.driver.execute_script("return document.documentElement.dataset.theme"), "dark")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        class FOLDER:
            pass
        FOLDER.name = name
        result = unittest.main(argv=[sys.argv[0]], exit=False, verbosity=2).result
        sys.exit(0 if result.wasSuccessful() else 1)
