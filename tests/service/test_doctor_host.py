"""What `mintmark doctor` says of a machine and of settings."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mintmark.core.certificate import BadCertificate, Certificate, read_certificate
from mintmark.core.report_card import Grade, worst
from mintmark.lab.authority import Authority
from mintmark.service import doctor_host
from mintmark.settings import Settings
from mintmark.store import surroundings
from mintmark.store.surroundings import DataDir

NOW = 1_800_000_000.0
FINE = DataDir(True, "", 0o750, True, 2**40, 2**41, NOW, True, "0002", "0002")
SERVER = Settings(
    data_dir="data", base_url="https://pkgs.example.com", trusted_proxies=("10.0.0.5/32",), listen="10.0.0.6:80"
)


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [
        ({"exists": False}, Grade.WARNING, "does not exist yet"),
        ({"problem": "No space left on device"}, Grade.BAD, "cannot be used: No space left"),
        ({"is_mine": False}, Grade.WARNING, "belongs to another user"),
        ({"mode": 0o755}, Grade.WARNING, "open to others (mode 755)"),
        ({"mode": 0o770}, Grade.WARNING, "open to others (mode 770)"),
        ({"free_bytes": 2**20}, Grade.BAD, "0.0 GiB are free"),
        ({"free_bytes": 2**30}, Grade.WARNING, "1.0 GiB are free"),
        ({"written_at": NOW - 60}, Grade.WARNING, "stamped 60 seconds beside"),
        ({"has_ledger": False, "revision": ""}, Grade.NOTE, "none yet"),
        ({"revision": ""}, Grade.BAD, "cannot be read"),
        ({"revision": "0001"}, Grade.WARNING, "schema is 0001, that of this release 0002"),
        ({"revision": "0009"}, Grade.BAD, "newer release"),
        ({}, Grade.OK, "by its owner only"),
    ],
)
def test_the_data_directory(change: dict[str, object], grade: Grade, words: str) -> None:
    lines = doctor_host.on_data_dir("data", replace(FINE, **change), NOW)  # type: ignore[arg-type]
    assert worst(lines) is grade
    assert words in " ".join(line.sentence for line in lines)


def test_a_real_folder(tmp_path: Path) -> None:
    assert surroundings.look_at_data_dir(tmp_path / "none") == DataDir(False)
    (tmp_path / "file").touch()
    assert surroundings.look_at_data_dir(tmp_path / "file").problem == "it is not a folder"
    found = surroundings.look_at_data_dir(tmp_path)
    assert (found.exists, found.problem, found.is_mine, found.has_ledger) == (True, "", True, False)
    assert abs((found.written_at or 0) - tmp_path.stat().st_mtime) < 60
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "nothing stays behind"
    (tmp_path / "mintmark.db").write_bytes(b"no ledger at all")
    assert surroundings.look_at_data_dir(tmp_path).revision == ""


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [
        ({}, Grade.OK, "complete and safe"),
        ({"trusted_proxies": ("10.0.0.0/8",)}, Grade.WARNING, "10.0.0.0/8 is 16,777,216 addresses"),
        ({"trusted_proxies": ("127.0.0.1/32",)}, Grade.WARNING, "takes connections of this machine only"),
        ({"tls_certificate": "c", "tls_key": "k"}, Grade.NOTE, "ends TLS itself"),
    ],
)
def test_settings(change: dict[str, object], grade: Grade, words: str) -> None:
    lines = doctor_host.on_settings(msgspec.structs.replace(SERVER, **change), development=False)
    assert worst(lines) is grade
    assert words in " ".join(line.sentence for line in lines)


def test_the_certificate(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "lab", NOW)
    chain_path, key_path = authority.issue(("pkgs.example.com",))
    chain, problem = surroundings.read_chain(chain_path, key_path)
    assert problem == ""
    found = read_certificate(chain)
    days = (found.until - found.since) / 86_400
    (line,) = doctor_host.on_certificate(SERVER, chain, "", found.since + 1)
    assert line.grade is (Grade.OK if days > 15 else Grade.WARNING)
    assert "The certificate for pkgs.example.com is good for" in line.sentence
    (line,) = doctor_host.on_certificate(SERVER, chain, "", found.until - 86_400)
    assert line.grade is Grade.WARNING
    for at in (found.until + 1, found.since - 1):
        (line,) = doctor_host.on_certificate(SERVER, chain, "", at)
        assert line.grade is Grade.BAD
    other = msgspec.structs.replace(SERVER, base_url="https://other.example.com")
    (line,) = doctor_host.on_certificate(other, chain, "", found.since + 1)
    assert "not for other.example.com; its names are: pkgs.example.com" in line.sentence
    (line,) = doctor_host.on_certificate(SERVER, b"nothing", "", NOW)
    assert line.grade is Grade.BAD
    _, foreign = authority.issue(("other.example.com",))
    assert surroundings.read_chain(tmp_path / "none", foreign)[1] == os.strerror(2)


def test_names_of_certificates() -> None:
    found = Certificate(("pkgs.example.com", "*.wild.example.com"), 0, 0)
    assert found.covers("PKGS.example.com")
    assert found.covers("a.wild.example.com")
    assert not found.covers("a.b.wild.example.com")
    assert not found.covers("wild.example.com")
    with pytest.raises(BadCertificate):
        read_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_backups() -> None:
    name = "20270115T080000Z"
    at = 1_800_000_000.0
    assert doctor_host.on_backup("b", name, at).grade is Grade.OK
    old = doctor_host.on_backup("b", name, at + 3 * 86_400)
    assert (old.grade, old.sentence) == (Grade.WARNING, "The newest in b is 72 hours old.")
    assert doctor_host.on_backup("b", "mine", at).grade is Grade.NOTE
