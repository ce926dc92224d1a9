"""Which provider an issuer probably belongs to, from its URL and its discovery document.

Owns the guess. It is for reports only: what an operator registers names its provider.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from mintmark.core.providers import PROVIDERS
from mintmark.core.providers.model import Provider

# URLs that say nothing: a table that takes these takes any issuer.
_NEUTRAL = ("https://ci.example.com", "https://ci.example.com/path", "https://ci.example.com:8443/a/path")
_REGISTERED = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti"})
# Words of hosts and paths, where the provider's own name does not stand there.
_WORDS = {
    "kubernetes": ("kubernetes", "cluster.local", ".eks.", "container.googleapis.com", "prod-aks"),
    "spiffe": ("spiffe", "spire"),
}


def guess(url: str, claims_supported: AbstractSet[str] = frozenset()) -> Provider | None:
    """The only provider that fits best; None where nothing decides."""
    # A table that its operator writes fits to everything, and is nobody's guess.
    tables = [each for each in PROVIDERS if not each.rules_field]
    fitting = [each for each in tables if each.issuer.pattern.fullmatch(url)]
    specific = [each for each in fitting if not any(each.issuer.pattern.fullmatch(other) for other in _NEUTRAL)]
    if len(specific) == 1:
        return specific[0]
    # Where a vendor's URL is also the shape of somebody's own installation, its own word for itself decides.
    return _by_claims(fitting, claims_supported) or _by_words(specific, url) or _by_words(fitting, url)


def _by_claims(fitting: list[Provider], supported: AbstractSet[str]) -> Provider | None:
    offered = supported - _REGISTERED
    scores = [(len(offered & each.known) - len(offered - each.known), each) for each in fitting]
    best = max((score for score, _ in scores), default=0)
    found = [each for score, each in scores if score == best and offered & each.known]
    return found[0] if len(found) == 1 else None


def _by_words(fitting: list[Provider], url: str) -> Provider | None:
    parts = urlsplit(url)
    text = f"{parts.hostname or ''}{parts.path}".lower()
    found = [each for each in fitting if any(word in text for word in _WORDS.get(each.slug, (each.slug,)))]
    return found[0] if len(found) == 1 else None
