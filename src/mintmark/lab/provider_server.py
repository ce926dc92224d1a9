"""Simulated CI identity providers: one server on loopback that is several issuers.

Owns the wire of the issuers (discovery, keys, GitHub's token request) and the two control endpoints by which a test or
`mintmark lab` orders tokens and jobs. Leaves what a token says to `lab.identity`, its signature to `lab.signer`, TLS to
`lab.authority`, and how a command gets its environment to `lab.job`.

It listens on 127.0.0.1 only, and whoever orders something must know its secret: a token of a lab is worth something to
an index that trusts the lab. Nothing here logs a token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property
from random import Random, SystemRandom
from types import TracebackType

from aiohttp import web

from mintmark.core.errors import Rejected
from mintmark.core.providers import BY_SLUG
from mintmark.core.providers.model import Provider
from mintmark.lab.identity import claims_for
from mintmark.lab.kinds import BY_SLUG as KIND_OF
from mintmark.lab.kinds import KINDS
from mintmark.lab.kinds.model import ImpossibleJob
from mintmark.lab.orders import BODY_MAX_BYTES, BadOrder, Order, parse_audience, parse_order
from mintmark.lab.signer import Signer
from mintmark.service.ports import Clock

JOBS_MAX = 1000
SECRET_HEADER = "X-Lab-Secret"
TOKEN_REQUEST_PATH = "/github/actions/oidc-token"
CODEFRESH_REQUEST_PATH = "/codefresh/api/oidc/id-token"
CONTROL_TOKEN_PATH = "/-/lab/token"
CONTROL_JOB_PATH = "/-/lab/job"


class LabProviders:
    """The simulated issuers. `signers` is there to be rotated; `secret` opens the control endpoints.

    Without `ssl_context` it speaks plain http, which no index takes for a GitHub issuer.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        ssl_context: ssl.SSLContext | None = None,
        signers: Mapping[str, Signer] | None = None,
        secret: str | None = None,
        random: Random | None = None,
        port: int = 0,
        host_name: str = "localhost",
        jobs_max: int = JOBS_MAX,
    ) -> None:
        self.signers = {kind.slug: (signers or {}).get(kind.slug) or Signer() for kind in KINDS}
        self.secret = secret if secret is not None else secrets.token_urlsafe(32)
        self.port = port
        self._clock = clock
        self._ssl_context = ssl_context
        self._random = random or SystemRandom()
        self._host_name = host_name
        self._jobs_max = jobs_max
        self._runner: web.AppRunner | None = None
        # Job id to what it is and the digest of the bearer token that may ask for its identity.
        self._jobs: OrderedDict[str, tuple[Order, bytes]] = OrderedDict()

    @property
    def base_url(self) -> str:
        """The server's own URL, without a slash at the end; known once started."""
        return f"{'https' if self._ssl_context else 'http'}://{self._host_name}:{self.port}"

    def issuer_url(self, slug: str) -> str:
        """The issuer URL of a provider, as `iss` says it."""
        return self.base_url + KIND_OF[slug].paths.issuer

    async def start(self) -> None:
        """Listen. `port` is the real one afterwards."""
        # No access log: a lab's terminal belongs to the command under test. Bodies are never inflated, so their
        # bound is the bound of what is read.
        self._runner = web.AppRunner(self._application(), access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._ssl_context).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and forget the jobs. May be called twice."""
        runner, self._runner = self._runner, None
        self._jobs.clear()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> LabProviders:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def token(self, order: Order, audience: str) -> str:
        """A fresh, signed identity token; raises `BadOrder`."""
        slug = order.provider.slug
        issuer_url = self.issuer_url(slug)
        try:
            claims = claims_for(
                order.provider,
                issuer_url,
                order.provider.issuer.server(issuer_url),
                order.config,
                overrides=order.claims,
                ref=order.ref,
                now=self._clock.now(),
                random=self._random,
                audience=audience,
                old_subject=order.old_subject,
            )
        except Rejected as error:
            raise BadOrder(error.sentence) from None
        except ImpossibleJob as error:
            raise BadOrder(str(error)) from None
        return self.signers[slug].sign(claims)

    # -- the issuers --------------------------------------------------------------------------------------------------

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_MAX_BYTES, middlewares=[_sentences])
        for kind in KINDS:
            application.router.add_get(
                f"{kind.paths.issuer}/.well-known/openid-configuration", self._discovery(kind.slug)
            )
            application.router.add_get(kind.paths.jwks, self._jwks(kind.slug))
        application.router.add_get(TOKEN_REQUEST_PATH, self._github_token)
        application.router.add_get(CODEFRESH_REQUEST_PATH + "/{run}", self._codefresh_token)
        application.router.add_post(CONTROL_TOKEN_PATH, self._control_token)
        application.router.add_post(CONTROL_JOB_PATH, self._control_job)
        return application

    def _discovery(self, slug: str) -> _Handler:
        provider: Provider = BY_SLUG[slug]

        async def answer(request: web.Request) -> web.Response:
            return _answer(
                {
                    "issuer": self.issuer_url(slug),
                    "jwks_uri": self.base_url + KIND_OF[slug].paths.jwks,
                    "id_token_signing_alg_values_supported": [self.signers[slug].algorithm],
                    "claims_supported": sorted(provider.known),
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    # Says to whoever looks that nothing signed here proves anything.
                    "mintmark_lab": True,
                }
            )

        return answer

    def _jwks(self, slug: str) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=self.signers[slug].jwks(), content_type="application/json")

        return answer

    async def _github_token(self, request: web.Request) -> web.Response:
        """GitHub's request for an identity token, as the runner's variables point to it."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        order = self._order_of_job(request.query.get("run", ""), bearer.strip() if scheme.lower() == "bearer" else "")
        audiences = request.query.getall("audience", [])
        if len(audiences) != 1:
            raise BadOrder("The request must name one audience: append &audience= to the request URL.")
        # Commands of a job name the optional claims that it did not ask for. What was ordered stays.
        omitted = dict.fromkeys(request.query.getall("omit", []))
        token = self.token(replace(order, claims={**omitted, **order.claims}), parse_audience(audiences[0]))
        return _answer({"count": len(token), "value": token})

    async def _codefresh_token(self, request: web.Request) -> web.Response:
        """Codefresh's request: no scheme before the secret, and another answer."""
        order = self._order_of_job(request.match_info["run"], request.headers.get("Authorization", ""))
        audiences = request.query.getall("audience", [])
        if len(audiences) != 1:
            raise BadOrder("The request must name one audience: append ?audience= to the request URL.")
        return _answer({"id_token": self.token(order, parse_audience(audiences[0]))})

    def _order_of_job(self, run: str, secret: str) -> Order:
        job = self._jobs.get(run)
        # One answer for an unknown job and a wrong token.
        if job is None or not hmac.compare_digest(_digest(secret), job[1]):
            raise web.HTTPUnauthorized(text="The bearer token is not the one of this job.")
        return job[0]

    # -- control ------------------------------------------------------------------------------------------------------

    async def _control_token(self, request: web.Request) -> web.Response:
        order = await self._order(request)
        return _answer({"token": self.token(order, _audience(order))})

    async def _control_job(self, request: web.Request) -> web.Response:
        order = await self._order(request)
        # Made once now, so that a mistake is told to whoever ordered the job and not to the client under test.
        self.token(order, order.audience or "mintmark_lab")
        made = KIND_OF[order.provider.slug].equip(_Desk(self, order))
        return _answer({"variables": dict(made.variables), "commands": dict(made.commands), "files": dict(made.files)})

    def open_job(self, order: Order) -> tuple[str, str]:
        """Remember a job that may ask for tokens later; its id and its bearer token."""
        job_id, bearer = secrets.token_hex(16), secrets.token_urlsafe(32)
        self._jobs[job_id] = (order, _digest(bearer))
        while len(self._jobs) > self._jobs_max:
            self._jobs.popitem(last=False)
        return job_id, bearer

    async def _order(self, request: web.Request) -> Order:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(_digest(given), _digest(self.secret)):
            raise web.HTTPUnauthorized(text=f"The header {SECRET_HEADER} does not hold this lab's secret.")
        return parse_order(await request.read(), self.signers.keys())


class _Desk:
    """See `lab.kinds.model.Desk`. The job is remembered once it is asked how to ask for more."""

    def __init__(self, lab: LabProviders, order: Order) -> None:
        self._lab = lab
        self._order = order

    @cached_property
    def _job(self) -> tuple[str, str]:
        return self._lab.open_job(self._order)

    def token(self, audience: str) -> str:
        return self._lab.token(self._order, audience)

    def wanted_audience(self) -> str:
        return _audience(self._order)

    def issuer_url(self) -> str:
        return self._lab.issuer_url(self._order.provider.slug)

    def request_url(self) -> str:
        # With a query, as GitHub's: clients append `&audience=`.
        return f"{self._lab.base_url}{TOKEN_REQUEST_PATH}?run={self._job[0]}&api-version=2.0"

    def request_secret(self) -> str:
        return self._job[1]

    def codefresh_request_url(self) -> str:
        return f"{self._lab.base_url}{CODEFRESH_REQUEST_PATH}/{self._job[0]}"


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _sentences(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every refusal as JSON with one sentence."""
    try:
        return await handler(request)
    except BadOrder as error:
        return _answer({"message": str(error)}, 400)
    except web.HTTPRequestEntityTooLarge:
        return _answer({"message": f"The body is larger than {BODY_MAX_BYTES} bytes."}, 413)
    except web.HTTPException as error:
        return _answer({"message": error.text or error.reason}, error.status)


def _audience(order: Order) -> str:
    if order.audience is None:
        raise BadOrder("The body has no audience.")
    return order.audience


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _answer(value: object, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(
        body=json.dumps(value).encode("ascii"), content_type="application/json", status=status, headers=headers
    )
