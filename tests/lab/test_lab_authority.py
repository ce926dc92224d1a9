"""The authority's certificates, as clients and the file system see them."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mintmark.core.errors import Misconfigured
from mintmark.lab.authority import DAY_SECONDS, Authority

NOW = time.time()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_says_what_it_is(authority: Authority) -> None:
    subject = x509.load_pem_x509_certificate(authority.ca_pem.encode()).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["Mintmark lab"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "Mintmark lab CA - never trust outside a lab"
    ]
    assert authority.ca_path.read_text() == authority.ca_pem


def test_keys_are_private_from_the_start(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = Authority.open(tmp_path / "deep" / "lab", NOW)
        certificate, key = authority.issue(["localhost"])
    finally:
        os.umask(before)
    assert mode(tmp_path / "deep" / "lab") == 0o700
    assert mode(authority.ca_path.with_name("ca-key.pem")) == 0o600
    assert mode(key) == 0o600
    assert mode(certificate) == 0o644
    assert not [path for path in authority.ca_path.parent.iterdir() if path.name.startswith(".")]


def test_it_is_kept_until_its_last_day(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "lab", NOW)
    server = first.issue(["localhost"])[0].read_bytes()
    again = Authority.open(tmp_path / "lab", NOW + 28 * DAY_SECONDS)
    assert again.ca_pem == first.ca_pem
    assert again.issue(["localhost"])[0].read_bytes() == server
    renewed = Authority.open(tmp_path / "lab", NOW + 29 * DAY_SECONDS)
    assert renewed.ca_pem != first.ca_pem
    assert renewed.issue(["localhost"])[0].read_bytes() != server


def test_an_authority_of_the_future_is_made_anew(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "lab", NOW)
    assert Authority.open(tmp_path / "lab", NOW - 2 * DAY_SECONDS).ca_pem != first.ca_pem


@pytest.mark.parametrize("damage", ["empty", "garbage", "readable", "other key", "gone"])
def test_a_damaged_or_exposed_key_is_made_anew(tmp_path: Path, damage: str) -> None:
    first = Authority.open(tmp_path / "lab", NOW)
    key = tmp_path / "lab" / "ca-key.pem"
    match damage:
        case "empty":
            key.write_bytes(b"")
        case "garbage":
            key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        case "readable":
            key.chmod(0o644)
        case "other key":
            Authority.open(tmp_path / "other", NOW)
            key.write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
        case "gone":
            key.unlink()
    assert Authority.open(tmp_path / "lab", NOW).ca_pem != first.ca_pem
    assert mode(key) == 0o600


def test_links_are_replaced_and_never_followed(tmp_path: Path) -> None:
    directory, bait = tmp_path / "lab", tmp_path / "bait"
    directory.mkdir(mode=0o700)
    bait.write_text("precious")
    (directory / "ca-key.pem").symlink_to(bait)
    (directory / "ca.pem").symlink_to(tmp_path / "nowhere")
    authority = Authority.open(directory, NOW)
    assert bait.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert not authority.ca_path.is_symlink()
    assert not (directory / "ca-key.pem").is_symlink()


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for directory in (shared, link):
        with pytest.raises(Misconfigured, match="not a directory of yours"):
            Authority.open(directory, NOW)


@pytest.mark.parametrize("names", [[], ["*.example"], ["UPPER.example"], ["a b"], ["x\n"], [""], ["-x"], ["é.example"]])
def test_odd_names_get_no_certificate(authority: Authority, names: list[str]) -> None:
    with pytest.raises(ValueError, match="name"):
        authority.issue(names)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "pkgs.acme.example"])
async def test_strict_clients_accept_it(authority: Authority, trusting: ssl.SSLContext, name: str) -> None:
    server = await asyncio.start_server(
        lambda _, writer: writer.close(),
        "127.0.0.1",
        0,
        ssl=authority.server_context(["localhost", "127.0.0.1", "::1", "pkgs.acme.example"]),
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=name)
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="other.example")


def test_openssl_accepts_it_strictly(authority: Authority) -> None:
    certificate, _ = authority.issue(["localhost"])
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(authority.ca_path)]
    done = subprocess.run([*command, str(certificate)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
