"""The page in a real browser, opened from disk."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from fake_runs import write_killed, write_run, write_sweep, write_thumbnails
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from miner.comparison.comparison import Comparison, pareto_front
from miner.comparison.runs import read_results
from miner.comparison.writing import THUMBNAILS, write_comparison

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1400,1000 --force-device-scale-factor=1"
)
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH"
)
INSIDE = ("blob:", "data:")
HOSTILE = "</script><b>x</b><img src=x onerror='window.hit = 1'>"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium with a new profile; it logs its console and its network requests."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))  # given, so none is downloaded
    try:
        driver.get("about:blank")
        for log in ("browser", "performance"):
            driver.get_log(log)  # what the browser's first page left
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    write_sweep(folder, thumbnails=True)
    return folder


@pytest.fixture
def page(chrome: Chrome, sweep: Path) -> Iterator[Chrome]:
    open_page(chrome, sweep)
    yield chrome
    assert_quiet(chrome)


def open_page(driver: Chrome, folder: Path) -> None:
    """Write and open the page of a folder's runs, and wait until its plots are drawn."""
    write_comparison(read_results([folder]), folder)
    driver.get((folder / "comparison.html").as_uri())
    wait(driver, "return document.body.dataset.ready === 'yes'")


def wait(driver: Chrome, condition: str) -> None:
    WebDriverWait(driver, 20, poll_frequency=0.05).until(lambda _: driver.execute_script(condition))


def assert_quiet(driver: Chrome) -> None:
    """No error in the console, and no request but for the page and what it contains."""
    assert driver.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    outside = [url for each in sent if not (url := each["request"]["url"]).startswith(INSIDE)]
    assert set(outside) <= {driver.current_url}


def position(driver: Chrome, title: str) -> int:
    """Where a column is, from 1."""
    cells = driver.find_elements(By.CSS_SELECTOR, "#runs .dt-scroll-head thead tr:first-child th")
    return [cell.text for cell in cells].index(title) + 1


def column(driver: Chrome, title: str) -> list[str | None]:
    cells = f"#runs tbody td:nth-child({position(driver, title)})"
    found = driver.find_elements(By.CSS_SELECTOR, cells)
    return [cell.get_attribute("textContent") for cell in found]


def header(driver: Chrome, title: str, row: int) -> str:
    """The selector of a column's title (row 1) or filter (row 2)."""
    number = position(driver, title)
    return f"#runs .dt-scroll-head thead tr:nth-child({row}) > :nth-child({number})"


def filter_by(driver: Chrome, title: str, text: str, n_left: int) -> None:
    """Filter by a column, and wait until the table shows how many runs are left."""
    driver.find_element(By.CSS_SELECTOR, header(driver, title, 2) + " input").send_keys(text)
    info = "document.querySelector('#runs .dt-info').textContent"
    wait(driver, f"return {info}.includes('of {n_left} entries (filtered')")


def choose(driver: Chrome, plot: str, choice: str) -> None:
    """Choose from a plot's menu."""
    driver.find_element(By.CSS_SELECTOR, f"#{plot} .updatemenu-header").click()
    buttons = driver.find_elements(By.CSS_SELECTOR, f"#{plot} .updatemenu-dropdown-button")
    next(button for button in buttons if button.text == choice).click()


def drawn(driver: Chrome, plot: str) -> list[dict[str, Any]]:
    """The visible traces of a plot."""
    traces = f"document.getElementById('{plot}').data.filter((trace) => trace.visible)"
    found: list[dict[str, Any]] = driver.execute_script(f"return {traces}")
    return found


def test_a_click_on_a_title_sorts(page: Chrome) -> None:
    title = header(page, "PSNR (dB)", 1)
    for order in ("asc", "desc"):
        page.find_element(By.CSS_SELECTOR, title).click()
        wait(page, f"return document.querySelector('{title}.dt-ordering-{order}') !== null")
        found = [float(text or "") for text in column(page, "PSNR (dB)")]
        assert found == sorted(found, reverse=order == "desc") != found[::-1]


def test_filters_by_text_and_numbers_narrow_the_table(page: Chrome) -> None:
    filter_by(page, "pyramid", "lapl", 18)
    assert set(column(page, "pyramid")) == {"laplacian"}
    filter_by(page, "parameters", "14600", 6)
    filter_by(page, "seed", "1", 3)


def test_differences_are_those_of_the_chosen_metric(page: Chrome, sweep: Path) -> None:
    comparison = Comparison(read_results([sweep]))
    for metric, name in (("psnr_db", "PSNR (dB)"), ("ssim", "SSIM")):
        if metric != "psnr_db":
            choose(page, "differences", f"difference in {name}")
        traces = drawn(page, "differences")
        assert [trace["name"] for trace in traces] == ["pyramid", "model.width"]
        for trace in traces:
            found = comparison.differences(trace["name"], metric)
            assert trace["y"] == [f"{trace['name']}: {each}" for each in found]
            assert trace["x"] == [each.estimate.mean for each in found]
            widths = [each.estimate.half_width for each in found]
            assert trace["error_x"]["array"] == widths


def test_points_are_means_of_settings_with_their_front(page: Chrome, sweep: Path) -> None:
    """All settings have equal images and seeds."""
    runs = defaultdict(list)
    for run in read_results([sweep]):
        runs[run.overrides["pyramid"], run.overrides["model.width"]].append(run.numbers)
    costs, psnr = (
        [fmean(numbers[name] for numbers in each) for each in runs.values()]
        for name in ("n_parameters", "psnr_db")
    )
    *groups, front = [trace for trace in drawn(page, "quality") if trace["xaxis"] == "x"]
    points = [point for trace in groups for point in zip(trace["x"], trace["y"], strict=True)]
    assert np.array(sorted(points)) == pytest.approx(
        np.array(sorted(zip(costs, psnr, strict=True)))
    )
    expected = pareto_front(costs, psnr)
    assert front["x"] == pytest.approx([costs[i] for i in expected])
    assert front["y"] == pytest.approx([psnr[i] for i in expected])


def test_runs_of_one_setting_are_drawn_each(chrome: Chrome, tmp_path: Path) -> None:
    for n, image in enumerate(("moon", "camera", "coffee")):
        write_run(tmp_path / f"{n}-a", [f"image={image}"], psnr_db=30.0 + n)
    open_page(chrome, tmp_path)
    found = {trace["name"]: trace["y"] for trace in drawn(chrome, "quality")}
    assert found == {"moon": [30], "camera": [31], "coffee": [32]}
    assert_quiet(chrome)


def test_colours_are_chosen(page: Chrome) -> None:
    for plot, n_traces in (("quality", 9 + 3), ("curves", 9)):
        choose(page, plot, "coloured by model.width")
        traces = drawn(page, plot)
        assert [trace.get("name") for trace in traces if trace["xaxis"] == "x"][:3] == [
            "4",
            "8",
            "16",
        ]
        assert len(traces) == n_traces


def test_curves_break_between_levels_and_runs(page: Chrome) -> None:
    steps, seconds, parameters, *_ = drawn(page, "curves")
    for trace, last in ((steps, 230), (seconds, 1.15), (parameters, 1000)):
        assert trace["x"][24] == last
        assert [i for i, psnr in enumerate(trace["y"][:26]) if psnr is None] == [12, 24, 25]


def test_a_click_on_a_run_shows_its_pictures(page: Chrome) -> None:
    runs = page.find_elements(By.TAG_NAME, "summary")
    run = next(run for run in runs if "moon, seed 1, pyramid=laplacian, model.width=8" in run.text)
    run.click()
    wait(
        page,
        "return [...document.querySelectorAll('[open] img')].every((each) => each.naturalWidth)",
    )
    shown = page.find_elements(By.CSS_SELECTOR, "[open] img")
    assert [picture.get_attribute("alt") for picture in shown] == list(THUMBNAILS)


def test_a_hostile_name_stays_a_name(chrome: Chrome, tmp_path: Path) -> None:
    for n in range(4):
        overrides = [f"pyramid={HOSTILE}{n % 2}", f"{HOSTILE}={n // 2}", f"image={HOSTILE}"]
        write_thumbnails(write_run(tmp_path / f"{n}-<b>", overrides, curve=True))
    write_run(tmp_path / "4-x", status="failed", reason=HOSTILE)
    open_page(chrome, tmp_path)
    for plot in ("quality", "curves", "differences"):
        chrome.execute_script(f"Plotly.Fx.hover('{plot}', [{{curveNumber: 0, pointNumber: 0}}])")
    for title in ("image", "pyramid"):
        filter_by(chrome, title, "x", 4)
    assert HOSTILE in column(chrome, "image")
    for plot in ("quality", "curves", "differences"):
        assert HOSTILE in chrome.find_element(By.ID, plot).get_attribute("textContent")
    assert chrome.execute_script("return window.hit ?? null") is None
    assert not chrome.find_elements(By.CSS_SELECTOR, "img[src=x], main b")
    assert_quiet(chrome)


@pytest.mark.parametrize(
    "kind",
    [
        "failed",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("one without a finite PSNR", "mixed")),
    ],
)
def test_few_and_odd_runs_make_a_page_too(chrome: Chrome, tmp_path: Path, kind: str) -> None:
    if kind != "one without a finite PSNR":
        write_run(tmp_path / "0-a", ["pyramid=a"], status="failed", reason="too dark")
        write_killed(tmp_path / "1-b", ["pyramid=b", "image=moon"])
    if kind != "failed":
        write_run(tmp_path / "2-c", ["pyramid=a"], psnr_db=None, curve=True)
    if kind == "mixed":
        write_run(tmp_path / "3-d", ["pyramid=b"])
    open_page(chrome, tmp_path)
    assert len(column(chrome, "run")) == len(list(tmp_path.glob("*-*")))
    assert_quiet(chrome)
