"""A simulated job that has logged in to HashiCorp Vault or OpenBao."""

from __future__ import annotations

from mintmark.lab.kinds.model import Desk, Equipment, Job, Kind, Paths

ROLE = "publish"
LIFETIME_SECONDS = 3600
SHORTER_MAX_SECONDS = 1800


def claims(job: Job, now: int) -> dict[str, object]:
    """What every role has. What a template adds is ordered as claims.

    A real one gives the same token twice within a second, for it has no id. Here its life tells two apart.
    """
    return {
        "sub": job.config["entity-id"],
        "namespace": job.config.get("namespace") or "root",
        "iat": now,
        "exp": now + LIFETIME_SECONDS - job.random.randrange(SHORTER_MAX_SECONDS),
    }


def equip(desk: Desk) -> Equipment:
    """The variables of Vault's own programs. A pipeline chooses the name of the last one."""
    # The audience is the role's, so there must be one before the job asks.
    desk.wanted_audience()
    return Equipment({"VAULT_ADDR": desk.vault_url(), "VAULT_TOKEN": desk.vault_token(), "VAULT_OIDC_ROLE": ROLE})


_ISSUER = "/vault/v1/identity/oidc"
KIND = Kind("vault", Paths(_ISSUER, f"{_ISSUER}/.well-known/keys"), claims, equip, jti=False)
