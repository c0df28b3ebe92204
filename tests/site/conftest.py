"""The built site, a local server for it, and a browser to look at it with."""

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.site.inspect_site import Home

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build/html"
sys.path.append(str(ROOT / "book/_ext"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``page`` once for each page of the site."""
    if "page" in metafunc.fixturenames:
        pages = sorted(
            str(path.relative_to(SITE)) for path in SITE.rglob("*/*.html")
        )
        metafunc.parametrize("page", [*pages, "search.html"])


@pytest.fixture(scope="session")
def site() -> Path:
    if not (SITE / "index.html").exists():
        pytest.fail(
            "There is no site to test at _build/html: run `make book` first."
        )
    return SITE


@pytest.fixture(scope="session")
def on_disk(site: Path) -> Home:
    """The site as a folder on a reader's disk."""
    return Home(site, site.as_uri() + "/")


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[Home]:
    """The site on a local server, in a folder of it as on GitHub Pages."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(site.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Home(site, f"http://127.0.0.1:{server.server_port}/{site.name}/")
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium: Debian's where it is, else Playwright's own."""
    with sync_playwright() as playwright:
        debian = shutil.which("chromium")
        if (
            not debian
            and not Path(playwright.chromium.executable_path).exists()
        ):
            message = (
                "No browser to look at the site with. Install Debian's "
                "package `chromium`, or run `.venv/bin/playwright install "
                "--with-deps chromium`."
            )
            pytest.fail(message) if os.environ.get(
                "CI"
            ) == "true" else pytest.skip(message)
        # no other machine
        args = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium's sandbox refuses to run as root
            args.append("--no-sandbox")
        browser = playwright.chromium.launch(executable_path=debian, args=args)
        # a busy machine is slow, and not wrong
        expect.set_options(timeout=30_000)
        yield browser
        browser.close()
