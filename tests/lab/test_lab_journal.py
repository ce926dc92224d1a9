"""The journal: what is kept, how much of it, and that nothing kept opens anything."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mintmark.core.credentials import MINTED, compose
from mintmark.lab.journal import PATH_MAX_CHARACTERS, TEXT_MAX_CHARACTERS, Journal
from mintmark.lab.redaction import credential_shown, digest_shown, identity_shown, path_shown, posted_token, scrub
from support.clock import FrozenClock

# Long enough not to be a part of something else by chance.
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=12, max_size=60).filter(
    lambda text: text == text.strip() and " " not in text
)
PLAIN_SECRETS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", min_size=12, max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token_of(claims: object, signature: str = "c2lnbmF0dXJl") -> str:
    return f"{segment({'alg': 'RS256'})}.{segment(claims)}.{signature}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def journal(**rest: object) -> Journal:
    return Journal(FrozenClock(), **rest)  # type: ignore[arg-type]


def write(to: Journal, count: int = 1, **rest: object) -> None:
    for _ in range(count):
        to.write(server="index", action="mint", method="POST", **rest)  # type: ignore[arg-type]


# -- the ring ---------------------------------------------------------------------------------------------------------


def test_an_entry_says_what_it_was_given() -> None:
    clock = FrozenClock()
    entry = Journal(clock).write(
        server="index", action="mint", method="POST", host="localhost", status=422, ci="gitlab"
    )
    assert entry.facts() == {
        "number": 1,
        "at": clock.at,
        "server": "index",
        "action": "mint",
        "method": "POST",
        "host": "localhost",
        "path": "",
        "status": 422,
        "reason": "",
        "fault": None,
        "ci": "gitlab",
        "user_agent": "",
        "accept": "",
        "content_type": "",
        "credential": None,
        "identity": None,
        "request_bytes": 0,
        "response_bytes": 0,
        "milliseconds": 0.0,
        "note": "",
    }


def test_after_gives_the_next_ones() -> None:
    kept = journal()
    write(kept, 5)
    assert [entry.number for entry in kept.after()] == [1, 2, 3, 4, 5]
    assert [entry.number for entry in kept.after(2)] == [3, 4, 5]
    assert [entry.number for entry in kept.after(1, limit=2)] == [2, 3]
    assert kept.after(5) == kept.after(99) == kept.after(0, limit=0) == kept.after(0, limit=-1) == []
    assert [entry.number for entry in kept.after(-7, limit=1)] == [1]


def test_only_the_newest_are_kept_and_numbers_are_never_used_again() -> None:
    kept = journal(entries_max=3)
    write(kept, 5)
    assert [entry.number for entry in kept.after()] == [3, 4, 5]
    assert [entry.number for entry in kept.after(1, limit=2)] == [3, 4]
    assert [entry.number for entry in kept.after(4)] == [5]
    kept.clear()
    assert kept.after() == []
    write(kept)
    assert [entry.number for entry in kept.after(5)] == [6]
    assert kept.last == 6


@given(st.lists(st.integers(0, 12), max_size=6), st.integers(-3, 40), st.integers(-1, 12))
def test_after_is_what_a_list_would_give(batches: list[int], number: int, limit: int) -> None:
    kept, model = journal(entries_max=7), list[int]()
    for batch in batches:
        if batch == 0:
            kept.clear()
            model.clear()
        write(kept, batch)
        model = [*model, *range(kept.last - batch + 1, kept.last + 1)][-7:]
    assert [entry.number for entry in kept.after(number, limit)] == [n for n in model if n > number][: max(0, limit)]


def test_texts_are_bounded() -> None:
    kept = journal()
    write(kept, path="/" + "p" * 5000, user_agent="u" * 5000, identity={"aud": ["a" * 5000] * 100, "sub": "s" * 5000})
    [entry] = kept.after()
    assert len(entry.path) == PATH_MAX_CHARACTERS
    assert len(entry.user_agent) == TEXT_MAX_CHARACTERS
    assert len(json.dumps(entry.facts())) < 2 * PATH_MAX_CHARACTERS + 30 * TEXT_MAX_CHARACTERS


@given(st.text(st.characters()), JSON)
def test_every_entry_can_be_written_out(text: str, value: object) -> None:
    kept = journal()
    write(kept, path=text, reason=text, note=text, identity=identity_shown(token_of({"sub": value, "aud": value})))
    [entry] = kept.after()
    assert json.loads(json.dumps(entry.facts(), ensure_ascii=False, allow_nan=False).encode("utf-8"))


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_has_every_entry_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    kept = journal(path=path, entries_max=1)
    write(kept, 3, path="/é")
    kept.clear()
    assert [json.loads(line)["number"] for line in path.read_text(encoding="ascii").splitlines()] == [1, 2, 3]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept.close()
    kept.close()
    write(kept)
    assert len(kept.after()) == 1
    assert path.read_text(encoding="ascii").count("\n") == 3


def test_the_file_stops_at_its_bound_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    kept = journal(path=path, file_max_bytes=4000)
    write(kept, 100)
    assert path.stat().st_size <= 4000
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert lines[-1] == {"note": f"This file is full: it ends before entry {len(lines)}."}
    assert [line["number"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert len(lines) > 5
    assert len(kept.after()) == 100
    # What is there already counts.
    again = journal(path=path, file_max_bytes=4000)
    write(again, 100)
    assert path.stat().st_size <= 4000 + 200


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        journal(path=tmp_path / "link")


def test_a_full_disk_stops_the_file_only() -> None:
    kept = journal(path=Path("/dev/full"))
    write(kept, 3)
    assert len(kept.after()) == 3
    kept.close()


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (None, None),
        ("", None),
        (basic("__token__", "secret"), "basic __token__ " + digest_shown("secret")),
        (basic("acme", "secret"), "basic acme " + digest_shown("secret")),
        (basic("x" * 40, "secret"), "basic - " + digest_shown("secret")),
        (basic("mysecret", "secret"), "basic - " + digest_shown("secret")),
        (basic("only-a-user", ""), "basic - " + digest_shown("only-a-user")),
        ("Basic !!!", "basic - " + digest_shown("!!!")),
        ("bearer abc", "bearer " + digest_shown("abc")),
        ("Bearer  abc ", "bearer " + digest_shown("abc")),
        ("Hunter2 abc", "other " + digest_shown("abc")),
        ("abc", "bare " + digest_shown("abc")),
    ],
)
def test_credentials(header: str | None, shown: str | None) -> None:
    assert credential_shown(header) == shown


def test_a_digest_is_eight_characters() -> None:
    assert digest_shown("secret") == "sha256:2bb80d53"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("/simple/", "/simple/"),
        ("/a?b=c&token=x&d=e", "/a?b=c&token=***&d=e"),
        ("/a?ID_TOKEN=x;client_secret=y;run=1", "/a?ID_TOKEN=***;client_secret=***;run=1"),
        ("/a?to%6ben=x", "/a?to%6ben=***"),
        ("/a?token", "/a?token"),
        ("/a?b=https://host/?token=d", "/a?b=***"),
        ("/a?b=c%3Ftoken%3Dd", "/a?b=***"),
        ("/.well-known/pytp?discover=https://u:p@host/legacy/", "/.well-known/pytp?discover=***"),
        ("/.well-known/pytp?discover=https%3A%2F%2Fu%3Ap%40host%2F", "/.well-known/pytp?discover=***"),
        (
            "/.well-known/pytp?discover=https%3A%2F%2Fhost%2Facme",
            "/.well-known/pytp?discover=https%3A%2F%2Fhost%2Facme",
        ),
        ("https://u:p@host/a?b=c", "/a?b=c"),
        ("/simple/pypi-attestations-and-more/", "/simple/pypi-attestations-and-more/"),
    ],
)
def test_paths(raw: str, shown: str) -> None:
    assert path_shown(raw) == shown


def test_what_looks_like_a_credential_is_hidden_anywhere() -> None:
    token = token_of({"iss": "https://gitlab.com"})
    minted = compose(MINTED, bytes(32))
    # The form of another index's tokens, put together here so that no scanner takes it for one.
    foreign = "pypi-" + "AgE" + "x" * 30
    kept = journal()
    for secret in (token, minted, foreign):
        assert secret not in scrub(f"({secret})")
        write(kept, path=f"/{secret}/", user_agent=secret, note=f"It said {secret}.", identity={"sub": secret})
    assert not [secret for secret in (token, minted, foreign) for e in kept.after() if secret in json.dumps(e.facts())]


@given(SECRETS, SECRETS, PLAIN_SECRETS)
def test_no_secret_is_kept(password: str, user: str, bearer: str) -> None:
    assume(bearer not in user)
    kept = journal()
    headers = [basic(user, password), basic("__token__", password), basic(password, ""), f"Bearer {bearer}", bearer]
    for header in headers:
        write(kept, credential=credential_shown(header))
    for name in ("token", "ID-Token", "client_secret", "PASSWORD", "api_key", "code", "access%5Ftoken"):
        write(kept, path=path_shown(f"/a?x=1&{name}={quote(password, safe='')}&y={2}"))
        write(kept, path=path_shown(f"/a?{name}={bearer}"))
    write(kept, path=path_shown(f"/a?discover=https://{bearer}:{bearer}@host/"))
    token = token_of({"iss": "i", "nonce": password, "sub": "s"}, bearer)
    write(kept, identity=identity_shown(token))
    text = "\n".join(json.dumps(entry.facts(), ensure_ascii=False) for entry in kept.after())
    hidden = {password, quote(password, safe=""), bearer, token, *(header.split(" ")[-1] for header in headers)}
    assert not [secret for secret in hidden if secret in text]


@given(st.binary(max_size=200))
def test_any_body_can_be_looked_at(body: bytes) -> None:
    token = posted_token(body)
    assert token is None or token.encode("utf-8", "surrogatepass")
    identity_shown(body.decode("latin-1"))
    path_shown(body.decode("latin-1"))
    credential_shown(body.decode("latin-1"))


def test_an_identity_token_is_told_by_its_digest_and_claims() -> None:
    claims = {"iss": "https://gitlab.com", "sub": "s", "aud": ["a", "b", 3], "jti": "j", "exp": 5, "email": "me"}
    token = token_of(claims)
    assert identity_shown(token) == {
        "digest": digest_shown(token),
        "iss": "https://gitlab.com",
        "sub": "s",
        "aud": ["a", "b"],
        "jti": "j",
        "exp": 5,
    }


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "a.é.c", f"x.{segment([1])}.y", token_of({"iss": {}, "exp": 1e99})]
)
def test_what_is_no_identity_token_has_a_digest_only(token: str) -> None:
    assert identity_shown(token) == {"digest": digest_shown(token)}


@given(JSON)
def test_only_a_string_named_token_is_posted(value: object) -> None:
    body = json.dumps({"token": value}).encode()
    assert posted_token(body) == (value if isinstance(value, str) else None)
    assert posted_token(json.dumps(value).encode()) is None or isinstance(value, dict)
