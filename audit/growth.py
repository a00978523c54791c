"""How the site grows: builds it with 100 and 1,000 more questions, prints a table. `python audit/growth.py [NUMBER …]`

Per size: seconds of the build, of MkDocs without our hook, their ratio; peak memory; the index; in a real browser the
seconds from focus to the first results and the 95th percentile of a key to its results. Exits with 1 where search
is too slow (in CI, on a machine shared with others, that is only said), or where a page costs our hook more than twice
what it costs at the smallest size.
"""

import gzip
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright
from server import serving

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns("site", ".git", ".venv", ".cache", "node_modules", "__pycache__", "mutants", "run-*")
BOX = ".md-search__input"
FIRST_RESULTS, KEY = 1.5, 100  # seconds, milliseconds
CLOCK = """() => {
  window.times = [];
  let key;
  document.querySelector(".md-search__input").addEventListener("keyup", () => { key = performance.now(); }, true);
  new MutationObserver(() => { if (key) times.push(performance.now() - key); key = undefined; })
    .observe(document.querySelector(".md-search-result__list"), { childList: true });
}"""
# Synthetic questions have no code: what belongs to a question's code sees the real ones only.
BUILD = """
import resource, sys
sys.path.insert(0, "site_tools")
import claims, notebooks
real = claims.questions
claims.questions = lambda root: {name: page for name, page in real(root).items() if "synthetic" not in name}
notebooks.DOWNLOADS = ""
from mkdocs.__main__ import cli
try:
    cli()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def synthetic(number: int, rng: random.Random, words: list[str], signs: list[str]) -> str:
    """A page like the real ones, with a real claim behind its ticks so that the gate has its usual work.

    Like theirs are the shape, the number of wordings (31 English, 20 Chinese, which share their words) and of different
    words (about 1,000).
    """

    def some(count: int, of: list[str] = words) -> str:
        return " ".join(rng.choices(of, k=count))

    own, own_signs = rng.choices(words, k=130), ["".join(rng.choices(signs, k=2)) for _ in range(30)]
    asked = [some(8, own) for _ in range(31)] + [some(4, own_signs).replace(" ", "") for _ in range(20)]
    listed = "\n".join(f"  - {wording}" for wording in asked)
    paragraphs = [f"{some(35)} $\\sqrt{{d_k}}$ {some(35)}.[^variance_of_dot_product_is_d_k]\n\n" for _ in range(16)]
    depth = "".join(f"### {some(4)}\n\n{''.join(paragraphs[at : at + 4])}" for at in range(0, 16, 4))
    follow_ups = "".join(f'??? question "{some(8)}?"\n    {some(25)}.\n\n' for _ in range(6))
    front = (
        f"title: Synthetic {number} {some(5)}?\ndescription: {some(9)}\ndate: 2026-11-21\ntags: [core, t{number % 12}]"
    )
    source = "[Vaswani et al. 2017](../bibliography.md#vaswani-2017)"
    return (
        f"---\n{front}\nasked_as:\n{listed}\nsources: [vaswani-2017]\n---\n\n"
        f"## In the interview\n\n{some(70)}.\n\n## In depth\n\n{depth}"
        f"## Folklore, corrected\n\n| Often said | What holds |\n| --- | --- |\n| {some(9)} | {some(9)} |\n\n"
        f"## Follow-ups\n\n{follow_ups}## Sources\n\n- {source}\n"
    )


def project_of(size: int, folder: Path) -> Path:
    """A copy of the project with `size` more questions, in navigation sections of 25."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=LEFT_OUT)
    (project / "node_modules").symlink_to(ROOT / "node_modules")
    text = " ".join(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/questions/*.md")))
    made_up = [
        a + b for a in "bra cle dro fin gor hul jat kep lim mor".split() for b in "ban cent dex fier gram".split()
    ]
    words = sorted({word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)} - {"true", "false", "null"}) + made_up
    signs = sorted(set(re.findall(r"[\u4e00-\u9fff]", text)))
    rng = random.Random(size)
    entries = ""
    for number in range(size):
        page = f"questions/synthetic-{number}.md"
        (project / "docs" / page).write_text(synthetic(number, rng, words, signs), encoding="utf-8")
        entries += (f"  - Topic {number // 25}:\n" if number % 25 == 0 else "") + f"      - {page}\n"
    settings = (project / "mkdocs.yml").read_text(encoding="utf-8").replace("  - About:\n", entries + "  - About:\n")
    (project / "mkdocs.yml").write_text(settings, encoding="utf-8")
    plain = settings.replace("hooks: [site_tools/hooks.py]", "").replace("strict: true", "strict: false")
    plain = plain.replace("base_path: [includes]", "base_path: [includes, snippets]")
    (project / "plain.yml").write_text(plain, encoding="utf-8")
    return project


def build(project: Path, settings: str, address: str, site: Path) -> tuple[float, int]:
    """Seconds and peak memory (MiB) of a build."""
    command = [sys.executable, "-c", BUILD, "build", "--config-file", settings, "--site-dir", str(site)]
    start = time.perf_counter()
    result = subprocess.run(
        command, cwd=project, env={**os.environ, "SITE_URL": address}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    return time.perf_counter() - start, int(re.search(r"peak (\d+)", result.stdout)[1])


def search_times(address: str) -> tuple[float, float]:
    """Seconds from focus to the first results; milliseconds from a key to its results, 95th percentile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for name in ("first", "whole", "pages"):
            urllib.request.urlopen(f"{address}assets/search/{name}.json").read()  # so that the server has compressed it
        page.goto(address)
        page.wait_for_timeout(1000)
        start = time.perf_counter()
        page.locator(BOX).click()
        page.keyboard.type("softmax")
        page.locator(".md-search-result__item").first.wait_for()
        first = time.perf_counter() - start
        page.evaluate(CLOCK)
        for query in ("variance of scores", "multi head attention", "positions beyond the table", "masked tokens"):
            page.locator(BOX).fill("")
            page.keyboard.type(query, delay=120)
        page.wait_for_timeout(300)
        times = sorted(page.evaluate("times"))
        browser.close()
    return first, times[int(0.95 * len(times))]


def main(numbers: list[int]) -> int:
    print("| more questions | build | MkDocs alone | ratio | memory | index | compressed | first results | a key |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    failed, costs = False, []
    for size in numbers:
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder, "served")) as port:
            project, site = project_of(size, Path(folder)), Path(folder, "served/repo")
            address = f"http://127.0.0.1:{port}/repo/"
            alone, _ = build(project, "plain.yml", address, site)
            ours, memory = build(project, "mkdocs.yml", address, site)
            index = b"".join((site / f"assets/search/{name}.json").read_bytes() for name in ("first", "whole", "pages"))
            first, key = search_times(address)
        costs.append((ours - alone) / (size + 16))
        failed |= costs[-1] > 2 * costs[0]
        failed |= (first > FIRST_RESULTS or key > KEY) and not os.environ.get("CI")
        built = f"{ours:.1f} s | {alone:.1f} s | {ours / alone:.2f} | {memory} MiB"
        sizes = f"{len(index) / 1e3:,.0f} kB | {len(gzip.compress(index, 6)) / 1e3:,.0f} kB"
        print(f"| {size:,} | {built} | {sizes} | {first:.2f} s | {key:.0f} ms |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main([int(number) for number in sys.argv[1:]] or [100, 1000]))
