"""A simulated workload with an entry in SPIRE, whose discovery provider is its issuer."""

from __future__ import annotations

from mintmark.lab.kinds.commands import REQUEST_FILE, request_of, script
from mintmark.lab.kinds.model import Desk, Equipment, Job, Kind, Paths

LIFETIME_SECONDS = 300
SHORTER_MAX_SECONDS = 60


def claims(job: Job, now: int) -> dict[str, object]:
    """As SPIRE makes them with a `jwt_issuer`. A real agent gives the same one until half its life is over."""
    return {
        "sub": f"spiffe://{job.config['trust-domain']}{job.config['path']}",
        "iat": now,
        "exp": now + LIFETIME_SECONDS - job.random.randrange(SHORTER_MAX_SECONDS),
    }


def equip(desk: Desk) -> Equipment:
    """`spire-agent`, which asks the Workload API."""
    return Equipment({"CI": "true"}, {"spire-agent": script("spire_agent")}, {REQUEST_FILE: request_of(desk)})


KIND = Kind("spiffe", Paths("/spire", "/spire/keys"), claims, equip, jti=False, audience_as_list=True)
