"""Immutable ids of a publisher: given by a person, or learned at its first use.

Owns which claims are learned, when a publisher is protected, and whether a token has the ids that were learned. Names
can be given to somebody else after a deletion, ids cannot: without one, whoever gets the name publishes. Leaves
learning in the right transaction to `service.mint_attempt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mintmark.core.errors import Rejected
from mintmark.core.providers.model import ClaimPath, Claims, Config, Identity, Provider, claim_at

# A publisher that no id protects lapses when nobody used it for this time.
UNPROTECTED_SECONDS = 30 * 86_400
# An id is a number or a UUID. What is longer is none, and not learned.
PIN_MAX_CHARACTERS = 255
WHY = "This id was learned at the first use: another one under the same name is somebody else."
CURE = "If it moved on purpose, the operator can say so: mintmark publisher repin."


@dataclass(frozen=True, slots=True)
class Difference:
    """A claim that is not the id that was learned."""

    claim: str
    learned: str
    actual: object


def name_of(path: ClaimPath) -> str:
    """A claim's path as people and the ledger know it. It is never taken apart again."""
    return "/".join(path)


def is_given(provider: Provider, config: Config) -> bool:
    """Whether a person gave an immutable id."""
    # Where publishers say themselves which claim is the id, they name it and do not give it.
    named = provider.pins_of_config is not None
    return not named and any(field.immutable_id and config.get(field.name) for field in provider.fields)


def may_lapse(provider: Provider, config: Config, pins: Mapping[str, str]) -> bool:
    """Whether nothing protects a publisher that an id could protect."""
    return bool(provider.pins_of(config)) and not pins and not is_given(provider, config)


def learnable(provider: Provider, config: Config, claims: Claims) -> dict[str, str]:
    """The ids a token states, as strings: what is not one is not learned, and what is not there cannot be."""
    found = ((name_of(path), claim_at(claims, path)) for path in provider.pins_of(config))
    return {name: value for name, value in found if isinstance(value, str) and 0 < len(value) <= PIN_MAX_CHARACTERS}


def differences(provider: Provider, config: Config, pins: Mapping[str, str], claims: Claims) -> Iterator[Difference]:
    """Every learned id that the token does not state exactly so."""
    if not pins:
        return
    paths = {name_of(path): path for path in provider.pins_of(config)}
    for name, learned in pins.items():
        # Invariant: a learned id is required for ever, also if a later release has another table.
        actual = claim_at(claims, paths.get(name, (name,)))
        if not isinstance(actual, str) or actual != learned:
            yield Difference(name, learned, actual)


def kept(provider: Provider, config: Config, pins: Mapping[str, str]) -> dict[str, str]:
    """What of the learned ids still counts for a publisher that is written anew: an id that is given now wins."""
    given = {
        name_of(rule.claim)
        for rule in provider.rules
        if rule.claim in provider.pins_of(config) and rule.expect(Identity(config, {}, "")) is not None
    }
    return {name: value for name, value in pins.items() if name not in given}


def repinned(pins: Mapping[str, str], former: str, new: str, claim: str = "") -> tuple[str, dict[str, str]]:
    """The learned ids with one of them replaced, and its claim. Raises `Rejected`."""
    holding = sorted(name for name, value in pins.items() if value == former and claim in {"", name})
    known = ", ".join(f"{name}={value}" for name, value in sorted(pins.items()))
    if not holding:
        raise Rejected(
            "invalid-trust",
            f"The publisher has not learned the id {former!r}.",
            hint=f"It has learned: {known or 'nothing yet'}.",
        )
    if len(holding) > 1:
        raise Rejected("invalid-trust", f"Several of its ids are {former!r}.", hint=f"Add --claim: {known}.")
    if not new or len(new) > PIN_MAX_CHARACTERS or not new.isprintable() or new != new.strip():
        raise Rejected(
            "invalid-trust",
            f"{new!r} is no id.",
            hint=f"Write it as the token states it, in at most {PIN_MAX_CHARACTERS} characters.",
        )
    return holding[0], {**pins, holding[0]: new}
