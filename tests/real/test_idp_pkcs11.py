"""Identity tokens signed by a key that never leaves its device: `mintmark idp` with SoftHSM, a token in software."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from mintmark.core.jwks import parse_key_set
from mintmark.core.jwt import TokenRules, read, verify
from mintmark.idp.profile import ALGORITHMS
from real.tools import need
from support.command import Done, Shell, shell_in

pytestmark = pytest.mark.real

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
PIN, OFFICER_PIN = "48151623", "42108151"
ISSUER = "https://identity.acme.example"


@dataclass
class Device:
    """A SoftHSM token of its own below a temporary folder."""

    shell: Shell
    module: str

    def init(self, name: str = "idp", *, algorithm: str = "ES256", key: str = "2026", token: str = "release") -> Done:
        return self.shell(
            "idp", "init", self.path(name), "--issuer", ISSUER, "--algorithm", algorithm,
            "--pkcs11", self.module, "--token-label", token, "--key-label", key,
        )  # fmt: skip

    def path(self, name: str = "idp") -> str:
        return str(self.shell.folder / name)

    def sign(self, name: str = "idp") -> Done:
        return self.shell("idp", "sign", self.path(name), "--subject", "release:widget", "--audience", "mintmark_x")

    def published(self, name: str = "idp") -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.shell.ok("idp", "keys", self.path(name)).json["keys"]
        return found


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    pytest.importorskip("pkcs11", reason="not installed: python-pkcs11")
    tool = need("softhsm2-util")["softhsm2-util"]
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None:
        pytest.skip("not installed: libsofthsm2.so")
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    # The module reads it in this process.
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    subprocess.run(
        [tool, "--init-token", "--free", "--label", "release", "--so-pin", OFFICER_PIN, "--pin", PIN],
        check=True,
        capture_output=True,
        env={**os.environ, "SOFTHSM2_CONF": str(config)},
    )
    shell = shell_in(tmp_path)
    shell.variables["MINTMARK_PKCS11_PIN"] = PIN
    # The library keeps a module's tokens as they were when it was loaded.
    import pkcs11

    pkcs11.unload(module)
    return Device(shell, module)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_that_an_index_takes(device: Device, algorithm: str) -> None:
    done = device.init(algorithm=algorithm)
    assert done.code == 0, done
    token = device.sign().out.strip()
    keys = parse_key_set(Path(device.path(), "jwks.json").read_bytes())
    assert not keys.skipped
    unverified = read(token)
    rules = TokenRules(frozenset({algorithm}), 300)
    verified = verify(unverified, keys, rules, "mintmark_x", unverified.claims["iat"])
    assert verified.claims["sub"] == "release:widget"


def test_nothing_private_is_in_the_folder(device: Device) -> None:
    device.init()
    assert sorted(path.name for path in Path(device.path()).iterdir()) == ["idp.toml", "jwks.json"]
    text = Path(device.path(), "idp.toml").read_text()
    assert PIN not in text
    assert "PRIVATE" not in text


def test_a_key_made_there_cannot_be_read_out(device: Device) -> None:
    device.init()
    import pkcs11

    token = pkcs11.lib(device.module).get_token(token_label="release")
    with token.open(user_pin=PIN) as session:
        key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label="2026")
        assert key[pkcs11.Attribute.SENSITIVE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]
        with pytest.raises(pkcs11.PKCS11Error):
            key[pkcs11.Attribute.VALUE]


def test_an_existing_key_is_used(device: Device) -> None:
    device.init("one")
    device.init("two")
    assert device.published("one") == device.published("two")
    # A second one of the same label would make it a matter of luck which one signs.
    assert "no such key" in device.init("three", algorithm="RS256").err


def test_rotation(device: Device) -> None:
    device.init()
    first = read(device.sign().out.strip()).header["kid"]
    assert "needs a label" in device.shell("idp", "rotate", device.path()).err
    assert "there already" in device.shell("idp", "rotate", device.path(), "--key-label", "2026").err
    device.shell.ok("idp", "rotate", device.path(), "--key-label", "2027")
    second = read(device.sign().out.strip()).header["kid"]
    assert [key["kid"] for key in device.published()] == [first, second]


def test_what_goes_wrong_is_told_without_the_pin(device: Device) -> None:
    device.init()
    wrong = "99999999"
    device.shell.variables["MINTMARK_PKCS11_PIN"] = wrong
    told = [device.sign(), device.init("two")]
    device.shell.variables["MINTMARK_PKCS11_PIN"] = PIN
    told += [device.init("three", token="other"), device.init("four", key="")]
    assert [done.code for done in told] == [78, 78, 78, 2]
    for done, reason in zip(told, ("PIN is wrong", "PIN is wrong", "no token 'other'", "is no label"), strict=True):
        assert reason in done.err
        assert PIN not in done.err + done.out
        assert wrong not in done.err + done.out
    assert not Path(device.path("two")).exists(), "nothing half made stays"


def test_the_pin_is_asked_for(device: Device) -> None:
    device.init()
    device.shell.variables["MINTMARK_PKCS11_PIN"] = None
    words = ("idp", "sign", device.path(), "--subject", "s", "--audience", "a")
    done = device.shell.ok(*words, answer=f"{PIN}\n")
    assert read(done.out.strip().splitlines()[-1]).claims["sub"] == "s"
    assert PIN not in done.out + done.err
