"""Where simulated jobs ask for identity tokens.

Owns the jobs that may ask, each CI system's own way to ask, and who is refused. Leaves making the token to
`lab.provider_server`, and what a job is told about this to `lab.kinds`.
"""

from __future__ import annotations

import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from mintmark.lab.kinds.azure_devops import AUDIENCE as AZURE_AUDIENCE
from mintmark.lab.kinds.model import BadOrder
from mintmark.lab.kinds.vault import ROLE
from mintmark.lab.orders import Order, parse_audience
from mintmark.lab.wire import answer, digest, is_secret

JOBS_MAX = 1000
GITHUB_PATH = "/github/actions/oidc-token"
CODEFRESH_PATH = "/codefresh/api/oidc/id-token"
AZURE_PATH = "/azure-devops/lab/_apis/distributedtask/hubs/build/plans"
VAULT_PATH = "/vault"
VAULT_TOKEN_PREFIX = "hvs."
_JOB_CHARACTERS = 32

MakeToken = Callable[[Order, str, web.Request | None], str]


class TokenRequests:
    """The jobs, and the endpoints at which they ask. The oldest of more than `jobs_max` jobs are forgotten."""

    def __init__(self, make: MakeToken, jobs_max: int = JOBS_MAX) -> None:
        self._make = make
        self._jobs_max = jobs_max
        # Job id to what it is and the digest of the secret that may ask for its identity.
        self._jobs: OrderedDict[str, tuple[Order, bytes]] = OrderedDict()
        self._paths = (GITHUB_PATH, CODEFRESH_PATH + "/", AZURE_PATH + "/", VAULT_PATH + "/v1/identity/oidc/token/")

    def open(self, order: Order) -> tuple[str, str]:
        """Remember a job that may ask later; its id and its secret."""
        job_id, secret = secrets.token_hex(_JOB_CHARACTERS // 2), secrets.token_urlsafe(32)
        self._jobs[job_id] = (order, digest(secret))
        while len(self._jobs) > self._jobs_max:
            self._jobs.popitem(last=False)
        return job_id, secret

    def clear(self) -> None:
        """Forget the jobs."""
        self._jobs.clear()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The endpoints."""
        router.add_get(GITHUB_PATH, self._github)
        router.add_get(CODEFRESH_PATH + "/{job}", self._codefresh)
        router.add_post(AZURE_PATH + "/{job}/jobs/{step}/oidctoken", self._azure)
        router.add_get(VAULT_PATH + "/v1/identity/oidc/token/{role}", self._vault)

    def is_one(self, request: web.Request) -> bool:
        """Whether this is a request for a token."""
        return request.path.startswith(self._paths)

    def place_of(self, request: web.Request) -> str | None:
        """The place of the job that asks, as far as it says; it proves nothing yet."""
        job = self._jobs.get(_job_id(request))
        return None if job is None else job[0].place.name

    async def _github(self, request: web.Request) -> web.Response:
        """GitHub's request, as the runner's variables point to it."""
        order = self._order(request, _bearer(request))
        # Commands of a job name the optional claims that it did not ask for. What was ordered stays.
        omitted = dict.fromkeys(request.query.getall("omit", []))
        order = replace(order, claims={**omitted, **order.claims})
        token = self._make(order, _one_audience(request, "&audience="), request)
        return answer({"count": len(token), "value": token})

    async def _codefresh(self, request: web.Request) -> web.Response:
        """Codefresh's: no scheme before the secret, and another answer."""
        order = self._order(request, request.headers.get("Authorization", ""))
        return answer({"id_token": self._make(order, _one_audience(request, "?audience="), request)})

    async def _azure(self, request: web.Request) -> web.Response:
        """Azure's: a POST that can choose nothing but a service connection."""
        order = self._order(request, _bearer(request))
        if not request.query.get("api-version"):
            raise BadOrder("The request must name a version: append ?api-version=7.1 to the request URL.")
        if "serviceConnectionId" in request.query:
            raise BadOrder("The lab has no service connections: leave serviceConnectionId out.")
        return answer({"oidcToken": self._make(order, AZURE_AUDIENCE, request)})

    async def _vault(self, request: web.Request) -> web.Response:
        """Vault's: the role says whom the token is for."""
        given = request.headers.get("X-Vault-Token", "")
        try:
            order = self._order(request, given[len(VAULT_TOKEN_PREFIX) + _JOB_CHARACTERS :])
        except web.HTTPUnauthorized:
            raise web.HTTPForbidden(text="The header X-Vault-Token holds no token of this lab.") from None
        if request.match_info["role"] != ROLE:
            raise web.HTTPBadRequest(text=f"The lab's only role is {ROLE}.")
        audience = order.wanted_audience()
        data = {"client_id": audience, "token": self._make(order, audience, request)}
        return answer({"request_id": str(uuid.uuid4()), "data": data})

    def _order(self, request: web.Request, secret: str) -> Order:
        job = self._jobs.get(_job_id(request))
        # One answer for an unknown job and a wrong secret.
        if job is None or not is_secret(secret, job[1]):
            raise web.HTTPUnauthorized(text="The bearer token is not the one of this job.")
        return job[0]


def github_url(base_url: str, job_id: str) -> str:
    """With a query, as GitHub's: clients append `&audience=`."""
    return f"{base_url}{GITHUB_PATH}?run={job_id}&api-version=2.0"


def codefresh_url(base_url: str, job_id: str) -> str:
    """Without one: clients append `?audience=`."""
    return f"{base_url}{CODEFRESH_PATH}/{job_id}"


def azure_url(base_url: str, job_id: str) -> str:
    """Without one: clients append `?api-version=`."""
    return f"{base_url}{AZURE_PATH}/{uuid.UUID(job_id)}/jobs/{uuid.UUID(int=1)}/oidctoken"


def vault_token(job_id: str, secret: str) -> str:
    """Vault's token says by itself which job has it."""
    return f"{VAULT_TOKEN_PREFIX}{job_id}{secret}"


def _job_id(request: web.Request) -> str:
    given = request.headers.get("X-Vault-Token", "")
    if request.path.startswith(VAULT_PATH + "/") and given.startswith(VAULT_TOKEN_PREFIX):
        return given[len(VAULT_TOKEN_PREFIX) :][:_JOB_CHARACTERS]
    job_id = request.match_info.get("job") or request.query.get("run", "")
    return job_id.replace("-", "") if request.path.startswith(AZURE_PATH) else job_id


def _bearer(request: web.Request) -> str:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _one_audience(request: web.Request, how: str) -> str:
    audiences = request.query.getall("audience", [])
    if len(audiences) != 1:
        raise BadOrder(f"The request must name one audience: append {how} to the request URL.")
    return parse_audience(audiences[0])
