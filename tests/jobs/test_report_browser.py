"""The report in a real browser: filters, keyboard, phone width, dark mode, no errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Tab, browser, find_browser
from hand_made_runs import PAGES, page, scan, write_run
from reported_runs import images_run

from pipelines.report.write import Limits, write_report

pytest.importorskip("websockets", reason="no websockets: the browser is driven through it")
BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: apt-get install chromium runs these tests"
)

ENTER, ESCAPE, RIGHT, TAB = ("Enter", 13, "\r"), ("Escape", 27), ("ArrowRight", 39), ("Tab", 9)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = images_run(tmp_path_factory.mktemp("browser"), 400, shards=2)
    return write_report(run, limits=Limits(samples=120)).path


@pytest.fixture(scope="module")
def window() -> Iterator[Tab]:
    assert BROWSER is not None
    with browser(BROWSER) as opened:
        yield opened


@pytest.fixture
def tab(window: Tab, report: Path) -> Tab:
    """The report, loaded anew."""
    window.size(1280, 900)
    window.prefer("light")
    window.open(report)
    return window


def visible(tab: Tab) -> int:
    return int(tab.js("document.querySelectorAll('.card:not([hidden])').length"))


def choose(tab: Tab, name: str, words: str) -> None:
    """Pick an option as a person does: the control fires `input`."""
    tab.js(
        f"""(() => {{
            const select = document.querySelector('select[name={name}]');
            const option = [...select.options].find(o => o.text === {words!r});
            select.value = option.value;
            select.dispatchEvent(new Event('input', {{bubbles: true}}));
        }})()"""
    )


def outcomes_shown(tab: Tab) -> set[str]:
    script = "[...document.querySelectorAll('.card:not([hidden]) .chips .chip:first-child')]"
    return {text.split()[-1] for text in tab.js(f"{script}.map(c => c.textContent.trim())")}


def test_it_opens_without_a_complaint_and_asks_for_nothing(tab: Tab, report: Path) -> None:
    assert tab.complaints() == []
    assert tab.requests() == [report.resolve().as_uri()]


def test_filters_narrow_the_gallery_and_say_so(tab: Tab) -> None:
    assert visible(tab) == 60
    choose(tab, "o", "review")
    few = visible(tab)
    assert 0 < few < 60
    assert outcomes_shown(tab) == {"review"}
    assert tab.js("document.getElementById('shown').textContent").startswith(f"{few} of 120")
    choose(tab, "r", "touches_border")
    assert visible(tab) == 1
    choose(tab, "c", "red star")
    assert visible(tab) == 0
    tab.js("document.querySelector('#filters button[type=reset]').click()")
    tab.js("new Promise(done => setTimeout(done, 50))")
    assert visible(tab) == 60
    tab.js("document.getElementById('more').click()")
    assert visible(tab) == 120
    assert tab.complaints() == []


def test_a_count_leads_to_its_samples(tab: Tab) -> None:
    tab.js("[...document.querySelectorAll('#outcomes a.show')].at(-1).click()")
    assert tab.js("document.querySelector('select[name=r]').selectedOptions[0].text") != "all"
    assert visible(tab) >= 1
    tab.js("document.querySelector('#failures details').open = true")
    tab.js("document.querySelector('#failures a.show').click()")
    assert outcomes_shown(tab) == {"failed"}


def test_a_card_opens_turns_and_closes_by_keyboard(tab: Tab) -> None:
    tab.js("document.querySelector('.card button.open').focus()")
    tab.key(*ENTER)
    assert tab.js("document.getElementById('viewer').open")
    first = tab.js("document.getElementById('viewer-place').textContent")
    assert first == "1 of 120"
    assert tab.js("document.getElementById('viewer').contains(document.activeElement)")
    assert tab.js("document.querySelector('#viewer-body details').open")
    tab.key(*RIGHT)
    assert tab.js("document.getElementById('viewer-place').textContent") == "2 of 120"
    tab.key(*ESCAPE)
    assert not tab.js("document.getElementById('viewer').open")
    assert tab.js("document.activeElement === document.querySelectorAll('.card button.open')[1]"), (
        "the focus is back on the card that was last looked at"
    )
    assert tab.complaints() == []


def test_the_keyboard_reaches_the_skip_link_then_the_sections(tab: Tab) -> None:
    tab.key(*TAB)
    assert tab.js("document.activeElement.textContent") == "Skip to the report"
    tab.key(*TAB)
    assert tab.js("document.activeElement.closest('nav') !== null")


def test_layers_can_be_hidden(tab: Tab) -> None:
    seen = "getComputedStyle(document.querySelector('.over .label:not(.candidate) rect')).display"
    assert tab.js(seen) != "none"
    tab.js("document.querySelector('input[name=boxes]').click()")
    assert tab.js(seen) == "none"
    assert tab.js("getComputedStyle(document.querySelector('.over .mask')).display") != "none"


def test_a_phone_scrolls_down_only(tab: Tab) -> None:
    tab.size(360, 740, phone=True)
    width = tab.js("document.scrollingElement.scrollWidth")
    assert width <= 360
    smallest = tab.js(
        "Math.min(...[...document.querySelectorAll('#filters select, #filters button, .open')]"
        ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height))"
    )
    assert smallest >= 24, "targets for fingers: WCAG 2.2, 2.5.8"


def test_dark_is_dark(tab: Tab) -> None:
    luminance = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    tab.prefer("light")
    assert min(tab.js(luminance)) > 200
    tab.prefer("dark")
    assert max(tab.js(luminance)) < 60


def test_hostile_names_stay_text(window: Tab, tmp_path: Path) -> None:
    payload = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    row = page(1, scan(tmp_path / "a.png", "x"), payload, 0.5)
    row |= {"uri": f"/scans/{payload}", "reasons": [payload], "text_source": payload}
    run = write_run(tmp_path / "run", "ocr_backfill", PAGES, [row])
    window.open(write_report(run).path)
    assert visible(window) == 1
    assert window.js("window.pwned === undefined")
    assert payload in window.js("document.querySelector('.card pre').textContent")
    assert window.complaints() == []
