"""Pages as a reader has them: what they would fetch, and how they look in a headless browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TELEPHONE = 390  # pixels


class Parts(HTMLParser):
    """Rows of the table bodies by id, and all addresses that the page would fetch."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.fetched, self._body = dict[str, int](), list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        found = dict(attrs)
        if tag in ("thead", "tbody"):
            self._body = found.get("id", "")
        if tag == "tr" and self._body:
            self.rows[self._body] = self.rows.get(self._body, 0) + 1
        if tag in ("script", "img", "link", "iframe", "source", "audio", "video", "object", "embed"):
            self.fetched += [found[name] for name in ("src", "href", "data") if found.get(name)]


@contextmanager
def opened(path: Path) -> Iterator:
    """A headless browser with the page `path`, as wide as a telephone's."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not (found and driver):
        pytest.skip("no Chromium with chromedriver on this machine, so nothing was tried in a browser")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        size = {"width": TELEPHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(path.as_uri())
        yield browser
    finally:
        browser.quit()


def is_whole(browser, marks: str) -> list[int]:
    """Asserts that the page says no error and fits; the number of `marks` (a selector) of each chart that is seen."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= TELEPHONE
    sizes = f"[one.getBoundingClientRect().width, one.querySelectorAll('{marks}').length]"
    drawn = browser.execute_script(f"return [...document.querySelectorAll('svg')].map(one => {sizes})")
    assert all(0 < width <= TELEPHONE for width, _ in drawn), drawn
    return [number for _, number in drawn]
