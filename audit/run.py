"""Press Run: seconds from the first click to the output, and of a second run. Too slow is a failure, but not in CI."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from server import serving

ROOT = Path(__file__).parents[1]
FIRST, WARM = 10, 0.5  # seconds
PAGE = "questions/scale-by-sqrt-d/"


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as port,
        sync_playwright() as playwright,
    ):
        address = f"http://127.0.0.1:{port}/repo/"
        build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", f"{folder}/repo"]
        subprocess.run(build, cwd=ROOT, env={**os.environ, "SITE_URL": address}, check=True, capture_output=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address + PAGE)
        bar = page.locator(".run-bar").first
        taken = []
        for _ in range(6):
            start = time.perf_counter()
            bar.get_by_role("button", name="Run").click()
            bar.get_by_text("Done").wait_for(timeout=60_000)
            taken.append(time.perf_counter() - start)
            page.evaluate("document.querySelector('.run-status').textContent = ''")
        browser.close()
    first, warm = taken[0], sorted(taken[1:])[2]
    print(f"Run: first {first:.1f} s, then {warm:.2f} s (median of five)")
    return (first > FIRST or warm > WARM) and not os.environ.get("CI")


if __name__ == "__main__":
    sys.exit(main())
