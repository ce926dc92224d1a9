"""What a simulated CI job says about itself: the claims of a fresh identity token.

Owns what all kinds have in common, and what an order may change. Leaves everything that a real token of one kind holds
to its module in `lab.kinds`, and signing to `lab.signer`. Nothing here decides what is accepted: the claims are
written after the vendors' documentation, and `core.match` judges them like any others.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from random import Random

from mintmark.core.providers.model import Provider
from mintmark.lab.kinds import BY_SLUG
from mintmark.lab.kinds.model import PROTECTED_REF, ImpossibleJob, Job


def claims_for(
    provider: Provider,
    issuer_url: str,
    server: str,
    config: Mapping[str, str],
    *,
    overrides: Mapping[str, object] | None = None,
    ref: str = PROTECTED_REF,
    now: float,
    random: Random,
    audience: str,
    old_subject: bool = False,
) -> dict[str, object]:
    """The claims of a token that matches a publisher with this configuration.

    `overrides` replace claims as they are, without changing what is derived from them, and None removes one. Raises
    `Rejected` for a configuration that the provider does not allow and `ImpossibleJob` for a ref that no job has.
    `old_subject` asks for GitHub's `sub` as it was before owner and repository ids became part of it.
    """
    kind = BY_SLUG.get(provider.slug)
    if kind is None:
        raise ImpossibleJob(f"The lab cannot simulate {provider.title}.")
    job = Job(issuer_url, server, provider.parse_config(config), ref, random, old_subject)
    claims: dict[str, object] = {
        **({"jti": str(uuid.UUID(int=random.getrandbits(128), version=4))} if kind.jti else {}),
        "iss": issuer_url,
        "aud": [audience] if kind.audience_as_list else audience,
        **kind.claims(job, int(now)),
        **(overrides or {}),
    }
    removed = {name for name, value in (overrides or {}).items() if value is None}
    return {name: value for name, value in claims.items() if name not in removed}
