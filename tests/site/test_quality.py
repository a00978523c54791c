"""Accessibility, validity, weight and links of the built pages."""

import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from playwright.sync_api import TimeoutError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FITS = "width => document.documentElement.scrollWidth <= width"
COLOURS = ["color-contrast", "link-in-text-block"]  # all that the scheme can change
LIMIT = 160_000  # bytes of a first visit, compressed, formulas and fonts included, figures apart
NODE = Path(sys.executable).with_name("node")


def pages_of(site: Path) -> list[str]:
    """Address of every page below the site's root."""
    return sorted(path.relative_to(site).as_posix().removesuffix("index.html") for path in site.rglob("*.html"))


def file_of(site: Path, path: str) -> Path:
    return site / path / "index.html" if path.endswith("/") or not path else site / path


@pytest.mark.timeout(600)  # a quarter of the pages, and a slow machine
@pytest.mark.parametrize("part", range(4))
def test_every_page_is_accessible_and_never_scrolls_sideways(browser, address, site, part):
    context = browser.new_context(color_scheme="light", bypass_csp=True)  # axe is put into the page
    page = context.new_page()
    found = []
    for path in pages_of(site)[part::4]:
        page.goto(address + path)
        page.wait_for_timeout(250)  # the page script names the toolbars
        for width in (320, 390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            try:  # the theme takes a moment to rearrange
                page.wait_for_function(FITS, arg=width, timeout=3000)
            except TimeoutError:
                found.append(f"{path}: wider than {width} px")
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        page.evaluate(AXE)
        for scheme, rules in (("light", RULES), ("dark", COLOURS)):
            page.emulate_media(color_scheme=scheme)
            violations = page.evaluate("rules => axe.run({runOnly: rules}).then(result => result.violations)", rules)
            found += [f"{path}, {scheme}: {rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in violations]
        page.emulate_media(color_scheme="light")
    context.close()
    assert found == []


def test_html_is_valid(site, tmp_path):
    tool, config = ROOT / "node_modules/html-validate/bin/html-validate.mjs", HERE / "html-validate.json"
    files = [str(file_of(site, path)) for path in pages_of(site)]
    report = tmp_path / "report.json"
    command = [str(NODE), str(tool), "--config", str(config), "--formatter", f"json={report}", *files]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert report.exists(), result.stderr
    found = [
        f"{Path(page['filePath']).relative_to(site)}:{message['line']}: {message['ruleId']}: {message['message']}"
        for page in json.loads(report.read_text(encoding="utf-8"))
        for message in page["messages"]
        # The theme writes autocomplete="off" on its drawer's checkbox, so that Firefox forgets its state.
        if message["ruleId"] != "valid-autocomplete"
    ]
    assert found == []


class Anchors(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def test_every_internal_link_and_anchor_exists(site, address):
    parsed = {path: Anchors(file_of(site, path).read_text(encoding="utf-8")) for path in pages_of(site)}
    broken = []
    for path, page in parsed.items():
        for link in page.links:
            parts = urlsplit(urljoin(address + path, link))
            if not parts.geturl().startswith(address):
                continue
            target = unquote(parts.path.removeprefix(urlsplit(address).path))
            anchor = unquote(parts.fragment)
            if target in parsed:
                if anchor and not anchor.startswith("__") and anchor not in parsed[target].ids:
                    broken.append(f"{path}: {link}")
            elif not (site / target).is_file():
                broken.append(f"{path}: {link}")
    assert broken == []


def test_first_visit_is_light(browser, address, site):
    """Bytes of all that the browser asks for, as a compressing server sends them."""
    heavy = {}
    for path in [path for path in pages_of(site) if path == "" or path.startswith(("questions/", "notebooks/"))]:
        page = browser.new_page()
        urls = set()
        page.on("request", lambda request, urls=urls: urls.add(request.url))
        page.goto(address + path, wait_until="networkidle")
        page.close()
        files = {urlsplit(url).path.removeprefix("/repo/") for url in urls if url.startswith(address)}
        total = 0
        for name in files:
            file = site / unquote(name)
            file = file / "index.html" if file.is_dir() else file
            if file.is_file() and "figures/" not in name:
                data = re.sub(rb"<svg.*?</svg>|data:image/svg[^\"]*", b"", file.read_bytes(), flags=re.DOTALL)
                total += len(data) if file.suffix in (".png", ".woff2", ".wasm") else len(gzip.compress(data, 6))
        heavy[path] = total
    print(json.dumps(heavy, indent=1))
    assert {path: size for path, size in heavy.items() if size > LIMIT} == {}


def test_policy_forbids_what_is_not_the_sites_own(browser, address):
    page = browser.new_page()
    blocked = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(address)
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.head.append(script);
          const picture = document.createElement("img");
          picture.src = "https://example.com/pixel.png";
          document.body.append(picture);
        }"""
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.injected") is None
    assert len([text for text in blocked if "Content Security Policy" in text]) == 2
    page.close()


def test_companions_are_there(site, address):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((.*?)\)", text):
        answer = (site / link.removeprefix(address)).read_text(encoding="utf-8")
        assert "## In the interview" in answer
        assert "--8<--" not in answer
    for name in ("sitemap.xml", "feed_rss_created.xml", "404.html", "assets/cards/site.png"):
        assert (site / name).exists(), name
