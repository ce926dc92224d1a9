"""Discovery and audience (PEP 807): where the exchange of a registry is, and what it wants to be called.

Owns the URLs an index hands out, which come from configured base URLs only. Leaves negotiation to `web`.
"""

from __future__ import annotations

from mintmark.core import discovery
from mintmark.core.errors import Rejected
from mintmark.core.exchange import DEFAULT_FEATURES, FEATURES
from mintmark.core.records import Registry
from mintmark.service.directory import Directory


class Exchange:
    """The use cases of discovery and audience."""

    def __init__(self, directory: Directory, *, base_url: str, host_audience: str) -> None:
        self._directory = directory
        self._base_url = base_url
        self._host_audience = host_audience

    def base_of(self, registry: Registry, *, own_host: bool) -> str:
        """The URL under which a registry's paths begin, without a slash at the end."""
        if own_host and registry.host:
            scheme, _, authority = self._base_url.partition("://")
            port = authority.partition(":")[2]
            return f"{scheme}://{registry.host}{':' + port if port else ''}"
        return f"{self._base_url}/{registry.slug}"

    async def discover(self, query: str, own: Registry | None) -> dict[str, object]:
        """The discovery document for an upload URL of this host, or of a registry's own host.

        One 404 for everything else: unknown, private without exchange and malformed alike.
        """
        path = discovery.upload_path(query)
        slug = discovery.registry_of_path(path) if path else None
        snapshot = await self._directory.current()
        registry = own if own and slug == "" else snapshot.by_slug.get(slug) if slug and not own else None
        if registry is None or not snapshot.exchanges(registry):
            raise Rejected("not-found", "That is no upload URL with Trusted Publishing.")
        base = self.base_of(registry, own_host=own is not None)
        return {
            "audience-endpoint": f"{base}/_/oidc/audience",
            "token-mint-endpoint": f"{base}/_/oidc/mint-token",
            "token-burn-endpoint": f"{base}/_/oidc/burn-token",
            "features": list(FEATURES),
            "default-features": list(DEFAULT_FEATURES),
        }

    async def audience(self, registry: Registry | None) -> str:
        """The audience to ask an identity token for."""
        snapshot = await self._directory.current()
        if registry is None:
            if not any(snapshot.exchanges(each) and each.host_mint for each in snapshot.by_slug.values()):
                raise Rejected("exchange-disabled", "Trusted publishing functionality not enabled")
            return self._host_audience
        if not snapshot.exchanges(registry):
            raise Rejected("exchange-disabled", "Trusted publishing functionality not enabled")
        return registry.audience
