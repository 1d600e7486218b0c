"""The FiftyOne app in a real browser: what a reviewer sees, clicks and gets back."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from chromium import Tab, browser, find_browser
from hand_made_runs import IMAGES, label, picture, stored, write_run
from own_fiftyone import app_process
from PIL import Image

from pipelines.curation.curate import curate
from pipelines.curation.dataset import WORST_FIRST
from pipelines.curation.pull import pull
from pipelines.review import reviewed_rows
from pipelines.runs.directory import RunDir

pytest_plugins = ["own_fiftyone"]
pytest.importorskip("websockets", reason="no websockets: the browser is driven through it")
BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: apt-get install chromium runs these tests"
)

NAME = "seen in a browser"
SURE, WORST, DOUBTED = 1, 2, 3
#: Of the label on the worst image, 160 x 120 pixels.
BOX = (40, 30, 120, 90)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Grey pictures, so that all colour is a label's; the one with two doubts is the worst."""
    folder = tmp_path_factory.mktemp("browser")
    band, low = "score_in_review_band", "low_mask_iou"
    small = label("blue star", (2, 2, 12, 12), score=0.51, reasons=[band])
    big = label("red star", BOX, mask_iou=0.4, reasons=[low])
    found = {
        SURE: ("accepted", [label("red star", BOX)], []),
        WORST: ("review", [big, small], [low, band]),
        DOUBTED: ("review", [small], [band]),
    }
    rows = [
        stored(number, picture(folder / f"{number}.jpg"), outcome=outcome, reasons=reasons)
        | {"instances": labels}
        for number, (outcome, labels, reasons) in found.items()
    ]
    return write_run(folder / "run", "autolabel", IMAGES, rows)


@pytest.fixture(scope="module")
def address(fo: Any, run: RunDir) -> Iterator[str]:
    """Of the app, served by the command."""
    curate(run, NAME)
    with app_process(NAME, run.path) as served:
        yield served.address
        served.stopped()
    fo.delete_dataset(NAME)


@pytest.fixture
def tab(address: str) -> Iterator[Tab]:
    """The grid of all samples, without the advertisement that lies over it the first time."""
    assert BROWSER is not None
    with browser(BROWSER) as opened:
        opened.size(1400, 900)
        seen = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"
        opened.call("Page.addScriptToEvaluateOnNewDocument", source=seen)
        opened.open(address)
        until_said(opened, "entry-counts", "3 samples")
        # A view that is chosen while the page still asks for things ends in "SavedView is not JSON
        # serializable" (1.22: three times of three; after a rest not once).
        opened.settle(4)
        yield opened


def the(name: str) -> str:
    """The last element that FiftyOne has named so for its own tests: that of a sample, if open."""
    return f"[...document.querySelectorAll('[data-cy=\"{name}\"]')].at(-1)"


def words(text: str) -> str:
    """The element that says nothing but this."""
    every = "[...document.querySelectorAll('body *')]"
    return f"{every}.find(e => !e.children.length && e.innerText === '{text}')"


def said(name: str) -> str:
    """What an element says, without spaces; "" where it is not there yet."""
    return f"({the(name)}?.textContent ?? '').replace(/\\s/g, '')"


def until_said(tab: Tab, name: str, text: str) -> None:
    """Wait until an element says something."""
    tab.until(f"{said(name)}.includes('{text.replace(' ', '')}')")


def window_of(tab: Tab, element: str) -> npt.NDArray[np.int16]:
    """(height, width, 3): an element as the window shows it."""
    place = f"{element}.getBoundingClientRect()"
    box = {side: tab.js(f"{place}.{side}") for side in ("x", "y", "width", "height")}
    answer = tab.call("Page.captureScreenshot", format="png", clip=box | {"scale": 1})
    image = Image.open(io.BytesIO(base64.b64decode(answer["data"])))
    return np.asarray(image.convert("RGB"), np.int16)


def picture_in(pixels: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The part that shows a grey picture: all around it is darker."""
    grey = (np.ptp(pixels, axis=2) < 10) & (abs(pixels.mean(axis=2) - 128) < 12)
    ys, xs = np.nonzero(grey)
    return pixels[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def coloured(shown: npt.NDArray[np.int16], box: tuple[int, int, int, int]) -> float:
    """The share of colour in a box of the picture, 160 x 120 pixels, as it is shown."""
    scale = shown.shape[1] / 160
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    return float((np.ptp(shown[y0:y1, x0:x1], axis=2) > 40).mean())


def test_a_reviewer_finds_the_worst_image_sees_its_labels_and_accepts_it(
    fo: Any, run: RunDir, tab: Tab
) -> None:
    tab.click(the("saved-views-selection"))
    tab.click(the("saved-views-review-worst-first-selection-option"))
    until_said(tab, "entry-counts", "2 samples")
    assert WORST_FIRST.replace(" ", "") in tab.js(said("saved-views-selection"))

    tab.click(the("sidebar-field-arrow-enabled-tags"))
    for tag, count in (("review", 2), ("score_in_review_band", 2), ("low_mask_iou", 1)):
        until_said(tab, "tags-field", f"{tag}{count}")

    tab.click("document.querySelector('[data-cy=looker]')")
    until_said(tab, "row_id-field", str(WORST))
    until_said(tab, "instances-field", "2")
    tab.until(f"!!{the('modal-looker-container')}?.querySelector('canvas')")
    shown = drawn(tab)
    assert shown.shape[1] / shown.shape[0] == pytest.approx(160 / 120, rel=0.03)
    x0, y0, x1, y1 = BOX
    assert coloured(shown, BOX) > 0.9, "its mask fills it"
    assert coloured(shown, (x0, y1 + 3, x1, 118)) == 0, "below it nothing is labelled"
    assert coloured(shown, (2, y0, x0 - 3, y1)) == 0, "nor to its left"

    tab.click(the("action-tag-sample-labels"))
    tab.click(the("tagger-switch-sample"))
    tab.click(the("sample-tag-input"))
    tab.type("accept")
    tab.until(f"{the('sample-tag-input')}.value === 'accept'")
    tab.key("Enter", 13, "\r")
    tab.click(words("Apply"))
    until_tagged(fo, "accept")
    (pulled,) = pull(NAME, reviewer="Ada")
    assert (dict(pulled.counts.verdicts), pulled.counts.waiting) == ({"accept": 1}, 2)
    answers = [(row["row_id"], row["verdict"]) for row in reviewed_rows(run).to_pylist()]
    assert answers == [(WORST, "accept")]


def drawn(tab: Tab) -> npt.NDArray[np.int16]:
    """The picture of the open sample, once its labels are on it."""
    deadline = time.monotonic() + 60
    while True:
        pixels = window_of(tab, the("modal-looker-container"))
        if (np.ptp(pixels, axis=2) > 40).mean() > 0.05:
            return picture_in(pixels)
        assert time.monotonic() < deadline, "no label was drawn"
        time.sleep(0.2)


def until_tagged(fo: Any, tag: str) -> None:
    """Wait until the app has written a tag into the database."""
    dataset, deadline = fo.load_dataset(NAME), time.monotonic() + 60
    while tag not in dataset.distinct("tags"):
        assert time.monotonic() < deadline, f"no sample has the tag {tag}"
        time.sleep(0.2)
