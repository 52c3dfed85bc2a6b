"""The page in a real browser, opened from disk."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fake_runs import write_killed, write_run, write_sweep, write_thumbnails
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from miner.comparison.comparison import Comparison
from miner.comparison.differences import paired_differences
from miner.comparison.page import write_comparison
from miner.comparison.runs import Result, read_results
from miner.comparison.statistics import pareto_front

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1400,1000 --force-device-scale-factor=1"
)
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the PATH"
)
VIEWS = """const { _fullLayout: layout } = document.getElementById("pictures");
const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
return [...new Set(axes.map((name) => name[0] + layout[name].range.map((x) => x.toFixed(3))))]"""
NAMES = "traces.map((trace) => trace.name)"
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
    """Filter by a column, and wait until the plots show the runs that are left."""
    driver.find_element(By.CSS_SELECTOR, header(driver, title, 2) + " input").send_keys(text)
    wait(driver, f"return document.getElementById('shown').textContent.startsWith('{n_left} of ')")


def select(driver: Chrome, name: str, value: str) -> None:
    Select(driver.find_element(By.ID, name)).select_by_value(value)


def drawn(driver: Chrome, plot: str, expression: str) -> Any:
    """What JavaScript computes from the `traces` of a plot."""
    traces = f"const traces = document.getElementById('{plot}').data;"
    return driver.execute_script(f"{traces} return {expression}")


def test_a_click_on_a_title_sorts(page: Chrome) -> None:
    title = header(page, "PSNR (dB)", 1)
    for order in ("asc", "desc"):
        page.find_element(By.CSS_SELECTOR, title).click()
        wait(page, f"return document.querySelector('{title}.dt-ordering-{order}') !== null")
        found = [float(text or "") for text in column(page, "PSNR (dB)")]
        assert found == sorted(found, reverse=order == "desc") != found[::-1]


def test_filters_by_text_and_numbers_narrow_the_table_and_the_plots(page: Chrome) -> None:
    filter_by(page, "pyramid", "lapl", 18)
    assert set(column(page, "pyramid")) == {"laplacian"}
    assert drawn(page, "curves-plot", NAMES) == ["laplacian"] * 18
    filter_by(page, "parameters", "14600", 6)
    filter_by(page, "seed", "1", 3)


def test_factor_and_metric_are_chosen(page: Chrome, sweep: Path) -> None:
    select(page, "factor", "model.width")
    select(page, "metric", "ssim")
    shown = page.find_element(By.ID, "difference-lines").text.splitlines()
    found = paired_differences(Comparison(read_results([sweep])), "model.width", "ssim")
    assert shown == [str(each) for each in found if not each.setting]


def test_the_front_is_that_of_the_chosen_image(page: Chrome, sweep: Path) -> None:
    select(page, "points", "runs")
    select(page, "image", "moon")
    runs = [run.numbers for run in read_results([sweep]) if run.image == "moon"]
    costs, qualities = [n["n_parameters"] for n in runs], [n["psnr_db"] for n in runs]
    front = pareto_front(costs, qualities)
    points = drawn(page, "quality-plot", "traces.find(({ name }) => name === 'Pareto front')")
    assert (points["x"], points["y"]) == ([costs[i] for i in front], [qualities[i] for i in front])


def assert_means_are_drawn(page: Chrome, runs: list[Result]) -> None:
    """The points over the first cost are the settings' means; all have equal images and seeds."""
    points = "traces.filter(({ xaxis, mode }) => xaxis === 'x' && mode === 'markers')"
    shown = drawn(page, "quality-plot", f"{points}.flatMap(({{ y }}) => [...y])")
    found = defaultdict(list)
    for run in runs:
        found[run.overrides["pyramid"], run.overrides["model.width"]].append(run.numbers["psnr_db"])
    assert sorted(shown) == pytest.approx(sorted(map(fmean, found.values())))


def test_means_are_those_of_the_chosen_image_and_filter(page: Chrome, sweep: Path) -> None:
    runs = read_results([sweep])
    assert_means_are_drawn(page, runs)
    select(page, "image", "moon")
    assert_means_are_drawn(page, [run for run in runs if run.image == "moon"])
    filter_by(page, "seed", "1", 18)
    assert_means_are_drawn(page, [run for run in runs if (run.image, run.seed) == ("moon", "1")])


def test_colours_and_the_axis_of_curves_are_chosen(page: Chrome) -> None:
    select(page, "colour", "model.width")
    assert drawn(page, "quality-plot", NAMES)[:4] == ["4", "8", "16", "Pareto front"]
    for over, last in (("step", 230), ("seconds", 1.15), ("parameters", 1000)):
        select(page, "over", over)
        assert drawn(page, "curves-plot", "traces[0].x.at(-1)") == last


def test_zooming_one_picture_zooms_all_and_the_next_run_keeps_it(page: Chrome) -> None:
    """The views are those of all pictures without duplicates."""
    whole = page.execute_script(VIEWS)
    assert whole == ["x0.000,1.000", "y0.000,1.000"]
    frame = page.find_elements(By.CSS_SELECTOR, "#pictures .nsewdrag")[1]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    origin = ScrollOrigin.from_element(frame, 10, 10)
    ActionChains(page).scroll_from_origin(origin, 0, -600).perform()
    wait(page, f"return !(() => {{ {VIEWS} }})().includes('{whole[0]}')")
    zoomed = page.execute_script(VIEWS)
    assert len(zoomed) == 2
    Select(page.find_element(By.ID, "run-b")).select_by_index(30)
    assert page.execute_script(VIEWS) == zoomed
    frame = page.find_elements(By.CSS_SELECTOR, "#pictures .nsewdrag")[1]
    ActionChains(page).drag_and_drop_by_offset(frame, 30, 20).perform()
    moved = page.execute_script(VIEWS)
    assert len(moved) == 2 and set(moved).isdisjoint([*zoomed, *whole])

    def is_reset(_: Chrome) -> bool:  # again where a busy machine was too slow for a double click
        ActionChains(page).double_click(frame).perform()
        return bool(page.execute_script(VIEWS) == whole)

    WebDriverWait(page, 20).until(is_reset)


def test_two_runs_are_chosen_from_the_table(page: Chrome) -> None:
    rows = page.find_elements(By.CSS_SELECTOR, "#runs .dt-scroll-body tbody tr")
    rows[3].find_element(By.CSS_SELECTOR, "button[data-side=b]").click()
    assert page.find_element(By.ID, "run-b").get_attribute("value") == "3"
    assert len(page.find_elements(By.CSS_SELECTOR, "#pictures image")) == 6


def test_a_hostile_name_stays_a_name(chrome: Chrome, tmp_path: Path) -> None:
    for n in range(3):
        overrides = [f"pyramid={HOSTILE}{n}", f"{HOSTILE}={n}", f"image={HOSTILE}"]
        write_thumbnails(write_run(tmp_path / f"{n}-<b>", overrides, curve=True))
    write_run(tmp_path / "3-x", status="failed", reason=HOSTILE)
    open_page(chrome, tmp_path)
    for plot in ("quality-plot", "curves-plot"):
        chrome.execute_script(f"Plotly.Fx.hover('{plot}', [{{curveNumber: 0, pointNumber: 1}}])")
    for title in ("image", "pyramid"):
        filter_by(chrome, title, "x", 3)
    assert HOSTILE in column(chrome, "image")
    assert HOSTILE in chrome.find_element(By.ID, "quality-plot").get_attribute("textContent")
    assert chrome.execute_script("return window.hit ?? null") is None
    assert not chrome.find_elements(By.CSS_SELECTOR, "img[src=x], main b")
    assert_quiet(chrome)


@pytest.mark.parametrize("kind", ["failed", "one without a finite PSNR", "mixed"])
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
