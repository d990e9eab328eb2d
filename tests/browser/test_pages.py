"""The pages that a sweep of two models writes, in a real Chromium: light, dark, no word broken."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from commands import run_command

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SWEEP = (
    "-m model=ease,item_knn data=synthetic data.n_users=300 data.n_items=80 k=[5,10] study=null "
    "sweep.n_trials=3 sweep.final_seeds=1 hydra/launcher=basic tracking=off"
)
SIZE = {"width": 1300, "height": 900}
PHONE = {"width": 420, "height": 900}
BROKEN_WORDS = """
() => [...document.querySelectorAll("th, td, h1, h2, li, p")].flatMap(element => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const broken = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    for (const word of node.data.matchAll(/[\\p{L}\\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const tops = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (tops.size > 1) broken.push(word[0]);
    }
  }
  return broken;
})
"""
LIGHTNESS = """
element => {
  const parts = getComputedStyle(element).COLOUR.match(/\\d+/g).map(Number);
  return (parts[0] + parts[1] + parts[2]) / 765;
}
"""


class Pages(NamedTuple):
    """What a sweep wrote.

    Args:
        sweep: The page of one of its studies.
        comparison: The page of the comparison.
    """

    sweep: Path
    comparison: Path


@pytest.fixture(scope="module")
def pages(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Pages:  # noqa: ARG001
    """The pages of a real sweep of two models."""
    folder = tmp_path_factory.mktemp("compared")
    ended = run_command(folder, SWEEP)
    assert ended.code == 0, ended.err
    (sweep,) = folder.glob("sweeps/ease-*/results/plots/sweep.html")
    (comparison,) = folder.glob("sweeps/comparison-*/comparison.html")
    return Pages(sweep, comparison)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", Pages._fields)
def test_a_page_is_legible_in_light_and_dark(
    browser: "Browser", pages: Pages, which: str, scheme: Any, pictures: Path
) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.goto(getattr(pages, which).as_uri())
    page.wait_for_selector("svg.main-svg")
    page.screenshot(path=pictures / f"{which}-{scheme}.png", full_page=True)
    assert page.evaluate(BROKEN_WORDS) == []
    back = page.locator("body").evaluate(LIGHTNESS.replace("COLOUR", "backgroundColor"))
    for text in ("h1", "p", "svg.main-svg .xtick text"):
        colour = "fill" if "svg" in text else "color"
        shade = page.locator(text).first.evaluate(LIGHTNESS.replace("COLOUR", colour))
        assert abs(shade - back) > 0.4, text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    hidden = "tables => tables.filter(each => each.scrollWidth > each.clientWidth).length"
    assert page.eval_on_selector_all(".wide", hidden) == 0, "no table has to be scrolled"
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", Pages._fields)
def test_on_a_phone_what_is_wide_scrolls_in_its_own_box(
    browser: "Browser", pages: Pages, which: str, scheme: Any, pictures: Path
) -> None:
    context = browser.new_context(viewport=PHONE, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.goto(getattr(pages, which).as_uri())
    page.wait_for_selector("svg.main-svg")
    page.screenshot(path=pictures / f"{which}-{scheme}-phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.eval_on_selector_all(
        ".wide, pre",
        """found => found.map(each => {
          each.scrollLeft = 1e6;
          const { left, right } = each.getBoundingClientRect();
          return [left >= 0 && right <= innerWidth, each.scrollWidth - each.clientWidth
                  - each.scrollLeft, each.scrollLeft > 0];
        })""",
    )
    assert all(is_inside and hidden < 1 for is_inside, hidden, _ in boxes), "its end is reached"
    assert any(scrolls for *_, scrolls in boxes)
    panels = "found => found.map(each => each.getBoundingClientRect().width)"
    assert min(page.eval_on_selector_all(".nsewdrag", panels)) > 80
    context.close()


def test_a_finger_on_a_figure_scrolls_the_page(browser: "Browser", pages: Pages) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True, offline=True)
    page = context.new_page()
    page.goto(pages.comparison.as_uri())
    page.locator("#figure-1 .nsewdrag").first.scroll_into_view_if_needed()
    box = page.locator("#figure-1 .nsewdrag").first.bounding_box()
    assert box is not None
    x, y, before = box["x"] + 40, box["y"] + 40, page.evaluate("scrollY")
    finger = context.new_cdp_session(page)
    for kind, moved in (("Start", 0), *(("Move", -20 * step) for step in range(1, 11))):
        point = {"x": x, "y": y + moved}
        finger.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [point]})
        page.wait_for_timeout(20)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"scrollY > {before} + 100")
    context.close()


@pytest.mark.parametrize("which", Pages._fields)
def test_a_page_says_what_it_is_about(browser: "Browser", pages: Pages, which: str) -> None:
    page = browser.new_page()
    page.goto(getattr(pages, which).as_uri())
    about = page.locator("h1 + p, h1 + div p").first.inner_text()
    assert about.startswith("data set synthetic · split ")
    page.close()
