"""The report card of an issuer: keys, names, and that nothing an issuer sends can break it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from mintmark.core.issuer_keys_report import report_on_keys
from mintmark.core.issuer_probe import Answer, Conditions, Kind, Probe, Tls, Trouble
from mintmark.core.issuer_report import Report, difference_of, report_on
from mintmark.core.issuer_snippet import as_command, as_toml, trust_entry
from mintmark.core.provider_guess import guess
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.report_card import Grade, Line, worst

URL = "https://gitlab.example.com"
NOW = 1_800_000_000.0
EC = ECKey.generate_key("P-256", {"kid": "one"})
RSA = RSAKey.generate_key(2048, {"kid": "two"})
# A modulus of 1024 bits. The library warns when it makes or reads such a key, so none is made.
WEAK: dict[str, object] = {"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(b"\xff" * 128).decode().rstrip("=")}


def public(key: Any, **more: object) -> dict[str, object]:
    members = {**key.as_dict(private=False), **more}
    return {name: value for name, value in members.items() if value is not None}


def lines_of(*keys: object) -> dict[str, Line]:
    return {line.topic: line for line in report_on_keys(json.dumps({"keys": keys}).encode()).lines}


def probe(discovery: dict[str, object] | None = None, *keys: object, **more: Any) -> Probe:
    document = {"issuer": URL, "jwks_uri": f"{URL}/keys", **(discovery or {})}
    keys = keys or (public(RSA, use="sig", alg="RS256"),)
    return Probe(
        more.pop("conditions", Conditions(URL)),
        Answer(f"{URL}/x", json.dumps(document).encode(), 20, served_at=more.pop("served_at", NOW)),
        Answer(f"{URL}/keys", json.dumps({"keys": keys}).encode(), 20, cache_control="public, max-age=60"),
        tls=Tls("TLSv1.3", "An authority", NOW + 90 * 86_400),
        **more,
    )


def by_topic(report: Report) -> dict[str, Line]:
    return {line.topic: line for line in report.lines}


# -- keys -------------------------------------------------------------------------------------------------------------


def test_good_keys() -> None:
    found = lines_of(public(EC, use="sig", alg="ES256"), public(RSA, use="sig", alg="RS256"))
    assert {line.grade for line in found.values()} == {Grade.OK}
    assert found["keys"].sentence == "2 usable: 1 RSA with 2048 bits, 1 on the curve P-256."
    okp = report_on_keys(json.dumps({"keys": [public(OKPKey.generate_key("Ed25519"))]}).encode())
    assert okp.algorithms == {"EdDSA"}


KEYS: list[tuple[list[dict[str, object]], str, Grade, str]] = [
    ([], "keys", Grade.BAD, "The key set is empty."),
    ([WEAK], "unusable key", Grade.BAD, "1024 bits is too weak"),
    ([WEAK, public(EC)], "unusable key", Grade.WARNING, "1024 bits is too weak"),
    ([public(EC, use="enc"), public(RSA)], "unusable key", Grade.WARNING, "use is not sig"),
    ([public(EC, alg="HS256"), public(RSA)], "unusable key", Grade.WARNING, "fits no allowed algorithm"),
    ([public(EC), public(RSA, kid=None)], "kid", Grade.WARNING, "1 of 2 keys have no kid"),
    ([public(EC), public(RSA, kid="one")], "kid", Grade.WARNING, "share a kid"),
    ([public(EC, kid=None)], "kid", Grade.NOTE, "only key has no kid"),
    ([public(EC, use="sig")], "use and alg", Grade.NOTE, "do not declare alg"),
    ([public(EC), public(RSA)], "use and alg", Grade.NOTE, "2 of 2 keys do not declare use"),
    ([{**EC.as_dict(private=True)}], "secret keys", Grade.BAD, "publishes secret parts of key 1 ('one')"),
    ([{**OctKey.generate_key(256).as_dict(private=True)}, public(EC)], "secret keys", Grade.BAD, "secret parts"),
    ([public(EC, x5c=["MIIB"])], "certificates of keys", Grade.NOTE, "ignored"),
]


@pytest.mark.parametrize(("keys", "topic", "grade", "sentence"), KEYS, ids=[each[3][:25] for each in KEYS])
def test_keys_that_are_not_good(keys: list[dict[str, object]], topic: str, grade: Grade, sentence: str) -> None:
    line = lines_of(*keys)[topic]
    assert line.grade is grade
    assert sentence in line.sentence.replace("key does not", "keys do not").replace("The key does", "1 of 1 keys do")


@pytest.mark.parametrize("document", [b"{", b"[]", b'{"keys": 5}', b'{"keys": [], "keys": []}', b" " * 600_000])
def test_what_is_no_key_set(document: bytes) -> None:
    (line,) = report_on_keys(document).lines
    assert line.grade is Grade.BAD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(["issuer", "jwks_uri", "claims_supported", "id_token_signing_alg_values_supported", "x"])


@given(document=st.dictionaries(MEMBERS, JSON), keys=st.lists(JSON, max_size=4))
def test_no_document_breaks_the_report(document: dict[str, Any], keys: list[Any]) -> None:
    seen = probe(document, *keys)
    for provider in (None, BY_SLUG["gitlab"], BY_SLUG["generic"]):
        report = report_on(seen, provider, NOW)
        assert report.lines
        for line in report.lines:
            assert line.sentence.isprintable()
            assert bool(line.cure) or line.grade in {Grade.OK, Grade.NOTE}


# -- the documents ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "names no issuer"),
        (5, "names no issuer"),
        (f"{URL}/", "has a slash at the end, where the URL has none"),
        ("https://GitLab.example.com", "upper and lower case"),
        ("http://gitlab.example.com", "says 'http' where the URL says 'https'"),
        ("https://evil.example\x1b[2J", r"is of another issuer, 'https://evil.example\x1b[2J'"),
        (f" {URL}", "white space"),
    ],
)
def test_issuers_that_differ(said: object, words: str) -> None:
    assert words in difference_of(URL, said)
    report = report_on(probe({"issuer": said}), BY_SLUG["gitlab"], NOW)
    assert by_topic(report)["issuer"].grade is Grade.BAD
    assert not report.usable
    assert report.reachable


def test_a_good_issuer_is_usable() -> None:
    claims = sorted(BY_SLUG["gitlab"].known)
    seen = probe({"claims_supported": claims, "id_token_signing_alg_values_supported": ["RS256", "none"]})
    report = report_on(seen, BY_SLUG["gitlab"], NOW)
    assert worst(report.lines) in {Grade.OK, Grade.NOTE}
    assert report.usable
    assert report.algorithms == ("RS256",)


def test_what_a_discovery_document_says_of_itself() -> None:
    report = report_on(
        probe({"claims_supported": ["sub"], "jwks_uri": "https://cdn.example/keys"}), BY_SLUG["gitlab"], NOW
    )
    found = by_topic(report)
    assert found["claims"].grade is Grade.WARNING
    assert "no publisher would be found" in found["claims"].sentence
    assert found["immutable ids"].grade is Grade.WARNING
    assert "another host, 'cdn.example'" in found["jwks_uri"].sentence
    assert "lists none" in found["algorithms"].sentence
    only_hmac = report_on(probe({"id_token_signing_alg_values_supported": ["HS256"]}), BY_SLUG["gitlab"], NOW)
    assert by_topic(only_hmac)["algorithms"].grade is Grade.BAD


def test_the_way_there() -> None:
    found = by_topic(report_on(probe(served_at=NOW - 120), BY_SLUG["gitlab"], NOW))
    assert found["clock"].sentence == "This machine's clock is 120 seconds ahead of the issuer's."
    assert by_topic(report_on(probe(), BY_SLUG["gitlab"], NOW + 80 * 86_400))["TLS"].grade is Grade.WARNING
    assert "networks is needed" in by_topic(report_on(probe(private=("10.0.0.1",)), None, NOW))["network"].sentence
    plain = Conditions("http://gitlab.example.com", allow_http=True)
    assert by_topic(report_on(probe(conditions=plain), None, NOW))["TLS"].grade is Grade.WARNING
    unneeded = Conditions(URL, networks=("10.0.0.0/8",))
    assert "public internet" in by_topic(report_on(probe(conditions=unneeded), None, NOW))["network"].sentence
    gone = Probe(Conditions(URL), trouble=Trouble(Kind.UNREACHABLE, "discovery", "the issuer took too long"))
    assert not report_on(gone, None, NOW).reachable


def test_an_issuer_inside_a_cluster() -> None:
    inside = Conditions("https://kubernetes.default.svc.cluster.local")
    seen = probe({"issuer": inside.url}, conditions=inside)
    assert by_topic(report_on(seen, None, NOW))["cluster"].grade is Grade.WARNING
    assert report_on(seen, None, NOW).provider is BY_SLUG["kubernetes"]
    pinned = Conditions(inside.url, jwks=json.dumps({"keys": [public(RSA)]}))
    assert by_topic(report_on(Probe(pinned), BY_SLUG["kubernetes"], NOW))["cluster"].grade is Grade.NOTE


def test_a_provider_whose_jobs_cannot_ask_for_our_audience() -> None:
    fixed = [each for each in PROVIDERS if each.audience == "fixed"]
    for provider in fixed:
        seen = probe(conditions=Conditions(provider.issuer.examples[0]))
        assert by_topic(report_on(seen, provider, NOW))["audience"].grade is Grade.WARNING
    assert fixed


# -- guessing and registering -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "slug"),
    [
        ("https://token.actions.githubusercontent.com", "github"),
        ("https://gitlab.com", "gitlab"),
        ("https://agent.buildkite.com", "buildkite"),
        ("https://codeberg.org/api/actions", "forgejo"),
        ("https://vault.acme.example:8200/v1/identity/oidc", "vault"),
        ("https://jenkins.acme.example/oidc", "jenkins"),
        ("https://oidc.codefresh.io", "codefresh"),
    ],
)
def test_guesses(url: str, slug: str) -> None:
    assert guess(url) is BY_SLUG[slug]


def test_no_guess() -> None:
    assert guess("https://ci.example.com") is None
    assert guess("no url") is None
    assert guess("https://ci.example.com", BY_SLUG["gitlab"].known) is BY_SLUG["gitlab"]


@given(
    url=st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()),
    ca_file=st.text(max_size=20).filter(lambda text: text.isprintable()),
)
def test_what_registers_it_is_one_command_and_one_table(url: str, ca_file: str) -> None:
    import shlex
    import tomllib

    conditions = Conditions(url, ("10.0.0.0/8",), True, ca_file=ca_file, jwks_file="keys.json")
    entry = trust_entry(conditions, "gitlab", ("ES256",))
    words = shlex.split(as_command(entry).replace("\\\n", ""))
    assert words[:5] == ["mintmark", "issuer", "add", "REGISTRY", "gitlab"]
    assert words[words.index("--url") + 1] == url
    (table,) = tomllib.loads(as_toml(entry))["registry"]["REGISTRY"]["issuer"].values()
    assert table == dict(entry)
