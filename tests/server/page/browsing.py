"""Chromium on a page of geoindex, with no way out of this machine."""

import json
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

ARTEFACTS = Path(__file__).parents[3] / ".artefacts"
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

DESKTOP, PHONE = (1280, 900), (390, 844)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip

SETTLED_S = 1.2
"""A flight over the map takes 0.8 s."""


class Browser:
    """One window.

    Attributes:
        driver: selenium's.
        downloads: folder for what is downloaded.
    """

    def __init__(self, driver, downloads):
        self.driver, self.downloads = driver, downloads
        self._requests = []

    def open(self, url):
        """Visit a page of the server, until its map is there."""
        self.driver.get(url)
        self.until("window.geoindexMap")

    def run(self, script, *given):
        """Run a script in the page; return what it returns."""
        return self.driver.execute_script(script, *given)

    def until(self, condition, timeout_s=20.0):
        """Wait for an expression to be true in the page; return its value."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if value := self.run(
                f"const value = {condition}; return typeof value === 'object' ? Boolean(value) : value"
            ):
                return value
            time.sleep(0.05)
        raise AssertionError(f"{condition} is not true after {timeout_s} s; the page: {self.text('body')[:500]}")

    def find(self, selector):
        """Return the first element of a selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """Return what an element says."""
        return self.find(selector).text

    def ask(self, *photos):
        """Hand photos to the page and wait for its answer; return the milliseconds from then to the answer."""
        self.run("delete document.querySelector('.app').dataset.answeredMs")
        self.find("#photo").send_keys("\n".join(map(str, photos)))
        return float(self.until("document.querySelector('.app').dataset.answeredMs"))

    def centre(self):
        """Return latitude and longitude of the middle of the map when it has come to rest."""
        time.sleep(SETTLED_S)
        return self.run("const {lat, lng} = window.geoindexMap.map.getCenter(); return [lat, lng]")

    def keep(self, name):
        """Keep a picture of the window under the artefacts."""
        ARTEFACTS.mkdir(exist_ok=True)
        time.sleep(SETTLED_S)
        self.driver.save_screenshot(str(ARTEFACTS / f"{name}.png"))

    def downloaded(self, name):
        """Return a downloaded file as soon as it is whole."""
        path = self.downloads / name
        for _ in range(100):
            if path.is_file():
                return path
            time.sleep(0.05)
        raise AssertionError(f"{name} was not downloaded")

    def complaints(self):
        """Return what the console of the page complained about."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self):
        """Return the hosts of everything that the page asked for."""
        asked = {"Network.requestWillBeSent", "Network.webSocketCreated"}
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in asked:
                parameters = message["params"]
                self._requests.append(parameters.get("url") or parameters["request"]["url"])
        return {urlsplit(url).hostname for url in self._requests if not url.startswith(("data:", "blob:", "chrome"))}


@contextmanager
def browser(downloads, size=DESKTOP, dark=False):
    """Open a window of this size; one of a phone's width is touched, and scrolls its own way."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield Browser(driver, downloads)
    finally:
        driver.quit()
