"""The control endpoints of a lab: what tests and the command line order beside the command under test.

Owns who may ask, jobs, tokens, the journal and the fault switches. Leaves what a job finds to its kind, tokens to
`lab.provider_server`, and everything about the index to whoever hands in further endpoints.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeAlias

from aiohttp import web

from mintmark.lab import token_requests
from mintmark.lab.faults import FAULTS, Faults
from mintmark.lab.journal import ENTRIES_MAX, Journal
from mintmark.lab.kinds.model import BadOrder
from mintmark.lab.orders import Order, json_object, parse_order
from mintmark.lab.places import Place
from mintmark.lab.token_requests import TokenRequests
from mintmark.lab.wire import Handler, answer, digest, is_secret

SECRET_HEADER = "X-Lab-Secret"
PATH = "/-/lab/"
JOURNAL_LIMIT = 1000
NUMBER_MAX_DIGITS = 18

# Called with the place, or None for all, when what an index fetches of issuers is about to be different.
DocumentsChange: TypeAlias = Callable[[str | None], Awaitable[None]]
Further: TypeAlias = Mapping[str, Callable[[dict[str, Any]], Awaitable[dict[str, object]]]]


class Providers(Protocol):
    """What control needs of the provider server."""

    @property
    def places(self) -> Mapping[str, Place]: ...
    @property
    def secret(self) -> str: ...
    @property
    def token_requests(self) -> TokenRequests: ...
    @property
    def request_base_url(self) -> str: ...
    def issuer_url(self, place: str) -> str: ...
    def token(self, order: Order, audience: str, *, skew: Callable[[], float] | None = None) -> str: ...
    def skew_of_job(self, place: Place) -> float: ...
    def try_out(self, order: Order) -> None: ...


class Control:
    """The endpoints below `/-/lab/`. `journal` None: there is none to be asked for. `further`: by path below it."""

    def __init__(
        self,
        lab: Providers,
        journal: Journal | None,
        faults: Faults,
        further: Further,
        on_documents: DocumentsChange | None = None,
    ) -> None:
        self._lab = lab
        self._on_documents = on_documents
        self._documents_changed = False
        self._journal = journal
        self._faults = faults
        self._further = further

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The endpoints."""
        posts: dict[str, Handler] = {
            "token": self._token,
            "job": self._job,
            "faults": self._set_fault,
            "faults/clear": self._clear_faults,
        }
        gets: dict[str, Handler] = {"faults": self._list_faults}
        if self._journal is not None:
            posts["journal/clear"], gets["journal"] = self._clear_journal, self._read_journal
        posts |= {path: self._of(action) for path, action in self._further.items()}
        for path, handler in posts.items():
            router.add_post(PATH + path, self._guarded(handler))
        for path, handler in gets.items():
            router.add_get(PATH + path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not is_secret(request.headers.get(SECRET_HEADER, ""), digest(self._lab.secret)):
                raise web.HTTPUnauthorized(text=f"The header {SECRET_HEADER} does not hold this lab's secret.")
            return await handler(request)

        return guarded

    def _of(self, action: Callable[[dict[str, Any]], Awaitable[dict[str, object]]]) -> Handler:
        async def further(request: web.Request) -> web.StreamResponse:
            return answer(await action(await _object(request)))

        return further

    # -- identities ---------------------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.Response:
        order = parse_order(await request.read(), self._lab.places)
        return answer({"token": JobDesk(self._lab, order).token(order.wanted_audience())})

    async def _job(self, request: web.Request) -> web.Response:
        order = parse_order(await request.read(), self._lab.places)
        # So that a mistake is told to whoever ordered the job and not to the client under test.
        self._lab.try_out(order)
        made = order.place.kind.equip(JobDesk(self._lab, order))
        return answer({"variables": dict(made.variables), "commands": dict(made.commands), "files": dict(made.files)})

    # -- the journal --------------------------------------------------------------------------------------------------

    async def _read_journal(self, request: web.Request) -> web.Response:
        assert self._journal is not None
        after, limit = _number(request, "after", 0), _number(request, "limit", JOURNAL_LIMIT)
        entries = self._journal.after(after, min(limit, ENTRIES_MAX))
        last = entries[-1].number if entries else self._journal.last
        return answer({"entries": [entry.facts() for entry in entries], "last": last})

    async def _clear_journal(self, request: web.Request) -> web.Response:
        assert self._journal is not None
        self._journal.clear()
        return answer({})

    # -- faults -------------------------------------------------------------------------------------------------------

    async def _list_faults(self, request: web.Request) -> web.Response:
        active = [
            {"name": each.name, "left": each.left, "seconds": each.seconds, "ci": each.ci}
            for each in self._faults.listing()
        ]
        known = [
            {
                "name": fault.name,
                "server": fault.server,
                "actions": sorted(fault.actions),
                "does": fault.does,
                "takes_seconds": fault.takes_seconds,
                "kind": fault.kind,
            }
            for fault in FAULTS.values()
        ]
        return answer({"active": active, "known": known})

    async def _set_fault(self, request: web.Request) -> web.Response:
        wanted = await _object(request)
        unknown = sorted(wanted.keys() - {"name", "times", "seconds", "ci"})
        if unknown or not isinstance(wanted.get("name"), str):
            raise BadOrder("The body must have a name, and may have times, seconds and ci, and nothing else.")
        ci = wanted.get("ci")
        if ci is not None and (not isinstance(ci, str) or ci not in self._lab.places):
            raise BadOrder(f"ci must be one of {', '.join(sorted(self._lab.places))}.")
        fault = FAULTS.get(wanted["name"])
        of_documents = fault is not None and fault.of_documents
        # An index asks all issuers ahead of need: counted together, a fault would meet whichever happens to be first.
        each = ci is None and of_documents and fault is not None and fault.kind != "act"
        for one in self._lab.places if each else [ci]:
            # The switch looks at the numbers itself.
            self._faults.set(wanted["name"], times=wanted.get("times", 1), seconds=wanted.get("seconds"), ci=one)
        if of_documents:
            await self._documents_change(ci)
        return answer({})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        # Also after one that has run out: the index that met it waits a while before it asks again.
        if self._documents_changed:
            await self._documents_change(None)
            self._documents_changed = False
        return answer({})

    async def _documents_change(self, ci: str | None) -> None:
        self._documents_changed = True
        if self._on_documents is not None:
            await self._on_documents(ci)


class JobDesk:
    """See `lab.kinds.model.Desk`. The job is remembered once it is asked how to ask for more."""

    def __init__(self, lab: Providers, order: Order) -> None:
        self._lab = lab
        self._order = order

    @cached_property
    def _job(self) -> tuple[str, str]:
        return self._lab.token_requests.open(self._order)

    @cached_property
    def _skew(self) -> float:
        return self._lab.skew_of_job(self._order.place)

    def token(self, audience: str) -> str:
        # One clock has made all of them, so that a fault of it is in all of them.
        return self._lab.token(self._order, audience, skew=lambda: self._skew)

    def wanted_audience(self) -> str:
        return self._order.wanted_audience()

    def wanted_audiences(self) -> tuple[str, ...]:
        self._order.wanted_audience()
        return self._order.audiences

    def issuer_url(self) -> str:
        return self._lab.issuer_url(self._order.place.name)

    def request_url(self) -> str:
        return token_requests.github_url(self._lab.request_base_url, self._job[0])

    def request_secret(self) -> str:
        return self._job[1]

    def codefresh_request_url(self) -> str:
        return token_requests.codefresh_url(self._lab.request_base_url, self._job[0])

    def azure_request_url(self) -> str:
        return token_requests.azure_url(self._lab.request_base_url, self._job[0])

    def vault_url(self) -> str:
        return self._lab.request_base_url + token_requests.VAULT_PATH

    def vault_token(self) -> str:
        return token_requests.vault_token(*self._job)


async def _object(request: web.Request) -> dict[str, Any]:
    """The body; an empty one is an empty object."""
    body = await request.read()
    return json_object(body) if body else {}


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_MAX_DIGITS:
        raise BadOrder(f"{name} must be a whole number.")
    return int(text)
