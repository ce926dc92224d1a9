"""Keys of impersonated issuers.

Owns answering the `Keys` port for issuers whose keys the lab holds itself. Leaves every other issuer to the real
implementation that it wraps.

This is the ONLY way to impersonate an issuer on a public host: a lab server answers on loopback under its own URL and
never under somebody else's, so an index trusts a made-up `https://gitlab.com` only if it was assembled with these keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mintmark.core.errors import Unavailable
from mintmark.core.jwks import KeySet, parse_key_set
from mintmark.lab.signer import Signer
from mintmark.service.ports import Keys, KeySource


class LabKeys:
    """The `Keys` port with some issuers' URLs answered by lab signers, whatever their documents would say."""

    def __init__(self, signers: Mapping[str, Signer], fallback: Keys | None = None) -> None:
        self._signers = dict(signers)
        self._fallback = fallback
        self._parsed: dict[str, tuple[bytes, KeySet]] = {}

    async def current(self, source: KeySource) -> KeySet:
        """The signer's keys as they are now; other issuers as the wrapped implementation knows them."""
        impersonated = self._impersonated(source)
        return impersonated if impersonated is not None else await self._others(source).current(source)

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        """Like `current`: a signer's keys are never out of date. The very object `than` when nothing changed."""
        impersonated = self._impersonated(source)
        return impersonated if impersonated is not None else await self._others(source).newer(source, than)

    def watch(self, sources: Iterable[KeySource]) -> None:
        """Pass on the sources that are not impersonated: the others must never be asked over the network."""
        if self._fallback is not None:
            self._fallback.watch([source for source in sources if source.url not in self._signers])

    def _impersonated(self, source: KeySource) -> KeySet | None:
        signer = self._signers.get(source.url)
        if signer is None:
            return None
        document = signer.jwks()
        known = self._parsed.get(source.url)
        if known is None or known[0] != document:
            known = self._parsed[source.url] = (document, parse_key_set(document))
        return known[1]

    def _others(self, source: KeySource) -> Keys:
        if self._fallback is None:
            raise Unavailable(
                "The issuer's keys cannot be fetched.",
                code="issuer-unavailable",
                private=f"the lab has no keys for {source.url} and nothing to fetch them with",
            )
        return self._fallback
