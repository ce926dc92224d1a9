"""The folder of an identity provider of one's own: private from the start, never replaced, whole after a rotation."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.core import jwt
from mintmark.core.errors import Misconfigured, Rejected
from mintmark.core.jwks import parse_key_set
from mintmark.core.jwt import TokenRules
from mintmark.idp import profile as profile_module
from mintmark.idp.claims import claims_of
from mintmark.idp.folder import NewKey, create, load, rotate, signing_key
from mintmark.idp.profile import ALGORITHMS, KEYS_MAX, Hardware, KeyEntry, Profile, parse_issuer
from mintmark.idp.signing_key import FileKey, sign_token

ISSUER = "https://identity.acme.example"
NOW = 1_795_000_000.0


class Faulty:
    """A device that signs something else than it was given."""

    def __init__(self, good: FileKey) -> None:
        self.algorithm, self.public = good.algorithm, good.public
        self._good = good

    def sign(self, data: bytes) -> bytes:
        return self._good.sign(data + b"x")


def no_pin() -> str:
    raise AssertionError("nothing here is in hardware")


NEW = NewKey(no_pin)


def made(folder: Path, algorithm: str = "ES256") -> Profile:
    return create(folder, ISSUER, algorithm, None, NEW, NOW)


def token_of(folder: Path, now: float = NOW, more: Mapping[str, object] | None = None) -> str:
    profile = load(folder)
    claims = claims_of(profile, more or {}, subject="s", audience="a", lifetime_seconds=300, now=now, jti="j")
    with signing_key(folder, profile, no_pin, now) as key:
        return sign_token(profile, key, claims, now)


def kid_of_token(token: str) -> str:
    return str(jwt.read(token).header["kid"])


def kids(folder: Path, now: float = NOW) -> list[str]:
    return [key["kid"] for key in json.loads(load(folder).key_set(now))["keys"]]


def problem(folder: Path) -> str:
    with pytest.raises(Misconfigured) as caught:
        token_of(folder)
    return f"{caught.value.setting}: {caught.value.problem}"


def key_file(folder: Path) -> Path:
    (found,) = folder.glob("key-*.pem")
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_its_tokens_are_what_an_index_takes(tmp_path: Path, algorithm: str) -> None:
    made(tmp_path / "idp", algorithm)
    token = token_of(tmp_path / "idp", more={"environment": "release"})
    keys = parse_key_set((tmp_path / "idp" / "jwks.json").read_bytes())
    assert not keys.skipped
    verified = jwt.verify(jwt.read(token), keys, TokenRules(frozenset({algorithm}), 300), "a", NOW)
    assert verified.claims["environment"] == "release"
    assert jwt.read(token).header == {"alg": algorithm, "typ": "JWT", "kid": keys.keys[0].kid}


def test_private_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made(tmp_path / "idp")
    finally:
        os.umask(before)
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "idp").iterdir()}
    assert modes == {".pem": 0o600, ".toml": 0o644, ".json": 0o644}
    assert stat.S_IMODE((tmp_path / "idp").stat().st_mode) == 0o700
    private = key_file(tmp_path / "idp").read_text()
    assert "PRIVATE KEY" in private
    for name in ("idp.toml", "jwks.json"):
        text = (tmp_path / "idp" / name).read_text()
        assert '"d"' not in text
        assert "PRIVATE" not in text


def test_nothing_is_replaced(tmp_path: Path) -> None:
    made(tmp_path / "idp")
    before = {path: path.read_bytes() for path in (tmp_path / "idp").iterdir()}
    with pytest.raises(Misconfigured, match="not empty"):
        made(tmp_path / "idp")
    assert {path: path.read_bytes() for path in (tmp_path / "idp").iterdir()} == before
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("file", "link", "open", "no/parent"):
        with pytest.raises(Misconfigured):
            made(tmp_path / name)
    (tmp_path / "empty").mkdir(mode=0o700)
    made(tmp_path / "empty")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path, mode: int) -> None:
    made(tmp_path / "idp")
    key_file(tmp_path / "idp").chmod(mode)
    assert "permissions 600" in problem(tmp_path / "idp")
    key_file(tmp_path / "idp").chmod(0o400)
    assert token_of(tmp_path / "idp")


def test_links_are_not_followed(tmp_path: Path) -> None:
    made(tmp_path / "idp")
    key, moved = key_file(tmp_path / "idp"), tmp_path / "moved.pem"
    key.rename(moved)
    assert "There is no" in problem(tmp_path / "idp")
    key.symlink_to(moved)
    assert "cannot be read" in problem(tmp_path / "idp")
    key.unlink()
    os.mkfifo(key, 0o600)
    assert "a file of yours" in problem(tmp_path / "idp")
    key.unlink()
    moved.rename(key)
    (tmp_path / "link").symlink_to(tmp_path / "idp")
    assert "a folder of yours" in problem(tmp_path / "link")
    assert "There is no" in problem(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "mode"), [("idp.toml", 0o664), (".", 0o777), (".", 0o720)])
def test_what_others_can_change_is_not_believed(tmp_path: Path, name: str, mode: int) -> None:
    made(tmp_path / "idp")
    (tmp_path / "idp" / name).chmod(mode)
    assert "of yours" in problem(tmp_path / "idp")


@pytest.mark.parametrize("content", ["", "x", "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_not_quoted(tmp_path: Path, content: str) -> None:
    made(tmp_path / "idp")
    key_file(tmp_path / "idp").write_text(content)
    assert problem(tmp_path / "idp") == "idp key: The key file holds no private key for ES256."


def test_a_key_of_another_provider_signs_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        made(tmp_path / name)
    key_file(tmp_path / "one").write_bytes(key_file(tmp_path / "two").read_bytes())
    assert "not valid with the published key set" in problem(tmp_path / "one")


def test_a_faulty_device_gives_nothing_away(tmp_path: Path) -> None:
    profile = made(tmp_path / "idp")
    good = FileKey.load("ES256", key_file(tmp_path / "idp").read_bytes())
    claims = claims_of(profile, {}, subject="s", audience="a", lifetime_seconds=300, now=NOW, jti="j")
    with pytest.raises(Misconfigured, match="device may be faulty"):
        sign_token(profile, Faulty(good), claims, NOW)


def test_a_token_that_no_index_takes_is_not_made(tmp_path: Path) -> None:
    made(tmp_path / "idp")
    with pytest.raises(Rejected, match="longer than 16384"):
        token_of(tmp_path / "idp", more={f"c{number}": "x" * 4096 for number in range(4)})


def test_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "idp"
    made(folder)
    first, file = kid_of_token(token_of(folder)), key_file(folder)
    rotate(folder, NEW, begins=int(NOW), keep_seconds=7200, now=NOW)
    second = kid_of_token(token_of(folder))
    assert second != first
    assert kids(folder, NOW + 7199) == [first, second]
    assert kids(folder, NOW + 7200) == [second]
    assert not file.exists(), "a key that signs no more is not kept"
    assert len(parse_key_set((folder / "jwks.json").read_bytes()).keys) == 2
    rotate(folder, NEW, begins=int(NOW) + 7200, keep_seconds=0, now=NOW + 7200)
    assert first not in (folder / "idp.toml").read_text()


def test_a_key_that_begins_later(tmp_path: Path) -> None:
    folder = tmp_path / "idp"
    made(folder)
    first = kid_of_token(token_of(folder))
    profile = rotate(folder, NEW, begins=int(NOW) + 3600, keep_seconds=600, now=NOW)
    second = profile.keys[-1].kid
    assert kids(folder) == [first, second], "indexes can learn it before it is used"
    assert kid_of_token(token_of(folder, NOW + 3599)) == first
    assert kid_of_token(token_of(folder, NOW + 3600)) == second
    # Before it has begun, the old one falls into wrong hands.
    third = rotate(folder, NEW, begins=int(NOW) + 60, keep_seconds=0, now=NOW + 60).keys[-1].kid
    assert kids(folder, NOW + 60) == [third]
    assert kid_of_token(token_of(folder, NOW + 7200)) == third
    assert len(list(folder.glob("key-*.pem"))) == 1


def test_keys_are_few(tmp_path: Path) -> None:
    made(tmp_path / "idp", "EdDSA")
    for _ in range(KEYS_MAX - 1):
        rotate(tmp_path / "idp", NEW, begins=int(NOW), keep_seconds=60, now=NOW)
    with pytest.raises(Rejected, match=f"{KEYS_MAX} keys"):
        rotate(tmp_path / "idp", NEW, begins=int(NOW), keep_seconds=60, now=NOW)
    assert len(rotate(tmp_path / "idp", NEW, begins=int(NOW) + 60, keep_seconds=60, now=NOW + 60).keys) == 2


@pytest.mark.parametrize(
    "url",
    [
        "", "identity.acme.example", "http://identity.acme.example", "https://", "https://Acme.example",
        "https://acme.example/", "https://acme.example?x", "https://acme.example#x", "https://a@acme.example",
        "https://acme.example\n", "https://acme.example/ö", "https://acme.example/" + "x" * 500,
    ],
)  # fmt: skip
def test_bad_issuers(url: str) -> None:
    with pytest.raises(Rejected, match="is no issuer"):
        parse_issuer(url)


# -- idp.toml ---------------------------------------------------------------------------------------------------------

LABELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(LABELS, LABELS, LABELS, st.integers(0, 2**40), st.none() | st.integers(0, 2**40))
def test_what_is_written_is_read(module: str, token: str, label: str, begins: int, until: int | None) -> None:
    key = KeyEntry("k", {"kty": "EC", "x": "a"}, begins, until, label=label)
    profile = Profile(ISSUER, "RS256", (key,), Hardware(module, token), 600)
    assert profile_module.read(profile_module.write(profile)) == profile


GOOD = profile_module.write(Profile(ISSUER, "ES256", (KeyEntry("k", {"kty": "EC"}, 0, file="key-k.pem"),)))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("issuer", "[", "is no TOML"),
        ("issuer =", "emitter =", "unknown key"),
        ("ES256", "HS256", "the algorithm"),
        ("3600", "3601", "max-lifetime-seconds"),
        ("3600", "true", "max-lifetime-seconds"),
        ("https:", "http:", "no issuer"),
        ('kid = "k"\nmax', 'kid = "l"\nmax', "kid"),
        ("[[key]]", "[key]", "1 to"),
        ("key-k.pem", "../key-k.pem", "no name"),
        ("key-k.pem", "idp.toml", "no name"),
        ("signs-from = 0", "signs-from = -1", "signs-from"),
        ("signs-from = 0", "signs-from = 0\nlabel = 'x'", "is not"),
        ("{ kty", "{ d", "no public key"),
        ('"EC"', "5", "no public key"),
        ("[[key]]", "[pkcs11]\nmodule = 'x'\n\n[[key]]", "module and token-label"),
    ],
)
def test_a_profile_that_was_changed_is_refused(old: str, new: str, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(Misconfigured, match=reason):
        profile_module.read(GOOD.replace(old, new, 1))


@given(st.text())
def test_any_text_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Misconfigured):
        profile_module.read(text)


def test_the_good_one_is_good() -> None:
    assert profile_module.read(GOOD).keys[0].kid == "k"
    assert tomllib.loads(GOOD)["kid"] == "k"
