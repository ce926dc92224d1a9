"""What is public is documented, and what the documentation says is so."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
import pytest
from aiohttp.web import RouteDef

import mintmark.web
from mintmark.assemble import Index
from mintmark.cli.main import COMMANDS, main
from mintmark.core import trust, trust_keys
from mintmark.core.codes import CODES
from mintmark.core.providers import PROVIDERS
from mintmark.core.records import OPERATOR
from mintmark.settings import Settings, load
from mintmark.web import exchange, files, operations, project_json, simple, upload
from mintmark.web.pages import errors

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# Between back-ticks or not, nothing in the documentation names a machine or a package registry.
FORBIDDEN = re.compile("py" + r"pi\.org|python" + r"hosted\.org|/work/|/root/|/home/[a-z]")
REGISTERED = {"aud", "exp", "iat", "iss", "jti", "nbf"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_derived_parts_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "derive.py", "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    assert not FORBIDDEN.search(page.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = [target.partition("#")[0] for target in _LINK.findall(prose(page))]
        waiting += [(page.parent / target).resolve() for target in targets if target and "://" not in target]
    assert set(DOCS.rglob("*.md")) <= seen


def test_every_setting() -> None:
    text = read("settings.md")
    for field in msgspec.structs.fields(Settings):
        assert f"\n### {field.name}\n" in text
        assert f"`MINTMARK_{field.name.upper()}`" in text


def test_every_error_code() -> None:
    text = read("errors.md")
    for code in CODES.values():
        section = text.partition(f"\n### {code.name}\n")[2].partition("\n### ")[0]
        assert f"HTTP {code.status}" in section
        assert code.meaning in section
        assert code.cure in section


def all_routes() -> Iterator[RouteDef]:
    for module in (simple, project_json, files, upload, exchange, operations, errors):
        yield from getattr(module, "HOT_ROUTES", ())
        yield from module.ROUTES


def test_every_route() -> None:
    text = read("routes.md")
    folder = Path(str(mintmark.web.__file__ or next(iter(mintmark.web.__path__)))).parent
    with_routes = [path for path in (folder).rglob("*.py") if re.search(r"^ROUTES = ", path.read_text(), re.MULTILINE)]
    assert len(with_routes) == 7, "a module with routes is missing here and in docs/derive.py"
    for route in all_routes():
        assert f"`{route.path}`" in text, route.path
        assert route.handler.__doc__


def commands(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, parent, path)
        for name in COMMANDS if command is main else command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, f"{path} {name}", context)


def test_every_command_and_option() -> None:
    text = read("cli.md")
    for path, command in commands(main, "mintmark"):
        section = text.partition(f"\n## {path}\n")[2].partition("\n## ")[0]
        assert f"Usage: {path} " in section, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in section, f"{path} {parameter.opts}"
                # Somebody wrote what it does.
                assert parameter.help or parameter.name == "version", f"{path} {parameter.opts}"


def test_every_provider() -> None:
    for provider in PROVIDERS:
        text = read(f"providers/{provider.slug}.md")
        claims = ["/".join(rule.claim) for rule in provider.rules]
        claims += ["/".join(refusal.claim) for refusal in provider.refuse]
        for name in [
            *claims,
            *(field.written for field in provider.fields),
            *provider.known - REGISTERED,
        ]:
            assert f"`{name}`" in text, name
        for rule in provider.rules:
            assert rule.why in text
        for refusal in provider.refuse:
            assert all(f"`{value}`" in text for value in refusal.values)
        assert provider.docs_url in text
        assert provider.checked in text


def test_every_key_of_the_trust_file() -> None:
    text = read("trust-file.md")
    for keys in (trust_keys.REGISTRY_KEYS, trust_keys.ISSUER_KEYS, trust_keys.PUBLISHER_KEYS):
        for name, key in keys.items():
            assert f"| `{name}` |" in text
            assert key.meaning in text
    for provider in PROVIDERS:
        for field in provider.fields:
            assert f"| `{field.written}` |" in text


def test_every_invariant_names_its_tests() -> None:
    """Each `Invariant` of a module has a row in the threat model, and the tests it names exist."""
    table = read("threat-model.md").partition("## What holds them")[2]
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    for path in sorted((ROOT / "src" / "mintmark").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src" / "mintmark").with_suffix("").parts)
        there = len(re.findall(r"\bInvariant(?: \(|:)", path.read_text(encoding="utf-8")))
        here = [row for row in rows if row[0] == module]
        assert len(here) == there, f"{module} has {there} invariants, docs/threat-model.md {len(here)}"
    for module, _, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
        assert named, f"no test is named for {module}"
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"


def test_the_decisions_are_listed_and_short() -> None:
    listed = read("adr/README.md")
    for record in sorted((DOCS / "adr").glob("0*.md")):
        text = record.read_text(encoding="utf-8")
        assert f"({record.name})" in listed
        assert len(text.splitlines()) < 60
        for part in ("Status:", "## Context", "## Options", "## Outcome", "## Consequences"):
            assert part in text, f"{record.name} lacks {part}"


def test_the_picture_is_accessible() -> None:
    picture = ElementTree.parse(DOCS / "images" / "flow.svg").getroot()
    assert picture.get("role") == "img"
    ids = {element.get("id"): element for element in picture.iter()}
    for name in str(picture.get("aria-labelledby")).split():
        assert ids[name].text
    assert "prefers-color-scheme: dark" in ElementTree.tostring(picture, encoding="unicode")
    assert re.search(r"!\[[^]]{200,}\]\(docs/images/flow\.svg\)", (ROOT / "README.md").read_text(encoding="utf-8"))


# -- examples ---------------------------------------------------------------------------------------------------------


def toml_blocks(text: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


async def test_the_example_trust_file_applies_and_is_idempotent(tmp_path: Path) -> None:
    (example,) = toml_blocks(read("trust-file.md").partition("<!-- example:begin -->")[2])
    settings = Settings(data_dir=str(tmp_path / "data"), base_url="https://pkgs.example.com", trusted_proxies=("::1",))
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    asked = []

    def read_file(name: str) -> str:
        asked.append(name)
        return certificate

    host = trust.Host(settings.host, settings.host_audience)
    wanted = trust.parse_trust(tomllib.loads(example), host, read_file)
    assert set(asked) == {"corp-ca.pem"}
    index = Index(settings)
    try:
        plan = await index.trust.plan(wanted)
        kinds = [change.kind for change in plan.changes]
        assert {change.action for change in plan.changes} == {"add"}
        assert (kinds.count("registry"), kinds.count("issuer"), kinds.count("pending publisher")) == (2, 3, 3)
        assert not plan.warnings
        await index.trust.apply(wanted, plan, OPERATOR)
        again = await index.trust.plan(wanted)
        assert not again.changes
    finally:
        await index.close()


@pytest.mark.parametrize("page", ["../README.md", "settings.md", "deploy.md"])
def test_the_example_settings_are_taken(page: str, tmp_path: Path) -> None:
    """Every settings file of the documentation starts a server, once its certificate exists."""
    found = [block for block in toml_blocks(read(page)) if "base_url" in block]
    assert found
    for block in found:
        for name in ("fullchain.pem", "key.pem"):
            (tmp_path / name).touch()
        config = tmp_path / "mintmark.toml"
        config.write_text(block.replace("/etc/mintmark/tls", str(tmp_path)).replace("/var/lib/mintmark", str(tmp_path)))
        settings = load(config, {})
        assert settings.host == "pkgs.example.com"
