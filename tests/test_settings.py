"""Settings: documented, read once, and refused with the cure when they are unsafe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.assemble import Index
from mintmark.core.errors import Misconfigured
from mintmark.lab.authority import Authority
from mintmark.settings import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    ENVIRONMENT_PREFIX,
    Settings,
    check,
    is_loopback,
    load,
    parse_listen,
)
from mintmark.web.server import listening, tls_context
from support.refusals import mistake

FIELDS = Settings.__struct_fields__
LOCAL = {"data_dir": "data", "base_url": "http://localhost:8080"}
PROXIED = {"data_dir": "data", "base_url": "https://pkgs.example.com", "trusted_proxies": ["10.0.0.5/32"]}


def write(folder: Path, values: Mapping[str, Any] | str, name: str = "my.toml") -> Path:
    text = values if isinstance(values, str) else "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def refused(folder: Path, values: Mapping[str, Any] | str) -> Misconfigured:
    found = mistake(lambda: load(write(folder, values), {}))
    assert found is not None, "it was taken"
    assert found.setting
    assert found.problem.endswith(".")
    assert found.cure.endswith(".")
    return found


# -- documentation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_documented(name: str) -> None:
    _, meta = get_args(get_type_hints(Settings, include_extras=True)[name])
    assert isinstance(meta, msgspec.Meta)
    assert meta.description
    assert meta.description.endswith(".")


def test_numbers_have_bounds_and_units() -> None:
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        kind, meta = get_args(hint)
        if kind is int:
            assert meta.ge is not None
            assert meta.le is not None
            assert name.endswith(("_seconds", "_days", "_bytes", "_per_minute", "_limit"))


def test_defaults_are_safe_ones(tmp_path: Path) -> None:
    settings = load(write(tmp_path, LOCAL), {})
    assert settings.listen == "127.0.0.1:8080"
    assert settings.trusted_proxies == ()
    assert settings.host_mint == "single"
    assert settings.host_audience == "mintmark_localhost"
    assert settings.mints_per_address_per_minute > 0
    assert settings.failed_credentials_per_address_per_minute > 0
    assert settings.metrics_networks == ("127.0.0.0/8", "::1/128")
    assert settings.outbound_proxy == ""
    assert not settings.tls


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_file_and_the_environment_which_wins(tmp_path: Path) -> None:
    path = write(tmp_path, LOCAL | {"log_format": "json", "file_limit_bytes": 5})
    environment = {
        "MINTMARK_FILE_LIMIT_BYTES": "7",
        "MINTMARK_METRICS_NETWORKS": " 10.0.0.0/8 ,192.168.0.0/16,",
        "MINTMARK_TRUSTED_PROXIES": "",
        "PATH": "/bin",
        "MINTMARK_ACME_ID_TOKEN": "a job's token is no setting",
    }
    settings = load(path, environment)
    assert settings.log_format == "json"
    assert settings.file_limit_bytes == 7
    assert settings.metrics_networks == ("10.0.0.0/8", "192.168.0.0/16")
    assert settings.trusted_proxies == ()


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"tls_certificate", "tls_key"}))
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    texts = {"data_dir": "/srv/x", "base_url": "http://localhost:9", "listen": "127.0.0.1:9", "audience": "mintmark_x"}
    texts |= {"trusted_proxies": "10.0.0.1/32", "metrics_networks": "10.0.0.0/8", "outbound_proxy": "http://proxy:3128"}
    texts |= {"host_mint": "union", "log_format": "json", "form_field_limit_bytes": "2048"}
    expected = texts.get(name, "1000")
    settings = load(None, _local() | {ENVIRONMENT_PREFIX + name.upper(): expected})
    assert msgspec.to_builtins(settings, str_keys=True)[name] in (expected, [expected], (expected,), int_of(expected))


def int_of(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _local() -> dict[str, str]:
    return {"MINTMARK_DATA_DIR": "x", "MINTMARK_BASE_URL": "http://localhost:9"}


def test_the_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, _local())
    assert settings.data_dir == str(tmp_path / "x")


def test_the_file_is_found_by_its_name_or_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, LOCAL, DEFAULT_CONFIG)
    (tmp_path / "etc").mkdir()
    other = write(tmp_path / "etc", LOCAL | {"base_url": "http://localhost:7"}, "other.toml")
    assert load(None, {}).base_url == LOCAL["base_url"]
    # An empty variable is none.
    assert load(None, {CONFIG_VARIABLE: ""}).base_url == LOCAL["base_url"]
    assert load(None, {CONFIG_VARIABLE: str(other)}).base_url == "http://localhost:7"
    # What is given on the command line wins over both.
    assert load(tmp_path / DEFAULT_CONFIG, {CONFIG_VARIABLE: str(other)}).base_url == LOCAL["base_url"]


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    path = write(tmp_path / "etc", LOCAL)
    monkeypatch.chdir(tmp_path)
    for given_ in (path, Path("etc/my.toml")):
        assert load(given_, {}).data_dir == str(tmp_path / "etc" / "data")
    assert load(path, {"MINTMARK_DATA_DIR": "/srv/x"}).data_dir == "/srv/x"


@pytest.mark.parametrize(
    ("values", "setting", "problem", "cure"),
    [
        ({}, "data_dir", "not set", "--dev"),
        ({"data_dir": "x"}, "base_url", "not set", 'base_url = "'),
        ({"data_dir": "", "base_url": "x"}, "data_dir", "not set", "MINTMARK_DATA_DIR"),
        (LOCAL | {"data_dir": 5}, "data_dir", "Expected `str`", "docs/settings.md"),
        (LOCAL | {"bas_url": "x"}, "bas_url", "no such setting", "docs/settings.md"),
        (LOCAL | {"file_limit_bytes": 0}, "file_limit_bytes", ">= 1", "docs/settings.md"),
        (LOCAL | {"file_limit_bytes": "many"}, "file_limit_bytes", "Expected `int`", "docs/settings.md"),
        (LOCAL | {"keys_refresh_seconds": 59}, "keys_refresh_seconds", ">= 60", "docs/settings.md"),
        (LOCAL | {"trusted_proxies": [1]}, "trusted_proxies", "Expected `str`", "docs/settings.md"),
        (LOCAL | {"trusted_proxies": "10.0.0.0/8"}, "trusted_proxies", "Expected `array`", "docs/settings.md"),
        ("data_dir = ", "settings", "is not TOML", "the line"),
        ('a = "\x01"', "settings", "is not TOML", "the line"),
    ],
)
def test_files_that_cannot_be_meant(tmp_path: Path, values: Any, setting: str, problem: str, cure: str) -> None:
    found = refused(tmp_path, values)
    assert found.setting == setting
    assert problem in found.problem
    assert cure in found.cure


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe4"')
    for path, problem in (("no.toml", "No such file"), (".", "Is a directory"), ("latin.toml", "not TOML")):
        for argument, environment in ((Path(path), {}), (None, {CONFIG_VARIABLE: path})):
            with pytest.raises(Misconfigured, match=problem):
                load(argument, environment)
    missing = mistake(lambda: load(None, {}))
    assert missing is not None
    assert f"there is no {DEFAULT_CONFIG}" in missing.problem


# -- refusals ---------------------------------------------------------------------------------------------------------

PUBLIC = {"base_url": "https://pkgs.example.com"}
UNSAFE: list[tuple[dict[str, Any], str, str, str]] = [
    ({"base_url": "http://pkgs.example.com"}, "base_url", "not https", "https"),
    ({"base_url": "http://10.0.0.5"}, "base_url", "not https", "https"),
    (PUBLIC, "trusted_proxies", "neither a certificate nor a proxy", "tls_certificate"),
    (PUBLIC | {"listen": "0.0.0.0:443"}, "trusted_proxies", "neither", "tls_key"),
    ({"base_url": "https://localhost"}, "trusted_proxies", "neither", "tls_key"),
    ({"listen": "0.0.0.0:8080"}, "listen", "reachable by others", "127.0.0.1"),
    ({"listen": "[::]:8080"}, "listen", "reachable by others", "127.0.0.1"),
    ({"listen": "10.0.0.1:8080"}, "listen", "reachable by others", "127.0.0.1"),
    ({"listen": "8080"}, "listen", "no address and port", "127.0.0.1:8080"),
    ({"listen": ":8080"}, "listen", "no address and port", "127.0.0.1:8080"),
    ({"listen": "127.0.0.1:99999"}, "listen", "no address and port", "127.0.0.1:8080"),
    ({"listen": "127.0.0.1:\u00b2"}, "listen", "no address and port", "127.0.0.1:8080"),
    (PUBLIC | {"tls_certificate": "x.pem"}, "tls_certificate", "belong together", "tls_key"),
    (PUBLIC | {"tls_key": "x.pem"}, "tls_certificate", "belong together", "tls_key"),
    (PUBLIC | {"tls_certificate": "x.pem", "tls_key": "y.pem"}, "tls_certificate", "cannot be read", "path"),
    (PUBLIC | {"trusted_proxies": ["10.0.0.1/8"]}, "trusted_proxies", "no network", "10.0.0.0/8"),
    (PUBLIC | {"trusted_proxies": ["proxy"]}, "trusted_proxies", "no network", "10.0.0.0/8"),
    (PUBLIC | {"trusted_proxies": ["0.0.0.0/0"]}, "trusted_proxies", "every address", "10.0.0.5/32"),
    (PUBLIC | {"trusted_proxies": ["10.0.0.0/8", "::/0"]}, "trusted_proxies", "every address", "10.0.0.5/32"),
    ({"metrics_networks": [""]}, "metrics_networks", "no network", "10.0.0.0/8"),
    ({"host_mint": "both"}, "host_mint", "'both'", "single or union"),
    ({"log_format": "xml"}, "log_format", "'xml'", "text or json"),
    ({"audience": "Mint-mark"}, "audience", "not an audience", "a-z"),
    ({"audience": "sigstore"}, "audience", "another service", "Leave it out"),
    (
        {"keys_refresh_seconds": 3600, "keys_max_stale_seconds": 900},
        "keys_max_stale_seconds",
        "shorter than keys_refresh_seconds (3600)",
        "Raise it",
    ),
    ({"outbound_proxy": "socks5://user:hunter2@proxy"}, "outbound_proxy", "no URL of a proxy", "http://proxy"),
    ({"outbound_proxy": "proxy:3128"}, "outbound_proxy", "no URL of a proxy", "http://proxy"),
    ({"outbound_proxy": "http://[::1"}, "outbound_proxy", "no URL of a proxy", "http://proxy"),
]
NO_HOSTS = [
    *(
        "pkgs.example.com",
        "ftp://pkgs.example.com",
        "https://",
        "https:///x",
        "https://pkgs.example.com/",
        "https://a/b",
    ),
    *("https://a?x", "https://a#x", "https://u@a", "https://u:p@a", "https://:p@a", "https://@a", "HTTPS://a.example"),
    *(
        "https://A.example",
        "https://a.example:",
        "https://a:x",
        "https://a:99999",
        "https://[::1",
        "https://a b",
        " https://a",
    ),
    *("https://a\\b", "https://a_b.example", "https://\u00e4.example", "https://\u2100.example", "https://a:080"),
]


@pytest.mark.parametrize(("values", "setting", "problem", "cure"), UNSAFE, ids=lambda value: repr(value)[:60])
def test_what_is_unsafe_is_refused(
    tmp_path: Path, values: dict[str, Any], setting: str, problem: str, cure: str
) -> None:
    found = refused(tmp_path, LOCAL | values)
    assert found.setting == setting
    assert problem in found.problem
    assert cure in found.cure
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("url", NO_HOSTS)
def test_a_base_url_is_a_scheme_and_a_host_in_their_only_spelling(tmp_path: Path, url: str) -> None:
    """Every URL is made by appending to it, and the Host header is compared with it."""
    found = mistake(lambda: check(msgspec.convert(PROXIED | {"base_url": url}, Settings)))
    assert found is not None
    assert found.setting == "base_url"


@given(url=st.text() | st.text("htps:/[]@#?.a1%", max_size=20).map("https://".__add__), listen=st.text())
def test_no_text_breaks_the_check(url: str, listen: str) -> None:
    for values in ({"base_url": url}, {"listen": listen}, {"outbound_proxy": url}, {"audience": url}):
        mistake(lambda values=values: check(msgspec.convert(PROXIED | values, Settings)))  # type: ignore[misc]


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "http://localhost"},
        {"base_url": "http://127.0.0.1:8080", "listen": "[::1]:8080"},
        {"base_url": "http://[::1]:8080"},
        PROXIED | {"listen": "0.0.0.0:8080"},
        PROXIED | {"base_url": "https://pkgs.example.com:8443"},
        PROXIED | {"base_url": "https://10.0.0.5"},
        {"outbound_proxy": "http://proxy.example:3128"},
        {"base_url": "http://localhost", "audience": "mintmark_acme"},
        {"metrics_networks": []},
    ],
)
def test_what_is_safe_is_taken(tmp_path: Path, values: dict[str, Any]) -> None:
    load(write(tmp_path, LOCAL | values), {})


@pytest.mark.parametrize("host", ["x." * 100 + "example", "x" * 63 + "." + "y" * 63])
def test_a_long_host_name_still_has_an_audience(tmp_path: Path, host: str) -> None:
    settings = load(write(tmp_path, PROXIED | {"base_url": f"https://{host}"}), {})
    assert settings.host_audience.startswith("mintmark_x")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True)),
        *(("0.0.0.0", False), ("10.0.0.1", False), ("::", False), ("example.com", False), ("", False)),
        *(("localhost.example.com", False), ("127.0.0.1.example.com", False)),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_listen(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return Authority.open(tmp_path / "tls", time.time()).issue(("localhost",))


def test_tls_settings(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    values = {"data_dir": "d", "base_url": "https://pkgs.example.com", "listen": "0.0.0.0:443"}
    values |= {"tls_certificate": str(certificate), "tls_key": f"tls/{key.name}"}
    settings = load(write(tmp_path, values), {})
    assert settings.tls
    assert settings.tls_key == str(key)
    assert tls_context(settings) is not None
    found = refused(tmp_path, values | {"base_url": "http://localhost"})
    assert (found.setting, found.cure) == ("base_url", "Write https.")


def test_certificates_that_are_none(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    (tmp_path / "text.pem").write_text("hello")
    for one, two in ((key, certificate), (tmp_path / "text.pem", key), (certificate, certificate), (tmp_path, key)):
        values = {"data_dir": "d", "base_url": "https://a.example", "tls_certificate": str(one), "tls_key": str(two)}
        settings = load(write(tmp_path, values), {})
        found = mistake(lambda settings=settings: tls_context(settings))  # type: ignore[misc]
        assert found is not None
        assert found.setting == "tls_certificate"


async def test_https_behind_a_proxy_that_ends_tls(tmp_path: Path) -> None:
    """The server itself speaks plain http, to the proxy only, and every URL it hands out is https."""
    path = write(tmp_path, PROXIED | {"trusted_proxies": ["127.0.0.1/32"], "listen": "127.0.0.1:0"})
    settings = load(path, {})
    assert not settings.tls
    assert tls_context(settings) is None
    index = Index(settings)
    headers = {"Host": "pkgs.example.com", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    try:
        async with (
            listening(index.application(), settings) as port,
            aiohttp.ClientSession(headers=headers) as http,
            http.get(f"http://127.0.0.1:{port}/-/health") as answer,
        ):
            assert answer.status == 200
    finally:
        await index.close()
