"""The pages for people, in a real Chromium: accessible, without errors, readable on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mintmark.core.codes import CODES
from real.production import Server, running_server
from real.tools import AXE, need

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.real

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = ("/", "/-/errors")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("chromium")
    with running_server(tmp_path_factory.mktemp("browser"), proxied=False) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = need("chromium")["chromium"]
    if not AXE.exists():
        pytest.skip("not installed: axe-core (npm ci in tests/real)")
    playwright = pytest.importorskip("playwright.sync_api", reason="not installed: playwright")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_accessible(server: Server, browser: Browser, path: str, scheme: Any, width: int) -> None:
    context = browser.new_context(
        ignore_https_errors=True, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
    )
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(server.base_url + path)
    page.add_script_tag(content=Path(AXE).read_text())
    found = page.evaluate("axe.run()")
    assert [violation["id"] for violation in found["violations"]] == []
    # Nothing is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert trouble == []
    context.close()


def test_a_problem_leads_to_its_code(server: Server, browser: Browser) -> None:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    for name in CODES:
        page.goto(f"{server.base_url}/-/errors#{name}")
        assert page.locator(":target h2").inner_text().startswith(name)
    context.close()
