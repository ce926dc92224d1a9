"""A simulated job on a machine of Google Cloud that runs as a service account."""

from __future__ import annotations

from mintmark.lab.kinds.commands import REQUEST_FILE, request_of, script
from mintmark.lab.kinds.model import Desk, Equipment, Job, Kind, Paths, stable_id

LIFETIME_SECONDS = 3600
SHORTER_MAX_SECONDS = 600


def claims(job: Job, now: int) -> dict[str, object]:
    """As Google documents them for a token in its full format.

    Two tokens of one second have no id that tells them apart, so here their life does.
    """
    account = job.config["service-account"]
    number = job.config.get("service-account-id") or "1" + stable_id("account", account) * 2
    project = account.partition("@")[2].partition(".")[0]
    return {
        "azp": number,
        "sub": number,
        "email": account,
        "email_verified": True,
        "google": {
            "compute_engine": {
                "instance_creation_timestamp": now - 86_400,
                "instance_id": stable_id("instance", account),
                "instance_name": "publish",
                "project_id": project,
                "project_number": int(stable_id("project", project)),
                "zone": "europe-west1-b",
            }
        },
        "iat": now,
        "exp": now + LIFETIME_SECONDS - job.random.randrange(SHORTER_MAX_SECONDS),
    }


def equip(desk: Desk) -> Equipment:
    """`gcloud`, which asks the metadata server. The server itself has a name that the lab cannot take."""
    return Equipment({"CI": "true"}, {"gcloud": script("gcloud")}, {REQUEST_FILE: request_of(desk)})


KIND = Kind("google", Paths("/google", "/google/oauth2/v3/certs"), claims, equip, jti=False)
