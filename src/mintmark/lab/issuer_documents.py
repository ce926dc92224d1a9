"""Discovery documents and key sets of the simulated issuers.

Owns where each is, by host and path, and what they say, rightly or as a fault wants it. Leaves keys to `lab.signer` and
listening to `lab.provider_server`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from mintmark.lab.faults import Active, Faults
from mintmark.lab.places import Place
from mintmark.lab.signer import Signer
from mintmark.lab.watch import FAULT
from mintmark.lab.wire import Handler, answer, host_of

DISCOVERY, KEYS = "discovery", "keys"
WRONG_ISSUER_URL = "https://wrong-issuer.invalid"
WRONG_ISSUER, NO_KEYS = "discovery-wrong-issuer", "keys-empty"


class IssuerDocuments:
    """The documents of all places. `issuer_url` gives a place's issuer, as `iss` says it."""

    def __init__(
        self,
        places: Mapping[str, Place],
        signers: Mapping[str, Signer],
        faults: Faults,
        issuer_url: Callable[[str], str],
    ) -> None:
        self._signers = signers
        self._faults = faults
        self._issuer_url = issuer_url
        self._vendors = frozenset(place.host for place in places.values() if place.host)
        self._found: dict[tuple[str, str], tuple[str, Place]] = {}
        for place in places.values():
            self._found[place.host, place.discovery_path] = DISCOVERY, place
            self._found[place.host, place.keys_path] = KEYS, place

    def find(self, request: web.Request) -> tuple[str, str] | None:
        """Which document this asks for, and of which place."""
        found = self._found.get((self._vendor(request), request.path))
        return None if found is None else (found[0], found[1].name)

    def is_for_a_vendor(self, request: web.Request) -> bool:
        """Whether this came through the proxy, to a host that the lab only plays."""
        return bool(self._vendor(request))

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The documents below the lab's own URL."""
        for host, path in self._found:
            if not host:
                router.add_get(path, self._answer)

    @web.middleware
    async def by_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The documents of the vendors. A vendor's host has nothing else, and none of the lab's own endpoints."""
        if not self.is_for_a_vendor(request):
            return await handler(request)
        if self.find(request) is None:
            raise web.HTTPNotFound(text=f"The lab plays the identity provider of {host_of(request)} and nothing else.")
        if request.method not in {"GET", "HEAD"}:
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
        return await self._answer(request)

    def _vendor(self, request: web.Request) -> str:
        host = host_of(request)
        return host if host in self._vendors else ""

    async def _answer(self, request: web.Request) -> web.Response:
        document, place = self._found[self._vendor(request), request.path]
        if document == DISCOVERY:
            return answer(self._discovery(request, place))
        empty = self._taken(request, NO_KEYS, place)
        body = json.dumps({"keys": []}).encode() if empty else self._signers[place.name].jwks()
        return web.Response(body=body, content_type="application/json")

    def _discovery(self, request: web.Request, place: Place) -> dict[str, object]:
        issuer_url = self._issuer_url(place.name)
        origin = issuer_url.removesuffix(place.issuer_path) if place.issuer_path else issuer_url
        return {
            "issuer": WRONG_ISSUER_URL if self._taken(request, WRONG_ISSUER, place) else issuer_url,
            "jwks_uri": origin + place.keys_path,
            "id_token_signing_alg_values_supported": [self._signers[place.name].algorithm],
            "claims_supported": sorted(place.table.known),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            # Says to whoever looks that nothing signed here proves anything.
            "mintmark_lab": True,
        }

    def _taken(self, request: web.Request, name: str, place: Place) -> Active | None:
        fault = self._faults.take_named(name, place.name)
        if fault is not None:
            request[FAULT] = fault.name
        return fault
