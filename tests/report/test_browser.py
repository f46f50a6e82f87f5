"""A report in a real browser, which is what it is for; skipped where there is no Chromium."""

import json
import os
import shutil
import time
from contextlib import suppress

import pytest

from lefcache.report import report
from tests.report.conftest import HOSTILE, MARKUP

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
SECONDS = 20.0  # within which everything is drawn, on a machine that has other work

pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no Chromium here: apt-get install chromium chromium-driver",
    ),
    # Its driver may be taken down with a socket open, which is none of ours.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One Chromium for all tests here, that writes down what it asks the network for."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def wait(what, seconds=SECONDS):
    """The first value that is something; fails after a while."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)
    return found


def drawn(browser):
    """Whether every chart of the page is there."""
    return browser.execute_script(
        "const all = [...document.querySelectorAll('figure.chart')];"
        "return all.length > 0 && all.every((one) => one.dataset.drawn)"
    )


@pytest.fixture(scope="module")
def opened(browser, hostile, tmp_path_factory):
    """A page in the browser with all charts drawn, and what was logged until then."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    report(hostile, file)
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of the empty page before
    browser.get(file.as_uri())
    wait(lambda: drawn(browser))
    return {kind: browser.get_log(kind) for kind in ("browser", "performance")} | {"file": file}


def test_the_console_is_silent(opened):
    assert opened["browser"] == []


def test_nothing_is_asked_of_a_network(opened):
    asked = [json.loads(entry["message"])["message"] for entry in opened["performance"]]
    urls = {
        each["params"]["request"]["url"]
        for each in asked
        if each["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in urls if not url.startswith("data:")} == {opened["file"].as_uri()}


def test_every_chart_has_marks(opened, browser):
    counts = browser.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('figure.chart')].map((one) =>"
        " [one.id, one.querySelectorAll('svg .mark-symbol path, svg .mark-rect path').length]))"
    )
    assert (
        counts.keys()
        == json.loads(
            browser.execute_script("return document.getElementById('charts').textContent")
        ).keys()
    )
    assert counts["layers-hostile"] >= 12  # two models of four blocks, 0 to last
    assert counts["mistakes-hostile"] >= 9
    assert all(counts.values()), counts


def test_charts_are_as_wide_as_their_cards_and_no_text_is_cut(opened, browser):
    for id, inside, outside in browser.execute_script(
        "return [...document.querySelectorAll('figure.chart')].map((one) =>"
        " [one.id, one.querySelector('svg').getBoundingClientRect().width, one.clientWidth])"
    ):
        assert outside - 30 <= inside <= outside + 1, id
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def hover(browser, chart, mark):
    """The tooltip of the first such mark, as text."""
    from selenium.webdriver import ActionChains

    element = browser.find_element("css selector", f"#{chart} {mark}")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    time.sleep(0.1)
    ActionChains(browser).move_to_element(element).perform()
    tooltip = "#vg-tooltip-element.visible"
    [shown] = wait(lambda: browser.find_elements("css selector", tooltip))
    return shown


def test_hovering_shows_the_figures_with_n_and_interval(opened, browser):
    shown = hover(browser, "layers-hostile", ".layer_6_marks path").text
    assert "one:0" in shown or "other:0" in shown
    assert "95 % from" in shown
    assert "n (test)" in shown


def test_a_hostile_label_in_a_tooltip_is_text(opened, browser):
    from selenium.webdriver import ActionChains

    squares = browser.find_elements("css selector", "#mistakes-hostile .mark-rect.role-mark path")
    texts = []
    for square in squares:
        ActionChains(browser).move_to_element(square).perform()
        time.sleep(0.1)
        texts += [
            each.text for each in browser.find_elements("css selector", "#vg-tooltip-element")
        ]
    assert any(HOSTILE in text for text in texts)
    assert browser.find_elements("css selector", "#vg-tooltip-element script, img") == []


def test_nothing_hostile_has_run(opened, browser):
    from selenium.common.exceptions import NoAlertPresentException

    with suppress(NoAlertPresentException):
        text = browser.switch_to.alert.text
        pytest.fail(f"an alert: {text}")
    assert browser.execute_script("return document.scripts.length") == 3
    assert MARKUP in browser.find_element("css selector", "#mistakes").get_attribute("textContent")


def test_colours_follow_the_system_and_the_button(opened, browser):
    ground = "return getComputedStyle(document.body).backgroundColor"
    line = (
        "return getComputedStyle(document.querySelector('#layers-hostile .mark-line path')).stroke"
    )

    def seen(scheme):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        return browser.execute_script(ground), browser.execute_script(line)

    light, dark = seen("light"), seen("dark")
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert "var" not in dark[1]
    button = browser.find_element("id", "theme")
    browser.execute_script("arguments[0].click()", button)
    assert button.text.endswith("light")
    assert (browser.execute_script(ground), browser.execute_script(line)) == light
    for _ in range(2):
        browser.execute_script("arguments[0].click()", button)
    assert button.text.endswith("auto")


def test_it_can_be_used_with_the_keyboard(opened, browser):
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    summary = browser.find_element("css selector", "#panel-layers-hostile summary")
    browser.execute_script("arguments[0].focus()", summary)
    summary.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", summary)


@pytest.mark.parametrize("width", [390, 820])
def test_a_narrow_window_scrolls_one_way_only(opened, browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        time.sleep(0.3)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def crossed(corpora, layers):
    """The figures of a transfer, by target, and of the pairs of some layers."""
    targets = {}
    for target in corpora:
        rows = [
            {"source": source, "target": target, "feature": "long-winded:1", "regret": place / 50}
            for place, source in enumerate([target, *(set(corpora) - {target}), "last layer"])
        ]
        figures = {
            "model": "long-winded",
            "probe": "ridge",
            "best": "long-winded:0",
            "n_train": 90,
            "n_test": 60,
        }
        figures |= {"val_accuracy": 0.5, "test_accuracy": 0.5, "test_ci95": [0.4, 0.6]}
        targets[target] = figures | {"rows": rows[:-1], "baselines": rows[-1:]}
    pairs = [
        {
            "first": f"long-winded:{one}",
            "second": f"long-winded:{other}",
            "gain": (one - 3) * other / 900,
        }
        for one in range(layers)
        for other in range(one)
    ]
    sizes = {"n_train": 90, "n_val": 0, "n_test": 60}
    singles = [{"feature": f"long-winded:{layer}"} for layer in range(layers)]
    return targets, {"rows": pairs, "singles": singles} | sizes


def test_what_is_crossed_is_written_in_points_where_there_is_room(browser, stored, tmp_path):
    from lefcache.cache import open as open_cache

    cache = open_cache(tmp_path / "cache")
    targets, pairs = crossed(("hostile", HOSTILE), layers=9)
    features = [f"long-winded:{layer}" for layer in range(9)]
    stored(cache, "transfer", targets["hostile"], features=features, probe="ridge", sources=[])
    stored(cache, "pairs", pairs, features=features)
    report(cache, tmp_path / "crossed.html")
    browser.get_log("browser")
    browser.get((tmp_path / "crossed.html").as_uri())
    wait(lambda: drawn(browser))
    assert browser.get_log("browser") == []

    def numbers(chart):
        marks = browser.find_elements("css selector", f"#{chart} .mark-text.role-mark text")
        return [each.text for each in marks if each.get_attribute("opacity") != "0"]

    assert set(numbers("transfer-0")) == {"own", "+2.0", "+4.0"}
    assert "%" not in "".join(numbers("pairs-hostile"))
    assert len([told for told in numbers("pairs-hostile") if told]) > 30
    shown = hover(browser, "transfer-0", ".mark-rect.role-mark path:nth-child(2)").text
    assert "points lost\n+2.0" in shown.replace(" +", "\n+")
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.refresh()
        wait(lambda: drawn(browser))
        assert not any(numbers("pairs-hostile"))
        assert set(numbers("transfer-0")) == {"own", "+2.0", "+4.0"}
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_report_of_33_layers_and_4_corpora_is_small_and_quick(browser, tmp_path, large):
    written = report(large, tmp_path / "large.html")
    assert written.bytes < 6_000_000
    assert len([name for name in written.charts if name.startswith("layers-")]) == 4
    browser.get((tmp_path / "large.html").as_uri())
    wait(lambda: drawn(browser))
    times = browser.execute_script("return performance.getEntriesByType('navigation')[0].toJSON()")
    first = browser.execute_script(
        "return performance.getEntriesByName('first-chart')[0].startTime"
    )
    assert times["loadEventEnd"] < 2000 * slowness(), times
    assert first < 2000 * slowness()


def slowness():
    """How much longer all takes where other tests run beside."""
    return 4 if "PYTEST_XDIST_WORKER" in os.environ else 2
