"""The address guard: every spelling of an address is judged alike, and names that point inside are not resolved."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.store.address_guard import (
    ForbiddenAddress,
    GuardedResolver,
    check_address,
    check_port,
    check_url,
    is_public,
    look_up,
    parse_networks,
)

SPECIAL_V4 = [
    "0.0.0.0",
    "0.0.0.1",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "233.252.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
SPECIAL_V6 = [
    "::",
    "::1",
    "::2",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::808:808",
    "64:ff9b:1:0:7f:0:100:0",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]

any_v4 = st.one_of(st.ip_addresses(v=4), st.sampled_from([IPv4Address(text) for text in SPECIAL_V4]))
wrapped_v4 = any_v4.flatmap(
    lambda bare: st.tuples(
        st.just(bare),
        st.sampled_from(
            [
                IPv6Address(0xFFFF << 32 | int(bare)),
                IPv6Address(0xFFFF << 48 | int(bare)),
                IPv6Address(0x64FF9B << 96 | int(bare)),
                IPv6Address(0x2002 << 112 | int(bare) << 80),
                IPv6Address(0x2002 << 112 | int(bare) << 80 | 1),
                # ::/96, where :: and ::1 are addresses of their own; both are forbidden, like 0.0.0.0 and 0.0.0.1.
                IPv6Address(int(bare)),
            ]
        ),
    )
)


def allowed(text: str, *networks: str) -> bool:
    try:
        check_address(text, parse_networks(networks))
    except ForbiddenAddress:
        return False
    return True


@pytest.mark.parametrize("text", SPECIAL_V4 + SPECIAL_V6)
def test_special_addresses_are_forbidden(text: str) -> None:
    assert not allowed(text)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    assert allowed(text)


@given(wrapped_v4)
def test_a_wrapped_address_is_judged_like_the_bare_one(pair: tuple[IPv4Address, IPv6Address]) -> None:
    bare, wrapper = pair
    assert is_public(wrapper) == is_public(bare)
    assert allowed(str(wrapper)) == allowed(str(bare))


@given(wrapped_v4.filter(lambda pair: int(pair[0]) > 1), st.integers(0, 32))
def test_networks_are_those_of_the_bare_address(pair: tuple[IPv4Address, IPv6Address], bits: int) -> None:
    bare, wrapper = pair
    network = IPv4Network((bare, bits), strict=False)
    assert allowed(str(bare), str(network))
    assert allowed(str(wrapper), str(network))
    # Naming the wrapper's network, even all of IPv6, opens no way to an IPv4 address.
    assert allowed(str(wrapper), "::/0") == allowed(str(bare))


@given(st.ip_addresses(v=4))
def test_is_public_implies_the_standard_librarys_judgement(address: IPv4Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)


def test_the_operator_can_allow_private_addresses() -> None:
    assert allowed("10.1.2.3", "10.0.0.0/8")
    assert allowed("::1", "::1/128")
    assert allowed("fd00::5", "192.168.0.0/16", "fd00::/8")
    assert not allowed("10.1.2.3", "10.2.0.0/16", "fd00::/8")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "corp", "", "10.0.0.0/8/8"])
def test_bad_networks_are_refused(text: str) -> None:
    with pytest.raises(ForbiddenAddress):
        parse_networks([text])


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "134744072",  # 8.8.8.8: refused as well, since it is not written as an address
        "0x7f.1",
        "0x7f000001",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.01",
        "8.8.8.8.",
        "1.2.3.4.5",
        "256.256.256.256",
        "a.0x",
        "127.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[2606:4700::1111%25lo]",
        "[v1.x]",
        "[::1",
        "127%2e0.0.1",
        "localhost%00.example.org",
        "\uff11\uff12\uff17.0.0.1",
        "127。0。0。1",
        "ⓛocalhost",
        "user@example.org",
        "user:word@example.org",
        "@example.org",
        "example.org\\@127.0.0.1",
        "example.org:0",
        "example.org:99999",
        "example.org:0x50",
        "exam ple.org",
        "example.org\t",
        "example.org\n",
        "example..org",
        ".example.org",
        "",
        ":443",
    ],
)
def test_tricks_in_the_host_are_refused(host: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}/path", (), allow_http=False)


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "0x{:x}", "0{:o}", "0X{:X}", "{}."]))
def test_addresses_as_one_number_are_refused_wherever_they_point(address: IPv4Address, form: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{form.format(int(address))}/", parse_networks(["0.0.0.0/0"]), allow_http=False)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org",
        "https://example.org./x",
        "https://EXAMPLE.org:8443/a/b?c=d",
        "https://xn--bcher-kva.example/",
        "https://my_host.internal/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:444/",
    ],
)
def test_ordinary_urls_are_left_as_they_are(text: str) -> None:
    assert str(check_url(text, (), allow_http=False)).rstrip("/") == text.rstrip("/")


@pytest.mark.parametrize(
    "text", ["http://example.org/", "ftp://example.org/", "file:///etc/passwd", "//example.org/", "x"]
)
def test_only_https_without_the_operators_leave(text: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(text, (), allow_http=False)


def test_http_with_the_operators_leave() -> None:
    assert check_url("http://example.org/", (), allow_http=True).port == 80
    with pytest.raises(ForbiddenAddress):
        check_url("ftp://example.org/", (), allow_http=True)
    with pytest.raises(ForbiddenAddress):
        check_url("https://example.org/" + "x" * 2000, (), allow_http=True)


@pytest.mark.parametrize(
    ("jwks", "accepted"),
    [
        ("https://issuer.example:8443/jwks", True),
        ("https://keys.example/jwks", True),
        ("https://keys.example:8443/jwks", True),
        ("https://keys.example:6379/jwks", False),
        ("https://issuer.example:22/jwks", False),
        ("http://keys.example/jwks", False),
    ],
)
def test_ports_of_other_hosts(jwks: str, *, accepted: bool) -> None:
    issuer = check_url("https://issuer.example:8443", (), allow_http=True)
    other = check_url(jwks, (), allow_http=True)
    if accepted:
        check_port(issuer, other)
    else:
        with pytest.raises(ForbiddenAddress):
            check_port(issuer, other)


def resolver(answer: list[str], *networks: str) -> GuardedResolver:
    """A resolver whose name server gives this answer."""

    async def lookup(_host: str, _port: int, _family: int) -> list[str]:
        return answer

    return GuardedResolver(parse_networks(networks), lookup)


async def test_the_resolver_returns_the_checked_addresses() -> None:
    found = await resolver(["8.8.8.8", "2606:4700::1111", "8.8.8.8"]).resolve("example.org", 443)
    assert [(one["host"], one["family"], one["port"]) for one in found] == [
        ("8.8.8.8", socket.AF_INET, 443),
        ("2606:4700::1111", socket.AF_INET6, 443),
    ]
    assert {one["hostname"] for one in found} == {"example.org"}


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "fe80::1%2", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe"])
async def test_one_forbidden_address_spoils_the_name(inside: str) -> None:
    with pytest.raises(ForbiddenAddress):
        await resolver(["8.8.8.8", inside]).resolve("example.org", 443)


async def test_the_resolver_knows_the_operators_networks() -> None:
    found = await resolver(["10.1.2.3", "8.8.8.8"], "10.0.0.0/8").resolve("gitlab.internal", 443)
    assert len(found) == 2
    with pytest.raises(OSError, match="no address"):
        await resolver([]).resolve("gitlab.internal", 443)


async def test_the_system_is_asked_in_a_thread_of_its_own() -> None:
    assert "127.0.0.1" in await look_up("localhost", 80, socket.AF_UNSPEC)
    with pytest.raises(OSError, match=r"."):
        await look_up("a" * 64 + ".invalid", 80, socket.AF_UNSPEC)
