"""Changes of single keys of a registry, by the rules of the trust file."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core.policy import Policy
from mintmark.core.records import Registry
from mintmark.core.trust import Host, parse_registry
from mintmark.core.trust_change import changed, written
from mintmark.core.trust_keys import REGISTRY_KEYS
from support.refusals import refusal

HOST = Host("pkgs.example.com", "mintmark_pkgs_example_com")
COMPLETE = Path(__file__).parent.parent / "vectors" / "trust" / "complete.toml"
PLAIN = replace(parse_registry("acme", {}, HOST), id=7)


def complete() -> Registry:
    """A registry in which no key has its default."""
    entry = tomllib.loads(COMPLETE.read_text(encoding="utf-8"))["registry"]["acme"]
    return parse_registry("acme", {key: value for key, value in entry.items() if key in REGISTRY_KEYS}, HOST)


@pytest.mark.parametrize("registry", [PLAIN, complete()])
def test_what_is_written_is_read_as_the_same_registry(registry: Registry) -> None:
    settings = {key: value for key, value in written(registry).items() if value is not None}
    assert list(written(registry)) == list(REGISTRY_KEYS)
    assert replace(parse_registry("acme", settings, HOST), id=registry.id) == registry
    assert changed(registry, {}, HOST) == registry


def test_each_type_of_value() -> None:
    given = {"title": "a = b", "private": "false", "releases-limit": "5", "projects": "acme-*, tools"}
    assert changed(PLAIN, given, HOST) == replace(
        PLAIN, title="a = b", private=False, policy=Policy(projects=("acme-*", "tools"), releases_limit=5)
    )


def test_every_key_goes_back_to_its_default() -> None:
    assert changed(complete(), dict.fromkeys(REGISTRY_KEYS, ""), HOST) == replace(PLAIN, id=0)


@given(st.sampled_from([*REGISTRY_KEYS, "colour", ""]), st.text(max_size=40))
def test_never_anything_but_a_registry_or_a_refusal(key: str, text: str) -> None:
    refused = refusal(lambda: changed(PLAIN, {key: text}, HOST))
    assert refused is None or (refused.code.name == "invalid-trust" and refused.hint)
