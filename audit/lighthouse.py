"""Lighthouse, mobile profile, median of five: home, an answer page, a notebook page. Exits with 1 below the targets.

In CI, on a machine shared with others, too little speed is said but is no failure.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from server import serving

ROOT = Path(__file__).parents[1]
PAGES = ("", "questions/scale-by-sqrt-d/", "notebooks/scale-by-sqrt-d/")
TARGETS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
RUNS = 5
TRIES = 3  # a browser that does not start in time is no result
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking"


def scores(url: str, report: Path) -> tuple[dict[str, float], list[str]]:
    """Scores from 0 to 100, and the audits of the categories with a target of 100 that lost points."""
    command = [str(ROOT / ".venv/bin/node"), str(ROOT / "audit/node_modules/lighthouse/cli/index.js"), url, "--quiet"]
    command += ["--output=json", f"--output-path={report}", f"--chrome-flags={FLAGS}"]
    environment = {**os.environ, "CHROME_PATH": shutil.which("chromium") or "chromium"}
    for _ in range(TRIES):
        report.unlink(missing_ok=True)
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        result = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        if run.returncode == 0 and "runtimeError" not in result:
            break
    else:
        sys.exit(f"Lighthouse failed {TRIES} times: {result.get('runtimeError', run.stderr[-2000:])}")
    lost = [
        reference["id"]
        for name, category in result["categories"].items()
        for reference in category["auditRefs"]
        if name != "performance"
        and reference["weight"] > 0
        and (result["audits"][reference["id"]]["score"] or 0) < 1
        and result["audits"][reference["id"]]["score"] is not None
    ]
    return {name: 100 * category["score"] for name, category in result["categories"].items()}, lost


def main() -> int:
    failed = False
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as port:
        address = f"http://127.0.0.1:{port}/repo/"
        build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", f"{folder}/repo"]
        subprocess.run(build, cwd=ROOT, env={**os.environ, "SITE_URL": address}, check=True, capture_output=True)
        for page in PAGES:
            runs = [scores(address + page, Path(folder, "report.json")) for _ in range(RUNS)]
            medians = {name: statistics.median(run[name] for run, _ in runs) for name in TARGETS}
            lost = sorted({audit for _, audits in runs for audit in audits})
            print(f"/{page}: " + ", ".join(f"{name} {score:.0f}" for name, score in medians.items()), *lost, flush=True)
            counts = [name for name in TARGETS if name != "performance" or not os.environ.get("CI")]
            failed |= any(round(medians[name]) < TARGETS[name] for name in counts)
    return failed


if __name__ == "__main__":
    sys.exit(main())
