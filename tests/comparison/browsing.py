"""A real browser, headless, that opens pages from disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1400,1000 --force-device-scale-factor=1"
)


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    """Chromium with a new profile; it logs its console and what it asks the network for."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))  # given, so none is downloaded
    try:
        driver.get("about:blank")
        for log in ("browser", "performance"):
            driver.get_log(log)  # what the browser's own first page left
        yield driver
    finally:
        driver.quit()


def open_page(driver: Chrome, path: Path) -> None:
    """Open a page and wait until its plots are drawn."""
    driver.get(path.as_uri())
    wait(driver, "return document.body.dataset.ready === 'yes'")


def wait(driver: Chrome, condition: str, *arguments: Any) -> None:
    WebDriverWait(driver, 20, poll_frequency=0.05).until(
        lambda _: driver.execute_script(condition, *arguments)
    )
