"""`mintmark idp`: a token alone on standard output, nothing private anywhere, and a cure for every refusal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from mintmark.core import jwt
from mintmark.core.jwks import parse_key_set
from mintmark.core.jwt import TokenRules
from mintmark.core.trust import Host, parse_trust
from support.command import Shell

ISSUER = "https://identity.acme.example"
ASK = ("--subject", "release:acme-widget", "--audience", "mintmark_acme")


@pytest.fixture
def idp(shell: Shell) -> Shell:
    """A shell with an identity provider in the folder `idp`."""
    shell.ok("idp", "init", folder(shell), "--issuer", ISSUER)
    return shell


def folder(shell: Shell) -> str:
    return str(shell.folder / "idp")


def private_lines(shell: Shell) -> list[str]:
    """What nobody may ever see."""
    return [
        line
        for path in Path(folder(shell)).glob("key-*.pem")
        for line in path.read_text().splitlines()
        if not line.startswith("---")
    ]


def test_init_says_what_to_do_next(shell: Shell) -> None:
    done = shell.ok("idp", "init", folder(shell), "--issuer", ISSUER, "--algorithm", "EdDSA")
    assert not done.err
    assert not any(line in done.out for line in private_lines(shell))
    # What it prints is a trust file.
    printed = done.out[done.out.index("[registry") : done.out.index("\nThen:")]
    (shell.folder / "jwks.json").write_bytes(Path(folder(shell), "jwks.json").read_bytes())
    host = Host("localhost", "mintmark_localhost")
    entry = "[registry.acme]\n" + printed
    (wanted,) = parse_trust(tomllib.loads(entry), host, lambda name: (shell.folder / name).read_text())
    assert wanted.issuers[0].url == ISSUER
    assert wanted.issuers[0].algorithms == ("EdDSA",)
    assert wanted.publishers[0].publisher.project == "acme-widget"


def test_a_token_alone(idp: Shell) -> None:
    before = int(time.time())
    done = idp.ok("idp", "sign", folder(idp), *ASK, "--claim", "environment=release", "--claim", "run:=17")
    assert done.err == ""
    assert done.out.count("\n") == 1
    keys = parse_key_set(idp.ok("idp", "keys", folder(idp)).out.encode())
    token = jwt.read(done.out.strip())
    rules = TokenRules(frozenset({"ES256"}), 300)
    claims = jwt.verify(token, keys, rules, "mintmark_acme", time.time()).claims
    assert set(claims) == {"iss", "sub", "aud", "iat", "nbf", "exp", "jti", "environment", "run"}
    assert (claims["iss"], claims["sub"], claims["run"]) == (ISSUER, "release:acme-widget", 17)
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 300
    assert token.header["kid"] == keys.keys[0].kid


def test_every_token_is_another_one(idp: Shell) -> None:
    found = {jwt.read(idp.ok("idp", "sign", folder(idp), *ASK).out.strip()).claims["jti"] for _ in range(5)}
    assert len(found) == 5


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        (("--claim", "iss=https://other.example"), 2, "'iss' cannot be given"),
        (("--claim", "exp:=9999999999"), 2, "'exp' cannot be given"),
        (("--claim", "x"), 2, "is no claim"),
        (("--claim", "x:=yes"), 2, "not strict JSON"),
        (("--lifetime", "61m"), 2, "cannot live 3660 seconds"),
        (("--lifetime", "1d"), 2, "cannot live"),
        (("--lifetime", "0m"), 2, "no duration"),
        (("--lifetime", "300"), 2, "no duration"),
        (("--subject", ""), 2, "no subject"),
        (("--audience", "a\nb"), 2, "no audience"),
    ],
)
def test_refusals(idp: Shell, more: tuple[str, ...], code: int, reason: str) -> None:
    done = idp("idp", "sign", folder(idp), *ASK, *more)
    assert (done.code, done.out) == (code, "")
    assert reason in done.err


def test_the_longest_life(idp: Shell) -> None:
    token = jwt.read(idp.ok("idp", "sign", folder(idp), *ASK, "--lifetime", "1h").out.strip())
    assert token.claims["exp"] - token.claims["iat"] == 3600


def test_no_key_in_any_message(idp: Shell) -> None:
    """Nothing that goes wrong with a key file shows what is in it."""
    secret = private_lines(idp)
    (key,) = Path(folder(idp)).glob("key-*.pem")
    whole = key.read_text()
    key.chmod(0o644)
    told = [idp("idp", "sign", folder(idp), *ASK)]
    key.chmod(0o600)
    for content in (whole.replace("PRIVATE", "SECRET"), whole[:-40], whole.replace("-----BEGIN", "BEGIN")):
        key.write_text(content)
        told.append(idp("idp", "sign", folder(idp), *ASK))
    told.append(idp("idp", "init", folder(idp), "--issuer", ISSUER))
    for done in told:
        assert done.code == 78, done
        assert "What to do:" in done.err
        assert not any(line in done.out + done.err for line in secret)


@pytest.mark.parametrize("show", [False, True])
def test_a_terminal_gets_no_token_unless_asked(idp: Shell, *, show: bool) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "mintmark", "idp", "sign", folder(idp), *ASK, *(["--show"] if show else [])]
    try:
        done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        os.set_blocking(ours, False)
        printed = os.read(ours, 65_536).decode() if show else ""
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == (0 if show else 2), done.stderr
    if show:
        assert jwt.read(printed.strip()).claims["aud"] == "mintmark_acme"
    else:
        assert "would stay in this terminal" in done.stderr


def test_rotate(idp: Shell) -> None:
    first = jwt.read(idp.ok("idp", "sign", folder(idp), *ASK).out.strip()).header["kid"]
    done = idp.ok("idp", "rotate", folder(idp), "--begin", "1d", "--keep", "2h")
    assert "mintmark apply" in done.out
    published = [key["kid"] for key in idp.ok("idp", "keys", folder(idp)).json["keys"]]
    assert published[0] == first
    assert len(published) == 2
    assert jwt.read(idp.ok("idp", "sign", folder(idp), *ASK).out.strip()).header["kid"] == first
    idp.ok("idp", "rotate", folder(idp), "--keep", "none")
    assert len(idp.ok("idp", "keys", folder(idp)).json["keys"]) == 1
    assert "too long" in idp("idp", "rotate", folder(idp), "--keep", "91d").err
    assert "Leave --key-label out" in idp("idp", "rotate", folder(idp), "--key-label", "x").err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("--issuer", "http://identity.acme.example"), 2, "is no issuer"),
        (("--issuer", ISSUER, "--algorithm", "HS256"), 2, "HS256"),
        (("--issuer", ISSUER, "--key-label", "x"), 2, "Add --pkcs11"),
        (("--issuer", ISSUER, "--pkcs11", "/no/module.so", "--token-label", "x"), 2, "no label of a key"),
        (("--issuer", ISSUER, "--pkcs11", "/no/module.so", "--key-label", "x"), 2, "no label of a token"),
        # With the package the module is missing, without it the package.
        (("--issuer", ISSUER, "--pkcs11", "/no/module.so", "--token-label", "x", "--key-label", "y"), 78, "What to do"),
    ],
)
def test_what_cannot_be_made(shell: Shell, words: tuple[str, ...], code: int, reason: str) -> None:
    shell.variables["MINTMARK_PKCS11_PIN"] = "1234"
    done = shell("idp", "init", folder(shell), *words)
    assert done.code == code, done
    assert reason in done.err
    assert not Path(folder(shell)).exists()


def test_a_folder_that_is_not_there(shell: Shell) -> None:
    for words in (("sign", *ASK), ("rotate",), ("keys",)):
        done = shell("idp", words[0], folder(shell), *words[1:])
        assert (done.code, done.out) == (78, "")
        assert "mintmark idp init" in done.err
