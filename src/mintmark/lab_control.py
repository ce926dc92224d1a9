"""What a running lab does for the commands and tests beside it.

Owns turning control requests into use cases of the lab's own index: publishers, registries, API tokens, stopping.
Leaves who may ask, and the requests about tokens, faults and the journal, to `lab.provider_server`.

One request instead of one process: a test that needs a publisher has it in a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mintmark.assemble import Index
from mintmark.core.errors import Rejected
from mintmark.core.records import SYSTEM
from mintmark.core.trust import Host, parse_publisher, parse_trust

Action = Callable[[dict[str, Any]], Awaitable[dict[str, object]]]
TOKEN_SECONDS = 86_400


class Clerk:
    """The control requests. They are refused until the index is open."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._index: Index | None = None

    def open(self, index: Index, issuers: Callable[[], Mapping[str, object]], host: Host) -> None:
        """From now on requests are taken. `issuers` gives the trust entries of a new registry."""
        self._issuers, self._host = issuers, host
        self._index = index

    def actions(self) -> dict[str, Action]:
        """By their path below `/-/lab/`."""
        return {
            "registry": self._add_registry,
            "registry/close": self._close_registry,
            "publisher": self._add_publisher,
            "publisher/remove": self._remove_publisher,
            "api-token": self._create_token,
            "stop": self._end,
        }

    async def _add_registry(self, order: dict[str, Any]) -> dict[str, object]:
        name = _text(_only(order, "name"), "name")
        trust = self._opened().trust
        document = {"registry": {name: {"private": False, "issuer": self._issuers()}}}
        (wanted,) = parse_trust(document, self._host, lambda path: Path(path).read_text(encoding="utf-8"))
        registry = await trust.add_registry(wanted.registry, SYSTEM)
        # At once, so that they share a commit.
        await asyncio.gather(*(trust.add_issuer(registry.slug, issuer, SYSTEM) for issuer in wanted.issuers))
        return {"name": registry.slug, "audience": registry.audience}

    async def _close_registry(self, order: dict[str, Any]) -> dict[str, object]:
        await self._opened().trust.change_registry(
            _text(_only(order, "name"), "name"), lambda registry: replace(registry, enabled=False), SYSTEM
        )
        return {}

    async def _add_publisher(self, order: dict[str, Any]) -> dict[str, object]:
        settings = _only(order, "registry", "issuer", "settings").get("settings")
        if not isinstance(settings, dict):
            raise _wrong("settings must be an object with the project and the provider's fields")
        project = settings.get("project")
        publisher = await self._opened().trust.add_publisher(
            _text(order, "registry"),
            _text(order, "issuer"),
            lambda issuer: parse_publisher(f"publisher of {project}", settings, issuer),
            SYSTEM,
        )
        return {"id": publisher.id, "project": publisher.project, "fields": dict(publisher.config)}

    async def _remove_publisher(self, order: dict[str, Any]) -> dict[str, object]:
        number = _only(order, "registry", "id").get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise _wrong("id must be a number")
        await self._opened().trust.remove_publisher(_text(order, "registry"), number, SYSTEM)
        return {}

    async def _create_token(self, order: dict[str, Any]) -> dict[str, object]:
        projects = _only(order, "registry", "name", "projects").get("projects", ["*"])
        if not isinstance(projects, list) or not all(isinstance(each, str) for each in projects):
            raise _wrong("projects must be a list of strings")
        secret, _ = await self._opened().tokens.create(
            _text(order, "registry"),
            _text(order, "name"),
            tuple(projects),
            can_upload=True,
            can_read=True,
            lifetime_seconds=TOKEN_SECONDS,
            principal=SYSTEM,
        )
        return {"token": secret}

    async def forget_keys(self, place: str | None) -> None:
        """Let the index ask the issuers of a place, or of all, for their keys anew: a switched fault shows at once."""
        trust = self._opened().trust
        found = [
            (registry.slug, issuer)
            for registry, issuers, _ in await trust.overview()
            for issuer in issuers
            if registry.enabled and place in (None, issuer.name)
        ]
        # The same number for all: entries with equal sources share what was fetched, which goes once for each number.
        epoch = 1 + max((issuer.purge_epoch for _, issuer in found), default=0)
        forget = partial(replace, purge_epoch=epoch)
        await asyncio.gather(*(trust.change_issuer(slug, issuer.name, forget, SYSTEM) for slug, issuer in found))

    async def _end(self, order: dict[str, Any]) -> dict[str, object]:
        _only(order)
        self._stop.set()
        return {}

    def _opened(self) -> Index:
        if self._index is None:
            raise _wrong("the lab is still starting; wait until it says that it is ready")
        return self._index


def _only(order: dict[str, Any], *names: str) -> dict[str, Any]:
    """The order. A member that is written wrongly must not count as one that is left out."""
    unknown = sorted(order.keys() - set(names))
    if unknown:
        raise _wrong(f"the body has an unknown member {unknown[0]!r}; there are {', '.join(names) or 'none'}")
    return order


def _text(order: Mapping[str, Any], name: str) -> str:
    value = order.get(name)
    if not isinstance(value, str) or not value:
        raise _wrong(f"{name} must be a string that is not empty")
    return value


def _wrong(problem: str) -> Rejected:
    return Rejected("invalid-request", f"The order cannot be carried out: {problem}.")
