"""The built site in headless Chromium, served from a sub-path, with every other host out of reach."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faults import watched
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
ADDRESS = "http://site.localhost/repo/"  # below a sub-path, as on GitHub Pages; the Makefile builds for it
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site. `make test` builds it once and names its folder; without that it is built here."""
    if folder := os.environ.get("BUILT_SITE"):
        return ROOT / folder
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environment = {**os.environ, "SITE_URL": ADDRESS}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="session")
def address():
    return ADDRESS


@pytest.fixture(scope="session")
def port(site, tmp_path_factory):
    """Where the site is served on this machine, below the sub-path of its address."""
    root = tmp_path_factory.mktemp("served")
    (root / "repo").symlink_to(site)
    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="session")
def browser(port):
    if not CHROMIUM:
        reason = "no Chromium found; install the package `chromium` to run the browser tests"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        here = f"--host-resolver-rules=MAP {urlsplit(ADDRESS).hostname} 127.0.0.1:{port}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, here])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser):
    """One reader: what was downloaded once comes from the browser's cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context, address):
    """A page that fails the test on a console error or on a request to another origin."""
    page = context.new_page()
    page.faults = watched(page, address)
    yield page
    page.close()
    assert page.faults == []
