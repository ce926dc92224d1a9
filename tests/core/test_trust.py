"""The trust file: a complete one, and every mistake with where, problem and cure."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.errors import Rejected
from mintmark.core.policy import Policy
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.core.records import Constraints, Issuer, Registry
from mintmark.core.trust import (
    Host,
    WantedRegistry,
    parse_issuer,
    parse_publisher,
    parse_trust,
)
from mintmark.core.trust_files import FILE_MAX_CHARACTERS, LAB_ORGANIZATION
from mintmark.core.trust_issuer import audience_warning
from mintmark.core.trust_keys import ISSUER_KEYS, PUBLISHER_KEYS, REGISTRY_KEYS
from mintmark.core.trust_warnings import warnings_for
from mintmark.lab import authority
from mintmark.lab.authority import Authority
from mintmark.lab.signer import Signer
from mintmark.store import issuer_http
from support.refusals import refusal

HOST = Host("pkgs.example.com", "mintmark_pkgs_example_com")
JWKS = Signer("ES256").jwks().decode()
# A certificate in form; the rules of a trust file do not look further.
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
FILES = {"corp-ca.pem": "# The company's\n" + PEM, "keys.json": JWKS}

FOLDER = Path(__file__).parent.parent / "vectors" / "trust"
COMPLETE = (FOLDER / "complete.toml").read_text(encoding="utf-8")
SMALL = (FOLDER / "small.toml").read_text(encoding="utf-8")
MISTAKES: list[dict[str, str]] = tomllib.loads((FOLDER / "mistakes.toml").read_text(encoding="utf-8"))["mistake"]


def load(name: str) -> str:
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def parse(text: str, host: Host = HOST, loader: Callable[[str], str] = load) -> tuple[WantedRegistry, ...]:
    return parse_trust(tomllib.loads(text), host, loader)


def refused(text: str, host: Host = HOST, loader: Callable[[str], str] = load) -> Rejected:
    found = refusal(lambda: parse(text, host, loader))
    assert found is not None, "it was taken"
    return found


def test_a_complete_file() -> None:
    acme, empty = parse(COMPLETE)
    assert acme.registry == Registry(
        id=0,
        slug="acme",
        audience="mintmark_acme",
        title="Packages of team Acme",
        host="acme.example.com",
        private=False,
        trusted_publishing_only=True,
        publishers_read=True,
        host_mint=False,
        credential_lifetime_seconds=3600,
        policy=Policy(("acme-*", "widget", "gadget"), "pypi", "warn", True, 100 << 20, 10 << 30, 500, 100),
    )
    gitlab, github = acme.issuers
    assert gitlab == Issuer(
        id=0,
        registry_id=0,
        name="gitlab",
        provider="gitlab",
        url="https://gitlab.example.com/git",
        server="git.example.com:8443/git",
        projects=("acme-*", "widget"),
        algorithms=("RS256", "ES256"),
        max_lifetime_seconds=7200,
        networks=("10.0.0.0/8", "fd00::/8"),
        ca_pem=FILES["corp-ca.pem"],
        enabled=False,
        audience="api://AzureADTokenExchange",
        remint=True,
    )
    assert (github.projects, github.jwks, github.server) == (("*",), JWKS, "")
    assert (github.audience, github.remint) == ("", False)
    widget, gadget, family, reader = acme.publishers
    assert (family.publisher.project, family.publisher.reads, family.publisher.is_wide) == ("acme-*", False, True)
    assert (reader.publisher.project, reader.publisher.reads, reader.publisher.is_wide) == ("*", True, True)
    assert not widget.publisher.is_wide
    assert (widget.issuer, widget.publisher.project, widget.lookup) == ("gitlab", "acme-widget", "team/widget")
    assert widget.publisher.constraints == Constraints("refs/tags/v*", True, "v{version}", "upload-only")
    assert widget.publisher.config["namespace-id"] == "42"
    assert (gadget.lookup, gadget.publisher.config["repository"]) == ("octo/gadget", "Octo/Gadget")
    assert (empty.registry.audience, empty.registry.private) == ("mintmark_pkgs_example_com_empty", True)
    assert not empty.issuers
    assert not empty.publishers


FIXED = """
[registry.acme]
[registry.acme.issuer.ci]
provider = "PROVIDER"
url = "URL"
projects = ["*"]
audience = "AUDIENCE"
"""
FIXED_PROVIDERS = [each for each in BY_SLUG.values() if each.audience == "fixed"]


@pytest.mark.parametrize("provider", FIXED_PROVIDERS, ids=[each.slug for each in FIXED_PROVIDERS])
def test_a_fixed_audience_is_an_explicit_decision(provider: Provider) -> None:
    text = FIXED.replace("PROVIDER", provider.slug).replace("URL", provider.issuer.examples[0])
    (acme,) = parse(text.replace("AUDIENCE", "https://acme.example/x"))
    (issuer,) = acme.issuers
    assert issuer.audience == "https://acme.example/x"
    warning = audience_warning(issuer)
    assert "https://acme.example/x" in warning
    assert "can publish here" in warning
    assert audience_warning(replace(issuer, audience="")) == ""
    without = text.replace('audience = "AUDIENCE"', "")
    found = refused(without)
    assert "cannot ask for this index's audience" in found.detail
    assert "audience =" in found.hint


@pytest.mark.parametrize(
    "audience", ["", " ", "a b", "ä", "a\u0000", "x" * 256, "pypi", "testpypi", "sigstore", HOST.audience]
)
@pytest.mark.parametrize("provider", ["gitlab", "azure-devops"])
def test_an_audience_that_no_issuer_may_have(provider: str, audience: str) -> None:
    url = BY_SLUG[provider].issuer.examples[0]
    text = FIXED.replace("PROVIDER", provider).replace("URL", url)
    found = refused(text.replace('"AUDIENCE"', json.dumps(audience)))
    assert "registry.acme.issuer.ci.audience" in found.detail
    assert found.hint


def test_the_complete_file_has_every_key() -> None:
    document = tomllib.loads(COMPLETE)["registry"]["acme"]
    issuers = {key for entry in document.pop("issuer").values() for key in entry}
    publishers = {key for entry in document.pop("publisher") for key in entry}
    fields = {field.name for provider in BY_SLUG.values() for field in provider.fields}
    assert document.keys() == REGISTRY_KEYS.keys()
    assert issuers == ISSUER_KEYS.keys()
    assert PUBLISHER_KEYS.keys() <= publishers <= PUBLISHER_KEYS.keys() | fields


@pytest.mark.parametrize("keys", [REGISTRY_KEYS, ISSUER_KEYS, PUBLISHER_KEYS], ids=["registry", "issuer", "publisher"])
def test_every_key_is_documented_with_an_example_of_its_type(keys: dict[str, Any]) -> None:
    for name, key in keys.items():
        assert key.meaning.endswith(".")
        assert isinstance(tomllib.loads(f"{name} = {key.example}")[name], key.kind)


def test_an_empty_file_wants_nothing() -> None:
    assert parse("") == ()


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake["name"] for mistake in MISTAKES])
def test_mistakes_are_refused_with_where_problem_and_cure(mistake: dict[str, str]) -> None:
    assert SMALL.count(mistake["old"]) == 1
    found = refused(SMALL.replace(mistake["old"], mistake["new"]))
    assert found.code.name == "invalid-trust"
    assert found.detail.startswith((mistake["where"] + " ", mistake["where"] + ":")), found.detail
    assert found.detail.endswith(".")
    assert mistake["problem"] in found.detail
    assert mistake["cure"] in found.hint


def test_a_pattern_stays_within_the_registrys() -> None:
    text = SMALL.replace('project = "acme-widget"', 'project = "acme-*"')
    (acme,) = parse(text)
    assert acme.publishers[0].publisher.project == "acme-*"
    narrow = text.replace("[registry.acme]\n", '[registry.acme]\nprojects = ["acme-widget", "acme-w*"]\n', 1)
    assert "registry acme is for acme-widget, acme-w* only" in refused(narrow).detail
    # What is read need not be what may be published.
    assert parse(narrow + "\nreads = true")


def test_the_mistakes_are_many() -> None:
    assert len({mistake["name"] for mistake in MISTAKES}) == len(MISTAKES) > 50


VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


@given(VALUES)
def test_no_document_breaks_it(value: object) -> None:
    acme = tomllib.loads(SMALL)["registry"]["acme"]
    issuer, publisher = acme["issuer"]["gitlab"], acme["publisher"][0]
    for table in (acme, acme["issuer"], issuer, publisher):
        for key in (*table, "title", "host", "ca-file", "tag", "environment"):
            before = table.get(key)
            table[key] = value
            refusal(lambda: parse_trust({"registry": {"acme": acme}}, HOST, load))
            if before is None:
                del table[key]
            else:
                table[key] = before
    refusal(lambda: parse_trust({"registry": value}, HOST, load))


# -- files ------------------------------------------------------------------------------------------------------------

URL = 'url = "https://gitlab.example.com"'
WITH_CA = SMALL.replace(URL, URL + '\nca-file = "ca.pem"')


def loading(text: str) -> Callable[[str], str]:
    return lambda name: text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\n", "no PEM certificate"),
        (PEM.replace("MIIB", "M!IB"), "damaged"),
        (PEM.replace("MIIB", "AAAA"), "damaged"),
        (PEM + PEM.replace("CERTIFICATE", "PRIVATE KEY"), "something else"),
        (PEM + "-----BEGIN CERTIFICATE-----\nMIIB\n", "something else"),
        (PEM + "x" * FILE_MAX_CHARACTERS, "too large"),
    ],
)
def test_files_that_hold_no_certificates(text: str, problem: str) -> None:
    assert problem in refused(WITH_CA, loader=loading(text)).detail


def test_files_that_are_no_text() -> None:
    def broken(name: str) -> str:
        return b"\xff".decode("utf-8")

    assert "no UTF-8 text" in refused(WITH_CA, loader=broken).detail


@pytest.fixture(scope="module")
def lab_pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Authority.open(tmp_path_factory.mktemp("ca") / "lab", time.time()).ca_pem


def test_the_labs_ca_is_no_anchor_of_a_real_index(lab_pem: str) -> None:
    # Wherever in the file it stands, and under every label that TLS libraries take for a certificate.
    padded, trusted = PEM.replace("MIIB", "MA=="), lab_pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE")
    for text in (lab_pem, PEM + lab_pem, padded + lab_pem, "# a bundle\n" + lab_pem + PEM, PEM + trusted):
        found = refused(WITH_CA, loader=loading(text))
        assert found.code.name == "lab-issuer"
        assert found.detail.startswith("registry.acme.issuer.gitlab.ca-file")
        assert "--dev" in found.hint
        lab = Host(HOST.name, HOST.audience, accept_lab=True)
        assert parse(WITH_CA, lab, loading(text))[0].issuers[0].ca_pem == text


def test_everybody_means_the_same_mark() -> None:
    assert authority.ORGANIZATION == issuer_http.LAB_ORGANIZATION == LAB_ORGANIZATION


# -- single entries and warnings --------------------------------------------------------------------------------------


def test_single_commands_read_entries_by_the_same_rules() -> None:
    issuer = parse_issuer("gitlab", tomllib.loads(SMALL)["registry"]["acme"]["issuer"]["gitlab"], HOST, load)
    assert issuer == parse(SMALL)[0].issuers[0]
    entry = tomllib.loads(SMALL)["registry"]["acme"]["publisher"][0]
    assert parse_publisher("x", entry, issuer) == parse(SMALL)[0].publishers[0]
    found = refusal(lambda: parse_issuer("gitlab", {"provider": "gitlab"}, HOST, load))
    assert found is not None
    assert found.detail.startswith("issuer.gitlab lacks url")


def warnings(text: str) -> list[str]:
    (acme,) = parse(text)
    return warnings_for(acme.publishers, {issuer.name: issuer for issuer in acme.issuers})


def test_no_warning_without_a_reason() -> None:
    assert warnings(SMALL) == []


def test_a_publisher_without_an_immutable_id() -> None:
    (warning,) = warnings(SMALL.replace('project-id = "1"\n', ""))
    assert warning.startswith("acme-widget from team/widget: no immutable id is given (project-id or namespace-id)")


@pytest.mark.parametrize(
    "limit", ['environment = "release"', 'tag = "v{version}"', "protected-ref = true", 'ref = "refs/heads/x"']
)
def test_a_sibling_that_asks_for_less(limit: str) -> None:
    publisher = "[[" + SMALL.partition("[[")[2]
    (warning,) = warnings(SMALL + publisher + limit)
    assert "asks for less" in warning
    # Another project's publisher is no sibling.
    assert warnings(SMALL + publisher.replace("acme-widget", "acme-other") + limit) == []


def test_siblings_that_ask_for_different_things() -> None:
    publisher = "[[" + SMALL.partition("[[")[2]
    assert warnings(SMALL + 'environment = "a"\n' + publisher + 'environment = "b"\n') == []
