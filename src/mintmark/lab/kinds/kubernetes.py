"""A simulated pod of a Kubernetes cluster, with a projected service account token."""

from __future__ import annotations

from mintmark.lab.kinds.model import JOB_FOLDER, Desk, Equipment, Job, Kind, Paths, stable_uuid

LIFETIME_SECONDS = 3600
TOKEN_FILE = "token"


def claims(job: Job, now: int) -> dict[str, object]:
    """As Kubernetes documents them, for a version that names the node."""
    namespace, account = job.config["namespace"], job.config["service-account"]
    uid = job.config.get("service-account-uid") or stable_uuid("serviceaccount", namespace, account)
    return {
        "sub": f"system:serviceaccount:{namespace}:{account}",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": stable_uuid("node", "node-1")},
            "pod": {"name": "publish", "uid": stable_uuid("pod", namespace, "publish")},
            "serviceaccount": {"name": account, "uid": uid},
        },
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
    }


def equip(desk: Desk) -> Equipment:
    """The volume's file; the variable with its path is what the pod's definition in the documentation sets."""
    token = desk.token(desk.wanted_audience())
    return Equipment({"ID_TOKEN_FILE": f"{JOB_FOLDER}/{TOKEN_FILE}"}, files={TOKEN_FILE: token})


KIND = Kind("kubernetes", Paths("/kubernetes", "/kubernetes/openid/v1/jwks"), claims, equip, audience_as_list=True)
