"""What an issuer's tokens can say, held against its provider's table: lines about claims.

Owns the words. A discovery document's `claims_supported` is a hint (OpenID Connect Discovery 1.0 allows it to be
incomplete), so what is missing there is a reason to look at a token, not a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence

from mintmark.core.providers.model import ClaimPath, Provider
from mintmark.core.report_card import Line, note, ok, warning

SHOWN_MAX = 8
_HOUR_SECONDS = 3600


def report_on_claims(provider: Provider | None, supported: list[object] | None, *, asked: bool) -> Sequence[Line]:
    """The lines; `supported` is None where the document has no list."""
    if provider is None:
        return []
    lines = [*_needed(provider, supported)] if asked else []
    lines += [_ids(provider, supported), _audience(provider), _jti(provider, supported), _lifetime(provider)]
    return lines


def needed_claims(provider: Provider) -> tuple[str, ...]:
    """The claims without which no token of the provider matches a publisher, at most."""
    paths = [provider.lookup.claim, *(rule.claim for rule in provider.rules)]
    return tuple(dict.fromkeys(path[0] for path in paths if path))


def _needed(provider: Provider, supported: list[object] | None) -> Sequence[Line]:
    cure = f"Compare a token of a job with docs/providers/{provider.slug}.md, for example by `mintmark explain`."
    if supported is None:
        return [note("claims", "The discovery document lists no claims.", cure)]
    missing = [name for name in needed_claims(provider) if name not in supported]
    if not missing:
        return [ok("claims", "It offers every claim that the provider's table looks at.")]
    listed = ", ".join(missing[:SHOWN_MAX]) + (" …" if len(missing) > SHOWN_MAX else "")
    if _first(provider.lookup.claim) in missing:
        return [warning("claims", f"It does not list {listed}: no publisher would be found.", cure)]
    return [note("claims", f"It does not list {listed}.", cure)]


def _first(path: ClaimPath) -> str:
    return path[0] if path else ""


def _ids(provider: Provider, supported: list[object] | None) -> Line:
    topic = "immutable ids"
    fields = [field.name for field in provider.fields if field.immutable_id]
    pins = provider.pins
    there = ["/".join(path) for path in pins if supported is None or path[0] in supported]
    if not fields and not pins:
        cure = "Somebody who gets a name again can publish. Keep names for good, or use a narrow trust entry."
        return warning(topic, f"Tokens of {provider.title} hold none.", cure)
    if pins and not there:
        cure = "Somebody who gets a name again could publish: compare a token, or update the CI system."
        return warning(topic, f"It lists none of {', '.join('/'.join(path) for path in pins)}.", cure)
    return ok(topic, f"{', '.join(there or fields)}: names that are given away again do not match.")


def _audience(provider: Provider) -> Line:
    if provider.audience == "index":
        return ok("audience", "A job can ask for this index's audience.")
    return warning(
        "audience",
        f"Jobs of {provider.title} cannot ask for this index's audience, so their tokens are good elsewhere too.",
        "Whoever else gets such a token can publish with it. Take them only if that is acceptable, by naming the "
        "audience in the trust entry.",
    )


def _jti(provider: Provider, supported: list[object] | None) -> Line:
    if not provider.requires_jti:
        return note("jti", "Not required: a token without it is told apart by its digest, and counts once.")
    if supported is not None and "jti" not in supported:
        cure = "Compare a token of a job: without jti it is refused, and the CI system has to be updated."
        return note("jti", "The provider's tokens have one, but the discovery document does not list it.", cure)
    return ok("jti", "Every token has one, so that each is exchanged once.")


def _lifetime(provider: Provider) -> Line:
    hours = provider.max_lifetime_seconds / _HOUR_SECONDS
    again = "" if provider.reusable else " A job gets one token and cannot ask for another."
    return note(
        "lifetime", f"Tokens may live {hours:g} hours at most.{again}", "max-token-lifetime-seconds changes it."
    )
