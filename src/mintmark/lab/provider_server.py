"""Simulated CI identity providers: one server on loopback that is several issuers.

Owns listening, which place has which key, and making tokens: fresh ones, the same one again, and those of a clock that
is wrong. Leaves what a token says to `lab.identity`, its signature to `lab.signer`, the wire to `lab.issuer_documents`,
`lab.token_requests` and `lab.control`, TLS to `lab.authority`, and how a command gets its environment to `lab.remote`.

It listens on 127.0.0.1 only, and whoever orders something must know its secret: a token of a lab is worth something to
an index that trusts the lab. Nothing here logs a token.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from random import Random, SystemRandom
from types import TracebackType

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.lab.control import PATH as CONTROL_PATH
from mintmark.lab.control import Control, DocumentsChange, Further
from mintmark.lab.faults import BadFault, Faults
from mintmark.lab.identity import claims_for
from mintmark.lab.issuer_documents import IssuerDocuments
from mintmark.lab.journal import Journal
from mintmark.lab.kinds.model import BadOrder, ImpossibleJob
from mintmark.lab.orders import BODY_MAX_BYTES, Order
from mintmark.lab.places import DEV_PLACES, Place, by_name
from mintmark.lab.signer import Signer
from mintmark.lab.token_requests import JOBS_MAX, TokenRequests
from mintmark.lab.watch import FAULT, watching
from mintmark.lab.wire import sentences
from mintmark.service.ports import Clock

TOKENS_MAX = 1000
CLOCK_SKEW, ROTATED, ROTATED_SAME_KID = "clock-skew", "keys-rotated", "keys-rotated-same-kid"


class LabProviders:
    """The simulated issuers. `signers` is there to be rotated; `secret` opens the control endpoints.

    Without `ssl_context` it speaks plain http, which no index takes for a GitHub issuer. With `plain` it listens a
    second time without TLS, and jobs ask for tokens there: some clients trust no CA but their own for that.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ssl_context: ssl.SSLContext | None = None,
        places: Iterable[Place] = DEV_PLACES,
        signers: Mapping[str, Signer] | None = None,
        secret: str | None = None,
        random: Random | None = None,
        port: int = 0,
        plain: bool = False,
        plain_port: int = 0,
        host_name: str = "localhost",
        jobs_max: int = JOBS_MAX,
        tokens_max: int = TOKENS_MAX,
        journal: Journal | None = None,
        faults: Faults | None = None,
        control: Further | None = None,
        on_documents: DocumentsChange | None = None,
    ) -> None:
        self.places = by_name(places)
        # A signer makes its key when that is first needed.
        self.signers = {name: (signers or {}).get(name) or Signer() for name in self.places}
        self.secret = secret if secret is not None else secrets.token_urlsafe(32)
        self.port = port
        self.plain_port = plain_port
        self._plain = plain
        self._clock = clock
        self._ssl_context = ssl_context
        self._random = random or SystemRandom()
        self._host_name = host_name
        self._journal = journal
        self._faults = faults if faults is not None else Faults()
        self._faults.on_act = self._act
        self._runner: web.AppRunner | None = None
        self._tokens_max = tokens_max
        # What was ordered to the last token that was made for it.
        self._tokens: OrderedDict[bytes, str] = OrderedDict()
        self.token_requests = TokenRequests(self.token, jobs_max)
        self._documents = IssuerDocuments(self.places, self.signers, self._faults, self.issuer_url)
        self._control = Control(self, journal, self._faults, control or {}, on_documents)

    @property
    def base_url(self) -> str:
        """The server's own URL, without a slash at the end; known once started."""
        return f"{'https' if self._ssl_context else 'http'}://{self._host_name}:{self.port}"

    @property
    def request_base_url(self) -> str:
        """Where jobs ask for tokens."""
        return f"http://{self._host_name}:{self.plain_port}" if self._plain else self.base_url

    def issuer_url(self, place: str) -> str:
        """The issuer URL of a place, as `iss` says it."""
        found = self.places[place]
        return found.issuer if found.host else self.base_url + found.issuer

    async def start(self) -> None:
        """Listen. `port` and `plain_port` are the real ones afterwards."""
        # No access log: a lab's terminal belongs to the command under test. Bodies are never inflated, so their
        # bound is the bound of what is read.
        self._runner = web.AppRunner(self._application(), access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._ssl_context).start()
        self.port = self._runner.addresses[0][1]
        if self._plain:
            await web.TCPSite(self._runner, "127.0.0.1", self.plain_port).start()
            self.plain_port = self._runner.addresses[1][1]

    async def close(self) -> None:
        """Stop listening and forget jobs and tokens. May be called twice."""
        runner, self._runner = self._runner, None
        self.token_requests.clear()
        self._tokens.clear()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> LabProviders:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- tokens -------------------------------------------------------------------------------------------------------

    def token(
        self,
        order: Order,
        audience: str,
        request: web.Request | None = None,
        skew: Callable[[], float] | None = None,
    ) -> str:
        """A signed identity token: fresh, or with `same_token` the one made last for such an order.

        Raises `BadOrder`. A fault that changes the token is noted at the request. `skew`: by how much the clock is
        fast, where there is no request.
        """
        fixed = order.place.kind.fixed_audience
        if fixed is not None:
            audience = fixed(self.issuer_url(order.place.name))
        key = _key(order, audience)
        if order.same_token and key in self._tokens:
            return self._tokens[key]
        seconds = skew() if skew is not None else self._skew_seconds(order.place, request)
        claims = self._claims(order, audience, self._clock.now() + seconds)
        self._tokens[key] = token = self.signers[order.place.name].sign(claims)
        self._tokens.move_to_end(key)
        while len(self._tokens) > self._tokens_max:
            self._tokens.popitem(last=False)
        return token

    def try_out(self, order: Order) -> None:
        """Raise `BadOrder` where no token could be made for it. Makes none, and takes no fault."""
        self._claims(order, order.audience or "mintmark_lab", self._clock.now())

    def _claims(self, order: Order, audience: str, now: float) -> dict[str, object]:
        place = order.place
        issuer_url = self.issuer_url(place.name)
        try:
            return claims_for(
                place.table,
                issuer_url,
                place.table.issuer.server(issuer_url),
                order.config,
                overrides=order.claims,
                ref=order.ref,
                now=now,
                random=self._random,
                audience=audience,
                old_subject=order.old_subject or place.old_subject,
            )
        except Rejected as error:
            raise BadOrder(error.sentence) from None
        except ImpossibleJob as error:
            raise BadOrder(str(error)) from None

    # -- faults and the journal ---------------------------------------------------------------------------------------

    def skew_of_job(self, place: Place) -> float:
        """By how much the clock is fast for all tokens that a job finds; counts, and is told, as one request."""
        fault = self._faults.take_named(CLOCK_SKEW, place.name)
        if fault is None:
            return 0.0
        if self._journal is not None:
            self._journal.write(
                server="provider",
                action="request-token",
                method="",
                status=200,
                reason="OK",
                fault=fault.name,
                ci=place.name,
                note="The tokens that a job found when it began.",
            )
        return fault.seconds or 0.0

    def _skew_seconds(self, place: Place, request: web.Request | None) -> float:
        fault = self._faults.take_named(CLOCK_SKEW, place.name)
        if fault is not None and request is not None:
            request[FAULT] = fault.name
        return 0.0 if fault is None else fault.seconds or 0.0

    def _act(self, name: str, ci: str | None) -> None:
        """Rotate keys. Of keys that are not made yet nobody can have seen a former one."""
        if ci is not None and ci not in self.places:
            raise BadFault(f"ci must be one of {', '.join(sorted(self.places))}.")
        if name not in {ROTATED, ROTATED_SAME_KID}:
            raise BadFault(f"The simulated identity providers cannot do {name}.")
        for place, signer in self.signers.items():
            if ci in {None, place} and signer.is_made:
                signer.rotate(same_kid=name == ROTATED_SAME_KID)

    def _name(self, request: web.Request) -> tuple[str, str | None]:
        """What a request is to the journal, and of which place."""
        document = self._documents.find(request)
        if document is not None:
            return document
        if not self._documents.is_for_a_vendor(request):
            if request.path.startswith(CONTROL_PATH):
                return "control", None
            if self.token_requests.is_one(request):
                return "request-token", self.token_requests.place_of(request)
        return "other", None

    def _application(self) -> web.Application:
        journal = self._journal if self._journal is not None else Journal(self._clock, entries_max=1)
        watch = watching(journal, self._faults, "provider", self._name)
        application = web.Application(
            client_max_size=BODY_MAX_BYTES, middlewares=[watch, sentences, self._documents.by_host]
        )
        self._documents.add_to(application.router)
        self.token_requests.add_to(application.router)
        self._control.add_to(application.router)
        return application


def _key(order: Order, audience: str) -> bytes:
    """The same for two orders of one token."""
    old = order.old_subject
    text = json.dumps(
        [order.place.name, dict(order.config), dict(order.claims), audience, order.ref, old], sort_keys=True
    )
    return hashlib.sha256(text.encode("ascii")).digest()
