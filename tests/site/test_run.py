"""Run, Edit and Reset in the reader's browser."""

import gzip
import json
from pathlib import Path

import claims
import pytest
from faults import watched

ROOT = Path(__file__).parents[2]
SLUG = "scale-by-sqrt-d"


def opened(page, address):
    page.goto(f"{address}questions/{SLUG}/")
    page.locator(".run-bar").first.wait_for()
    return page


@pytest.fixture(scope="module")
def shared(context, address):
    """One page for all tests that can share a Python, which takes seconds to start."""
    page = opened(context.new_page(), address)
    page.faults = watched(page, address)
    yield page
    page.close()


@pytest.fixture
def answer(shared):
    """The shared page, all listings as they were."""
    for button in shared.get_by_role("button", name="Reset").all():
        button.click()
    yield shared
    assert shared.faults == []


def listing(page, section):
    return page.locator(f"#listing-{section}")


def run(page, section, status="Done", timeout=60_000):
    listing(page, section).get_by_role("button", name="Run").click()
    listing(page, section).locator(".run-status", has_text=status).wait_for(timeout=timeout)
    return listing(page, section).locator(".run-output").text_content()


def edit(page, section, code):
    listing(page, section).get_by_role("button", name="Edit").click()
    listing(page, section).locator("textarea").fill(code)


def test_nothing_of_python_is_requested_before_the_first_run(page, address):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{address}questions/{SLUG}/", wait_until="networkidle")
    assert not [url for url in requests if "pyodide" in url or "programs" in url or "run/worker" in url]
    assert "9 MB" in page.locator(".run-status").first.inner_text()


def test_run_costs_a_page_little_before_it_is_pressed(site):
    script = (site / "assets/run/run.js").read_bytes()
    styles = (site / "assets/site.css").read_bytes().partition(b"/* Listings that run in the page. */")[2]
    assert 0 < len(gzip.compress(script)) + len(gzip.compress(styles)) < 5000


def test_listing_prints_what_the_page_shows_and_runs_what_stands_above(answer):
    recorded = listing(answer, "normal_pairs").locator("xpath=following-sibling::*[1]").locator("code").text_content()
    assert run(answer, "normal_pairs").rstrip() == recorded.rstrip()
    # The reader's own version of a listing above is used by those below.
    source = listing(answer, "scores").locator("code").text_content()
    edit(answer, "scores", source.replace("** power", "** 1"))
    assert run(answer, "normal_pairs").rstrip() != recorded.rstrip()
    listing(answer, "scores").get_by_role("button", name="Reset").click()
    assert run(answer, "normal_pairs").rstrip() == recorded.rstrip()


def test_endless_loop_is_stopped_by_the_reader_and_by_the_limit_and_a_failed_download_is_reported(answer):
    edit(answer, "softmax", "while True: pass")
    listing(answer, "softmax").get_by_role("button", name="Run").click()
    listing(answer, "softmax").locator(".run-status", has_text="Running").wait_for(timeout=60_000)
    listing(answer, "softmax").get_by_role("button", name="Stop").click()
    listing(answer, "softmax").locator(".run-status", has_text="Stopped").wait_for()
    # The next run starts Python again.
    answer.route("**/pyodide.asm.wasm", lambda route: route.fulfill(status=404, body=""))
    assert "the server answered 404" in run(answer, "softmax", status="Error")
    answer.unroute("**/pyodide.asm.wasm")
    answer.evaluate("document.documentElement.dataset.runLimit = 2")
    assert "Stopped after 2 s." in run(answer, "softmax", status="Stopped")
    answer.evaluate("delete document.documentElement.dataset.runLimit")
    listing(answer, "softmax").locator("textarea").fill("print('alive')")
    assert run(answer, "softmax") == "alive\n"
    answer.faults[:] = [fault for fault in answer.faults if "404" not in fault]  # the download that we spoiled


def test_endless_output_is_cut_and_an_exception_shows_the_readers_line(answer):
    edit(answer, "softmax", "for i in range(10**5): print(i)\nraise ValueError('mine')")
    output = run(answer, "softmax", status="Error")
    assert len(output) < 25_000
    assert "the rest of the output is cut" in output
    assert 'File "listing.py", line 2' in output
    assert "ValueError: mine" in output
    assert "pyodide" not in output


def test_keyboard_alone(answer):
    listing(answer, "softmax").get_by_role("button", name="Edit").focus()
    answer.keyboard.press("Enter")
    assert answer.evaluate("document.activeElement.tagName") == "TEXTAREA"
    answer.keyboard.press("Control+A")
    answer.keyboard.type("print(6 * 7)")
    answer.keyboard.press("Control+Enter")
    listing(answer, "softmax").locator(".run-status", has_text="Done").wait_for(timeout=60_000)
    assert listing(answer, "softmax").locator(".run-output").text_content() == "42\n"
    answer.keyboard.press("Tab")
    assert answer.evaluate("document.activeElement.tagName") == "BUTTON"


def test_run_survives_instant_navigation(answer, address):
    answer.evaluate("window.same = true")
    answer.locator(".md-footer__link--next").click()
    answer.wait_for_url(lambda url: SLUG not in url)
    answer.go_back()
    answer.wait_for_url(lambda url: SLUG in url)
    answer.wait_for_timeout(1000)  # the address changes before the page does
    assert answer.evaluate("window.same")
    assert "0.576117" in run(answer, "softmax")


def test_page_without_javascript_shows_code_and_output(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}questions/{SLUG}/")
    assert page.locator(".run-bar").count() == 0
    assert "def softmax" in listing(page, "softmax").text_content()
    assert "0.576117" in page.locator(".output").nth(1).text_content()
    assert page.locator("math").count() > 10
    context.close()


def test_every_answer_has_two_runnable_listings(site):
    for page in claims.questions(ROOT).values():
        program = json.loads((site / f"assets/programs/{page.stem}.json").read_text(encoding="utf-8"))
        html = (site / f"questions/{page.stem}/index.html").read_text(encoding="utf-8")
        shown = [cell for cell in program if cell["section"] and f'id="listing-{cell["section"]}"' in html]
        assert len(shown) >= 2, page.stem
