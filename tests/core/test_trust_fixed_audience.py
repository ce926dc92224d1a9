"""An issuer's fixed audience is never that of a registry, whose tokens it would take."""

from __future__ import annotations

import tomllib

import pytest

from mintmark.core.errors import Rejected
from mintmark.core.trust import parse_trust
from support.office import HOST


def test_another_registrys_audience_is_no_fixed_one() -> None:
    text = """
[registry.acme]
[registry.other]
[registry.other.issuer.ci]
provider = "generic"
url = "https://ci.example.com"
projects = ["*"]
audience = "mintmark_localhost_acme"
"""
    with pytest.raises(Rejected, match="audience"):
        parse_trust(tomllib.loads(text), HOST, lambda name: name)
