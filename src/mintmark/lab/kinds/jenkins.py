"""A simulated build of Jenkins with the plugin oidc-provider and its default templates."""

from __future__ import annotations

from mintmark.lab.kinds.model import JOB_FOLDER, Desk, Equipment, Job, Kind, Paths

LIFETIME_SECONDS = 3600
BUILDS_MAX = 10_000
TOKEN_FILE = "id-token"


def claims(job: Job, now: int) -> dict[str, object]:
    """As the plugin makes them unless somebody changes its templates."""
    return {
        "sub": job.config["job-url"],
        "build_number": job.random.randrange(1, BUILDS_MAX),
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """What `withCredentials` binds for both kinds of credentials. A pipeline chooses these variables' names."""
    token = desk.token(desk.wanted_audience())
    variables = {
        "CI": "true",
        "JENKINS_URL": desk.issuer_url().removesuffix("oidc"),
        "ID_TOKEN": token,
        "ID_TOKEN_FILE": f"{JOB_FOLDER}/{TOKEN_FILE}",
    }
    return Equipment(variables, files={TOKEN_FILE: token})


KIND = Kind("jenkins", Paths("/jenkins/oidc", "/jenkins/oidc/jwks"), claims, equip, jti=False)
