"""Writes the parts of the documentation that the code already knows.

Owns the blocks between `<!-- derived:begin NAME -->` and `<!-- derived:end -->` in the Markdown files of this folder:
settings, error codes, checks, keys of the trust file, providers, commands, routes, invariants, figures. Leaves the
tables of the lab's pages to `derive_lab.py`, and all other prose to people. Run it to write them anew (`make docs`);
with `--check` it changes nothing, and fails with the difference when a block is stale.
"""

from __future__ import annotations

import difflib
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, get_args, get_origin

import click
import msgspec
from aiohttp.web import RouteDef

import derive_lab
from mintmark.cli.main import COMMANDS, main
from mintmark.core import trust_keys as trust
from mintmark.core.checks import digests
from mintmark.core.checks.examine import CHECKS
from mintmark.core.checks.rule import Rule
from mintmark.core.codes import CODES
from mintmark.core.dist import (
    gather,
    limits,
    tar_members,
    tar_stream,
    zip_directory,
    zip_fields,
    zip_members,
    zip_stream,
)
from mintmark.core.jwt import LEEWAY_SECONDS
from mintmark.core.names import derive_audience, gitlab_variable
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.providers.model import Provider
from mintmark.settings import ENVIRONMENT_PREFIX, Settings
from mintmark.web import exchange, files, operations, project_json, simple, upload
from mintmark.web.pages import errors

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src"
HELP_WIDTH = 100
UNCONFIRMED = (
    "**Not everything here is confirmed**: the vendor does not document every claim that is checked. Compare a token "
    "of your own with this page before you rely on it."
)
OWN_RULES = "The rules that the publisher has: [how to write them](../generic-rules.md)."
# The host of every example: derived names in the documentation are those of this one.
EXAMPLE_HOST = "pkgs.example.com"

_BLOCK = re.compile(
    r"(?P<begin><!-- derived:begin (?P<name>[a-z0-9-]+) -->\n)(?P<body>.*?)(?P<end><!-- derived:end -->)", re.DOTALL
)
_TYPES = {str: "text", int: "whole number", bool: "true or false", list: "list of texts"}


# -- the pieces -------------------------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _derived_table(make: Callable[[], derive_lab.Table]) -> str:
    return _table(*make())


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _code(text: str) -> str:
    return f"`{text}`"


def _setting(field: msgspec.structs.FieldInfo) -> str:
    assert get_origin(field.type) is Annotated
    kind, meta = get_args(field.type)
    is_list = get_origin(kind) is tuple
    words = "list of texts" if is_list else _TYPES[kind]
    if meta.ge is not None:
        words += f" from {meta.ge:,} to {meta.le:,}"
    default = "required" if field.required else f"default `{msgspec.json.encode(field.default).decode()}`"
    variable = f"`{ENVIRONMENT_PREFIX}{field.name.upper()}`" + (", separated by commas" if is_list else "")
    return f"### {field.name}\n\n{meta.description}\n\n*{words}; {default}; in the environment {variable}*"


def settings() -> str:
    """Every setting with its meaning, type, default and variable."""
    return "\n\n".join(_setting(field) for field in msgspec.structs.fields(Settings))


def error_codes() -> str:
    """Every error code: first a table to find it, then what it means and what helps."""
    rows = [(f"[`{code.name}`](#{code.name})", str(code.status), code.title) for code in CODES.values()]
    sections = [
        f"### {code.name}\n\n**{code.title}** (HTTP {code.status}). {code.meaning}\n\n*What helps:* {code.cure}"
        for code in CODES.values()
    ]
    return "\n\n".join([_table(("code", "HTTP", "title"), rows), *sections])


def _rules(title: str, rules: Iterable[Rule]) -> str:
    rows = ((_code(rule.id), rule.grade.name.lower(), _code(rule.code), rule.meaning, rule.cure) for rule in rules)
    return f"## {title}\n\n{_table(('finding', 'grade', 'code', 'what has to be so', 'what helps'), rows)}"


def checks() -> str:
    """Every finding of every check, those of the archives' readers last."""
    readers = (gather, limits, zip_stream, zip_fields, zip_directory, zip_members, tar_stream, tar_members)
    faults = [(_code(name), meaning) for reader in readers for name, meaning in reader.FINDINGS.items()]
    return "\n\n".join(
        [
            _rules("Digests", digests.FINDINGS),
            *(_rules(check.title, check.findings) for check in CHECKS),
            "## The archive itself",
            "All have the code `invalid-distribution`.",
            _table(("finding", "what is wrong"), faults),
        ]
    )


def _keys(keys: Iterable[tuple[str, trust.Key]]) -> str:
    rows = ((_code(name), _TYPES[key.kind], key.meaning, _code(key.example)) for name, key in keys)
    return _table(("key", "type", "meaning", "example"), rows)


def _fields(provider: Provider) -> str:
    rows = (
        (
            _code(field.written),
            "required" if field.required else "recommended" if field.immutable_id else "optional",
            field.explanation,
            _code(f"'{field.example}'" if '"' in field.example else f'"{field.example}"'),
        )
        for field in provider.fields
    )
    return _table(("field", "", "meaning", "example"), rows)


def provider_fields() -> str:
    """The fields of every provider's publishers."""
    return "\n\n".join(
        f'**{provider.title}** (`provider = "{provider.slug}"`, [details](providers/{provider.slug}.md))\n\n'
        + _fields(provider)
        for provider in PROVIDERS
    )


def ci_block(provider: Provider) -> str:
    """The CI file of a project that publishes to the example's host."""
    audience = derive_audience(EXAMPLE_HOST)
    text = provider.job.replace("HOST", EXAMPLE_HOST).replace("VARIABLE", gitlab_variable(audience))
    # Codefresh's step has an argument of that name.
    return _fenced(provider.job_language, re.sub("AUDIENCE(?!:)", audience, text))


def provider_page(slug: str) -> str:
    """Everything a provider's table says."""
    provider = BY_SLUG[slug]
    rules = (("`" + "/".join(rule.claim) + "`", rule.how, rule.why) for rule in provider.rules)
    refusals = [
        (
            "`" + "/".join(refusal.claim) + "`",
            ", ".join(map(_code, refusal.values)) + (", or no such claim" if refusal.required else ""),
            refusal.why,
        )
        for refusal in provider.refuse
    ]
    ids = [field for field in provider.fields if field.immutable_id]
    return "\n\n".join(
        [
            "## Issuers",
            f"{provider.issuer.explanation} For example:",
            "\n".join(f"- `{example}`" for example in provider.issuer.examples),
            "## Fields of a publisher",
            _fields(provider),
            "## What is checked",
            _table(("claim", "what it must be", "why"), rules) if provider.rules else OWN_RULES,
            "## What never publishes",
            _table(("claim", "refused", "why"), refusals) if refusals else "Nothing beyond the rules above.",
            "## Ids that are never given away",
            "\n".join(f"- `{field.written}`: {field.explanation}" for field in ids) or "The tokens hold none.",
            "## The token",
            _token_facts(provider),
            "## The job",
            ci_block(provider),
            "## Source",
            f"The claims were read on {provider.checked} in [the vendor's documentation]({provider.docs_url})."
            + ("" if provider.confirmed else f" {UNCONFIRMED}"),
        ]
    )


def _token_facts(provider: Provider) -> str:
    looked_at = {claim for rule in provider.rules for claim in rule.claim[:1]}
    looked_at |= {claim for refusal in provider.refuse for claim in refusal.claim[:1]}
    looked_at |= {path[0] for path in (provider.ref, provider.protected_ref, provider.lookup.claim) if path}
    looked_at |= {"iss", "aud", "exp", "iat", "nbf", "jti"}
    unchecked = sorted(provider.known - looked_at)
    pins = ["/".join(path) for path in provider.pins]
    again = "A job can ask for another one." if provider.reusable else "A job cannot ask for another one."
    hours = provider.max_lifetime_seconds / 3600
    return "\n".join(
        [
            f"- Longest life (`exp` - `iat`): {hours:g} hours. `max-token-lifetime-seconds` of the issuer changes it.",
            f"- Clocks may differ by {LEEWAY_SECONDS} seconds.",
            f"- `jti` is {'required' if provider.requires_jti else 'used where present'}. {again}",
            f"- Publishers are found by `{'/'.join(provider.lookup.claim)}`."
            if provider.keys_of_claims is None
            else "- Publishers are found by an `equals` rule: that of the immutable id, of `sub`, or another.",
            _ref_facts(provider),
            *([f"- Learned at a publisher's first use: {', '.join(map(_code, pins))}."] if pins else []),
            *([f"- Known and not checked: {', '.join(map(_code, unchecked))}."] if unchecked else []),
        ]
    )


def _ref_facts(provider: Provider) -> str:
    ref = f"The ref is `{'/'.join(provider.ref)}`" if provider.ref else "The token does not name a full ref"
    if provider.full_ref is not None and provider.full_ref.__doc__:
        ref = f"The ref is {provider.full_ref.__doc__.strip()}"
    if provider.protected_ref is None:
        return f"- {ref}; it does not say whether that is protected."
    return f"- {ref}; whether it is protected is `{'/'.join(provider.protected_ref)}`."


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    with command.make_context(name, [], parent, resilient_parsing=True, terminal_width=HELP_WIDTH) as context:
        yield context.command_path, click.unstyle(command.get_help(context))
        if isinstance(command, click.Group):
            for child in COMMANDS if command is main else command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                yield from _help(found, child, context)


def cli() -> str:
    """The help of every command."""
    return "\n\n".join(f"## {path}\n\n{_fenced('text', text)}" for path, text in _help(main, "mintmark", None))


def _sentence(route: RouteDef) -> str:
    first = (route.handler.__doc__ or "").strip().partition("\n")[0]
    # The docstring repeats method and path for whoever reads the code.
    _, colon, what = first.partition(": ")
    text = what if colon else first
    return text[:1].upper() + text[1:]


def routes() -> str:
    """Every endpoint with its method and all its paths."""
    tables = (
        simple.HOT_ROUTES,
        simple.ROUTES,
        project_json.ROUTES,
        files.ROUTES,
        upload.ROUTES,
        exchange.ROUTES,
        operations.ROUTES,
        errors.ROUTES,
    )
    rows: dict[str, tuple[str, list[str]]] = {}
    for route in chain.from_iterable(tables):
        rows.setdefault(_sentence(route), (route.method, []))[1].append(_code(route.path))
    return _table(
        ("method", "paths", "what"), ((method, " ".join(paths), what) for what, (method, paths) in rows.items())
    )


def _invariants(path: Path) -> Iterator[str]:
    """The sentences that begin with `Invariant` in the comments and docstrings of a module."""
    texts: list[str] = []
    with tokenize.open(path) as source:
        last = -2
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                if token.start[0] == last + 1 and token.line.lstrip().startswith("#"):
                    texts[-1] += "\n" + token.string.lstrip("# ")
                else:
                    texts.append(token.string.lstrip("# "))
                last = token.start[0]
            elif token.type == tokenize.STRING:
                texts.append(token.string.strip('"'))
    for text in texts:
        for paragraph in re.findall(r"Invariant[^\n]*(?:\n[^\n]+)*", text):
            found = re.fullmatch(r"Invariant(?: \((.*?)\))?: (.*)", " ".join(paragraph.split()))
            if found is None:
                raise ValueError(f"{path} has an invariant that is not written `Invariant: sentence`")
            yield f"{found[2][:1].upper()}{found[2][1:]}" + (f" ({found[1]}.)" if found[1] else "")


def invariants() -> str:
    """Every `Invariant:` of the code, with its module."""
    lines = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE / "mintmark").with_suffix("").parts)
        lines += [f"- `{module}`: {sentence}" for sentence in _invariants(path)]
    return "\n".join(lines)


def figures() -> str:
    """The tables of the run of `make bench` that is kept in `figures.json`."""
    run_of = msgspec.json.decode((DOCS / "figures.json").read_bytes())
    machine = run_of["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    hardware = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB"
    system = f"kernel {machine['kernel']}, {machine['file_system'].split()[0]}, Python {machine['python']}"
    rounds = f"Medians of {run_of['rounds']} interleaved rounds of {run_of['seconds']} s."
    parts = [f"{hardware}, {system}, SQLite {machine['sqlite']}, {packages}. {rounds}"]
    for name, bench in run_of["benches"].items():
        rows = [
            (
                row["measure"],
                _figure(row["median"], row["unit"]),
                f"{_figure(row['min'], '')} to {_figure(row['max'], '')}",
                row["target"] or "",
                row["verdict"] or "",
            )
            for row in bench["rows"]
        ]
        parts += [f"## {name}", _table(("measure", "median", "spread", "target", "verdict"), rows)]
    return "\n\n".join(parts)


def _figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{number} {unit}".strip()


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "errors": error_codes,
    "checks": checks,
    "registry-keys": lambda: _keys(trust.REGISTRY_KEYS.items()),
    "issuer-keys": lambda: _keys(trust.ISSUER_KEYS.items()),
    "publisher-keys": lambda: _keys(trust.PUBLISHER_KEYS.items()),
    "provider-fields": provider_fields,
    "provider-pages": lambda: "\n".join(f"- [{each.title}](providers/{each.slug}.md)" for each in PROVIDERS),
    **{f"provider-{provider.slug}": partial(provider_page, provider.slug) for provider in PROVIDERS},
    # Each provider's page has its own in it; these two are in the README as well.
    **{f"ci-{slug}": partial(ci_block, BY_SLUG[slug]) for slug in ("github", "gitlab")},
    "cli": cli,
    "routes": routes,
    "invariants": invariants,
    "figures": figures,
    **{name: partial(_derived_table, make) for name, make in derive_lab.BLOCKS.items()},
}


# -- writing and checking ---------------------------------------------------------------------------------------------


def derive(text: str) -> str:
    """A page with its blocks written anew. Raises `KeyError` for a block that nobody makes."""
    return _BLOCK.sub(lambda found: f"{found['begin']}\n{BLOCKS[found['name']]()}\n\n{found['end']}", text)


def pages() -> list[Path]:
    """The Markdown files that may hold blocks."""
    return [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def run(*, check: bool) -> int:
    """Write or compare every page; the exit code."""
    stale, used = 0, set()
    for provider in PROVIDERS:
        page = DOCS / "providers" / f"{provider.slug}.md"
        if not check and not page.exists():
            # People say the rest.
            block = f"<!-- derived:begin provider-{provider.slug} -->\n<!-- derived:end -->"
            page.write_text(f"# {provider.title}\n\n{block}\n", encoding="utf-8")
    for page in pages():
        text = page.read_text(encoding="utf-8")
        used |= {found["name"] for found in _BLOCK.finditer(text)}
        fresh = derive(text)
        if fresh == text:
            continue
        stale += 1
        name = str(page.relative_to(DOCS.parent))
        if check:
            difference = difflib.unified_diff(text.splitlines(), fresh.splitlines(), name, f"{name} (from the code)")
            click.echo("\n".join(line.rstrip("\n") for line in difference))
        else:
            page.write_text(fresh, encoding="utf-8")
            click.echo(f"Wrote {name}.")
    missing = sorted(BLOCKS.keys() - used)
    if missing:
        click.echo(f"No page has the blocks: {', '.join(missing)}.", err=True)
        return 1
    if check and stale:
        click.echo("The documentation is stale: run `make docs`.", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(check="--check" in sys.argv[1:]))
