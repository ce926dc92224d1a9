"""Discovery keys: one exact path, decoded once, or nothing."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.core.discovery import KEY_MAX_CHARACTERS, registry_of_path, upload_path
from mintmark.core.errors import Rejected
from mintmark.core.names import parse_slug

SLUGS = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True)


def registry(query: str) -> str | None:
    path = upload_path(query)
    return None if path is None else registry_of_path(path)


@given(slug=SLUGS, slash=st.sampled_from(["", "/"]), safe=st.sampled_from(["", "/"]), lower=st.booleans())
def test_the_documented_forms(slug: str, slash: str, safe: str, lower: bool) -> None:
    """With or without encoded slashes, in either case of the digits, with or without the last slash."""
    key = quote(f"/{slug}/legacy{slash}", safe=safe)
    assert registry(f"discover={key.lower() if lower else key}") == slug
    assert registry(f"x=1&discover={key}&y") == slug
    assert registry(f"discover={quote('/legacy' + slash, safe=safe)}") == ""


@given(query=st.text(st.characters(exclude_categories=())) | st.text("discover=&%2F5./lgacy", max_size=40))
@example("discover=/\ud800/legacy/")
@example("discover=%")
@example("discover=%ff/legacy")
def test_no_query_breaks_it(query: str) -> None:
    path = upload_path(query)
    assert path is None or path.startswith("/")


PIECES = [*"acme/legacy.-_%?#\\& \n\x00\u00e4", "%2F", "%2f", "%25", "%2e", "%00", "//"]
KEYS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(key=KEYS)
@example("/acme/legacy/")
@example("%2Facme%2Flegacy%2F")
def test_only_one_path_is_meant_by_a_key_that_is_taken(key: str) -> None:
    path = upload_path(f"discover={key}")
    if path is None:
        return
    assert not set(path) & set("%?#\\")
    assert path.isascii()
    assert path.isprintable()
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    # Any further decoding by another layer changes nothing.
    assert upload_path(f"discover={quote(path, safe='')}") == path


@pytest.mark.parametrize(
    "query",
    [
        "",
        "discover",
        "discover=",
        "Discover=/a/legacy/",
        "discover=/a/legacy/&discover=/a/legacy/",
        "discover=/a/legacy/&discover=",
        "discover=a/legacy/",
        "discover=/",
        "discover=//",
        "discover=//legacy/",
        "discover=/a//legacy/",
        "discover=/a/legacy//",
        "discover=/./legacy/",
        "discover=/../legacy/",
        "discover=/a/../legacy/",
        "discover=%2Fa%2F%2E%2E%2Flegacy",
        "discover=%252Fa%252Flegacy%252F",
        "discover=%25",
        "discover=%2",
        "discover=%zz",
        "discover=/a%00/legacy/",
        "discover=/a%0a/legacy/",
        "discover=/%C3%A4/legacy/",
        "discover=/\u00e4/legacy/",
        "discover=/a/legacy/?x",
        "discover=/a/legacy/#x",
        "discover=/a%5Clegacy/",
        "discover=https://pkgs.example.com/a/legacy/",
        "discover=/" + "a" * KEY_MAX_CHARACTERS,
    ],
)
def test_refused_keys(query: str) -> None:
    assert upload_path(query) is None


@pytest.mark.parametrize(
    "path", ["/a/", "/a/simple/", "/a/b/legacy/", "/a/legacy/x", "/legacy/a", "/LEGACY/", "/a/legacy.", "/a"]
)
def test_paths_of_no_upload(path: str) -> None:
    assert registry_of_path(path) is None


@given(slug=st.text("acme-_.LEGACY+ ", min_size=1, max_size=8))
def test_what_is_no_slug_is_found_as_no_registry(slug: str) -> None:
    """The answer is looked up among existing slugs, so anything that is not one is unknown; nothing is normalised."""
    found = registry(f"discover={quote(f'/{slug}/legacy/', safe='')}")
    assert found in (None, slug)
    if found is not None and found != found.lower():
        with pytest.raises(Rejected):
            parse_slug(found)
