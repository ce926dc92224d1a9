"""Hosts that the lab stands in for: how they are written, and what a request to them means to the index."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

from mintmark.core.names import parse_host, parse_slug
from mintmark.lab import hosts
from mintmark.lab.hosts import (
    BadHost,
    Impersonation,
    impersonation_of,
    normal_host,
    parse_impersonation,
    parse_impersonations,
    registry_name,
    rewrite,
)

GITLAB = "/api/v4/projects/group%2Fproject/packages/pypi"
UPLOAD_HOST = urlsplit(DEFAULT_REPOSITORY).hostname or ""
WEB_HOST = UPLOAD_HOST.partition(".")[2]
TEST_HOST = urlsplit(TEST_REPOSITORY).hostname or ""

host_names = st.from_regex(r"\A[a-z][a-z0-9]{0,9}(?:-[a-z0-9]{1,5})?(?:\.[a-z][a-z0-9]{0,60}){0,4}\Z")


def test_a_word_means_the_hosts_that_twine_names() -> None:
    assert parse_impersonation("pypi") == [
        Impersonation(WEB_HOST, "", "pypi", WEB_HOST, "pypi"),
        Impersonation(UPLOAD_HOST, "", "pypi", WEB_HOST, "pypi"),
    ]
    assert parse_impersonation("testpypi") == [Impersonation(TEST_HOST, "", "testpypi", TEST_HOST, "testpypi")]


def test_without_twine_there_is_a_cure() -> None:
    # An entry of None is how Python itself marks a module that cannot be imported.
    program = (
        "import sys; sys.modules['twine.utils'] = None\n"
        "from mintmark.lab.hosts import BadHost, parse_impersonation\n"
        "assert parse_impersonation('index.example')\n"
        "try: parse_impersonation('pypi')\n"
        "except BadHost as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "which is not installed" in done.stdout
    assert "pip install twine" in done.stdout


@pytest.mark.parametrize(
    ("text", "host", "prefix", "registry"),
    [
        ("index.example.com", "index.example.com", "", "index-example-com"),
        ("Index.Example.com.", "index.example.com", "", "index-example-com"),
        ("index.example.com/", "index.example.com", "", "index-example-com"),
        ("index.example.com=acme", "index.example.com", "", "acme"),
        (f"gitlab.example{GITLAB}/", "gitlab.example", GITLAB, "gitlab-example"),
        (f"gitlab.example{GITLAB}=acme", "gitlab.example", GITLAB, "acme"),
        ("nexus", "nexus", "", "nexus"),
        ("simple", "simple", "", "simple-index"),
    ],
)
def test_hosts_paths_and_registries(text: str, host: str, prefix: str, registry: str) -> None:
    assert parse_impersonation(text) == [Impersonation(host, prefix, registry, host, None)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no host name"),
        ("a b.example", "is no host name"),
        ("-a.example", "is no host name"),
        ("bücher.example", "is no host name"),
        ("*.example", "is no host name"),
        ("https://index.example/simple", "is a URL"),
        ("index.example:8443", "has a port"),
        ("127.0.0.1", "is an IP address"),
        ("127.1", "is an IP address"),
        ("::1", "is an IP address"),
        ("[::1]", "is an IP address"),
        ("localhost", "is this machine"),
        ("LOCALHOST./x", "is this machine"),
        ("index.localhost", "is this machine"),
        ("index.example/../x", "is no path"),
        ("index.example/a/%2e%2E/x", "is no path"),
        ("index.example/a%2f..%2fx", "is no path"),
        ("index.example/./x", "is no path"),
        ("index.example/a//x", "is no path"),
        ("index.example/a?b", "is no path"),
        ("index.example/%zz", "is no path"),
        ("index.example/" + "a" * 200, "at most 200"),
        ("index.example=", "is not a registry name"),
        ("index.example=Acme", "is not a registry name"),
        ("index.example=a=b", "is not a registry name"),
        ("index.example=simple", "is reserved"),
    ],
)
def test_what_is_no_host_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadHost, match=sentence):
        parse_impersonation(text)


@given(st.text() | host_names.map(lambda host: host + "/a=b"))
def test_every_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_impersonation(text)
    except BadHost:
        return
    for each in found:
        assert parse_host(each.host) == each.host
        assert parse_slug(each.registry) == each.registry
        assert not each.prefix or (each.prefix.startswith("/") and not each.prefix.endswith("/"))


@given(host_names)
def test_every_host_has_a_registry_name(host: str) -> None:
    assert parse_slug(registry_name(host))


@given(host_names, host_names)
def test_other_hosts_have_other_paths(host: str, other: str) -> None:
    found = parse_impersonation(host)
    if host == other:
        return
    assert rewrite(found, other, "GET", "/x") == (other, "/x")


def test_hosts_of_one_registry_share_its_host_name_and_audience() -> None:
    found = parse_impersonations(["a.example=acme", "b.example=acme", "a.example=acme", "c.example"])
    assert [(each.host, each.registry, each.registry_host) for each in found] == [
        ("a.example", "acme", "a.example"),
        ("b.example", "acme", "a.example"),
        ("c.example", "c-example", "c.example"),
    ]
    assert parse_impersonations(["testpypi", "d.example=testpypi"])[1].audience == "testpypi"


def test_a_host_leads_to_one_registry() -> None:
    with pytest.raises(BadHost, match="registries 'one' and 'two'"):
        parse_impersonations(["a.example/x=one", "a.example/y=two"])


def test_there_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "IMPERSONATIONS_MAX", 2)
    with pytest.raises(BadHost, match="at most 2"):
        parse_impersonations(["a.example", "b.example", "c.example"])


MAP = parse_impersonations(
    ["upload.example=acme", "web.example=acme", f"gitlab.example{GITLAB}", "gitlab.example/api=gitlab-example"]
)


@pytest.mark.parametrize(
    ("host", "method", "path", "expected"),
    [
        ("localhost:8443", "POST", "/acme/legacy/", ("localhost:8443", "/acme/legacy/")),
        ("localhost:8443", "POST", "/", ("localhost:8443", "/")),
        ("elsewhere.example", "GET", "/simple/", ("elsewhere.example", "/simple/")),
        ("", "GET", "/simple/", ("", "/simple/")),
        ("upload.example", "POST", "/legacy/", ("upload.example", "/legacy/")),
        ("UPLOAD.example.:443", "POST", "/legacy/", ("upload.example", "/legacy/")),
        ("web.example:443", "GET", "/simple/a/?b", ("upload.example", "/simple/a/?b")),
        ("web.example", "POST", "/", ("upload.example", "/legacy/")),
        ("web.example", "POST", "/?a=/b", ("upload.example", "/legacy/?a=/b")),
        ("web.example", "GET", "/", ("upload.example", "/")),
        ("gitlab.example", "POST", GITLAB, ("gitlab.example", "/legacy/")),
        ("gitlab.example", "POST", f"{GITLAB}/?a=b", ("gitlab.example", "/legacy/?a=b")),
        ("gitlab.example", "GET", GITLAB, ("gitlab.example", "/")),
        ("gitlab.example", "GET", f"{GITLAB}/simple/x%2Fy/", ("gitlab.example", "/simple/x%2Fy/")),
        ("gitlab.example", "GET", "/api/simple/", ("gitlab.example", "/simple/")),
        ("gitlab.example", "GET", "/simple/", None),
        ("gitlab.example", "GET", f"/?{GITLAB}/", None),
        ("gitlab.example", "GET", "/_/oidc/audience", ("gitlab.example", "/_/oidc/audience")),
        ("gitlab.example", "GET", "/.well-known/pytp?discover=x", ("gitlab.example", "/.well-known/pytp?discover=x")),
    ],
)
def test_what_the_index_sees(host: str, method: str, path: str, expected: tuple[str, str] | None) -> None:
    assert rewrite(MAP, host, method, path) == expected


def test_the_longest_prefix_wins() -> None:
    found = parse_impersonations(["a.example/x", "a.example/x/y"])
    assert rewrite(found, "a.example", "GET", "/x/y/simple/") == ("a.example", "/simple/")
    assert rewrite(found, "a.example", "GET", "/x/simple/") == ("a.example", "/simple/")
    assert rewrite(found, "a.example", "GET", "/xy/simple/") is None
    below = impersonation_of(found, "a.example", "/x/y?z")
    assert below is not None
    assert below.prefix == "/x/y"


def test_normal_hosts() -> None:
    assert normal_host("A.Example.:443") == "a.example"
    assert normal_host("[::1]:8443") == "[::1]"
