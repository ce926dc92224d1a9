"""Why would this identity token be taken or refused? A dry run of an exchange that spends nothing.

Owns the steps, in the order in which an exchange takes them, but goes on after a refusal where the next step still
says something. Writes nothing, and no token or credential leaves it. Leaves every rule to the modules that the exchange
asks as well: `core.jwt`, `core.match`, the trust entry's conditions to `service.mint`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mintmark.core import jwt
from mintmark.core.errors import Rejected, Unavailable
from mintmark.core.jwt import UnverifiedToken
from mintmark.core.match import Mismatch, mismatches, shown
from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Issuer, Publisher, Registry
from mintmark.core.report_card import Grade, Line, bad, note, ok, worst
from mintmark.service.directory import key_source
from mintmark.service.mint import rules_of
from mintmark.service.ports import Clock, Keys, Ledger, Transaction
from mintmark.service.trust import find_registry

# Of one repository there may be many publishers; a person reads the nearest.
PUBLISHERS_SHOWN = 20
_TOPIC_CLAIMS = "registered claims"


@dataclass(frozen=True, slots=True)
class Nearby:
    """A publisher that the token's lookup claim finds, and what of it does not match."""

    publisher: Publisher
    mismatches: tuple[Mismatch, ...]
    lapsed: bool

    @property
    def matches(self) -> bool:
        """Whether it would be part of the credential."""
        return not self.mismatches and not self.lapsed


@dataclass(slots=True)
class Explanation:
    """What would happen."""

    registry: str
    provider: str = ""
    lines: list[Line] = field(default_factory=list)
    nearby: list[Nearby] = field(default_factory=list)
    found: int = 0
    """How many publishers the lookup finds; of these the nearest are told."""
    uploads: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    @property
    def would_mint(self) -> bool:
        """Whether an exchange would give a credential, as far as it was looked at."""
        return worst(self.lines) is not Grade.BAD and bool(self.uploads or self.reads)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is explained. `keys` None: no signature is looked at, `why` says why."""

    token: UnverifiedToken
    is_token: bool
    """Whether it is a token, rather than claims that somebody pasted."""
    keys: Keys | None
    why: str = ""


class Explain:
    """The use case."""

    def __init__(self, ledger: Ledger, clock: Clock, host_audience: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._host_audience = host_audience

    async def __call__(self, slug: str, asked: Asked) -> Explanation:
        """Explain for one registry. Raises `Rejected` when there is no such registry."""
        found = Explanation(slug)
        registry, issuer = await self._ledger.read(lambda tx: self._trusting(tx, slug, asked.token, found))
        if issuer is None:
            return found
        found.provider = issuer.provider
        found.lines.append(await self._signature(issuer, asked))
        now = self._clock.now()
        replay_key = self._claims(registry, issuer, asked, now, found)
        await self._ledger.read(lambda tx: self._in_ledger(tx, registry, issuer, asked, now, replay_key, found))
        return found

    def _trusting(
        self, tx: Transaction, slug: str, token: UnverifiedToken, found: Explanation
    ) -> tuple[Registry, Issuer | None]:
        registry = find_registry(tx, slug)
        mine = [each for each in tx.issuers.every() if each.registry_id == registry.id]
        issuer = next((each for each in mine if each.url == token.issuer), None)
        if not registry.enabled:
            found.lines.append(bad("registry", "It is switched off.", "Set enabled = true for the registry."))
        if not registry.trusted_publishing:
            cure = "Set trusted-publishing = true for the registry."
            found.lines.append(bad("registry", "It exchanges no identity tokens.", cure))
        if issuer is None:
            found.lines.append(_unknown(token.issuer, mine))
        elif not issuer.enabled:
            cure = f"mintmark issuer enable {slug} {issuer.name}"
            found.lines.append(bad("issuer", f"{issuer.name} is known and switched off.", cure))
        else:
            found.lines.append(ok("issuer", f"{issuer.name} ({issuer.provider}) is trusted: {shown(issuer.url)}."))
        return registry, issuer

    async def _signature(self, issuer: Issuer, asked: Asked) -> Line:
        if asked.keys is None:
            return note("signature", f"Not looked at: {asked.why}.")
        source, rules = key_source(issuer), rules_of(issuer)
        try:
            keys = await asked.keys.current(source)
            try:
                jwt.check_signature(asked.token, keys, rules)
            except (jwt.UnknownKey, jwt.BadSignature):
                newer = await asked.keys.newer(source, keys)
                jwt.check_signature(asked.token, newer, rules)
        except Unavailable as error:
            cure = f"mintmark issuer check {issuer.url} says more; --offline leaves the signature out."
            return bad("signature", f"Its keys cannot be had: {error.private}.", cure)
        except Rejected as refusal:
            cure = "Compare the token's header with mintmark issuer check; another issuer may have signed it."
            return bad("signature", f"{_sentence(refusal)}.", cure)
        return ok("signature", "A key of the issuer made it.")

    def _claims(self, registry: Registry, issuer: Issuer, asked: Asked, now: float, found: Explanation) -> str:
        """The line on the registered claims; returns the replay key, "" when they are wrong."""
        claims, rules = asked.token.claims, rules_of(issuer)
        accepted = [issuer.audience] if issuer.audience else [registry.audience]
        if registry.host_mint and not issuer.audience:
            accepted.append(self._host_audience)
        said = claims.get("aud")
        one = said[0] if isinstance(said, list) and len(said) == 1 else said
        if one not in accepted:
            cure = "Let the job ask for that audience."
            expected = " or ".join(map(repr, accepted))
            found.lines.append(bad("audience", f"expected {expected}, got {shown(said)}.", cure))
        else:
            where = "the host-wide exchange" if one == self._host_audience else "this registry's exchange"
            found.lines.append(ok("audience", f"{shown(one)}, for {where}."))
        try:
            # The audience was judged above, so that the others are judged whatever it is.
            key = jwt.replay_key_of(asked.token, rules, one if isinstance(one, str) else "", now)
        except Rejected as refusal:
            if isinstance(one, str):
                times = ", ".join(f"{name} {shown(claims.get(name))}" for name in ("iat", "nbf", "exp"))
                sentence = f"{_sentence(refusal)} (now {int(now)}, {times})."
                found.lines.append(bad(_TOPIC_CLAIMS, sentence, "Let the job ask for a fresh token."))
            return ""
        found.lines.append(ok(_TOPIC_CLAIMS, "Dates and lifetime are as they must be."))
        return key

    def _in_ledger(
        self,
        tx: Transaction,
        registry: Registry,
        issuer: Issuer,
        asked: Asked,
        now: float,
        replay_key: str,
        found: Explanation,
    ) -> None:
        if replay_key:
            found.lines.append(_replay(tx, issuer, asked, replay_key))
        claims = asked.token.claims
        provider = BY_SLUG[issuer.provider]
        lookups = provider.lookups_of_claims(claims)
        candidates = tx.publishers.candidates(issuer.id, lookups) if lookups else []
        for publisher in candidates:
            lapsed = publisher.expires_at is not None and publisher.expires_at <= now
            found.nearby.append(Nearby(publisher, mismatches(issuer, publisher, asked.token.issuer, claims), lapsed))
        found.found = len(candidates)
        for each in found.nearby:
            if each.matches:
                names = found.reads if each.publisher.reads else found.uploads
                names.append(each.publisher.project)
        found.uploads, found.reads = sorted(set(found.uploads)), sorted(set(found.reads))
        found.nearby.sort(key=lambda each: (len(each.mismatches), each.publisher.id))
        del found.nearby[PUBLISHERS_SHOWN:]
        found.lines.append(_publishers(found, issuer, registry, lookups))


def _replay(tx: Transaction, issuer: Issuer, asked: Asked, key: str) -> Line:
    issued, border = asked.token.claims.get("iat"), tx.replays.issued_after()
    if isinstance(issued, int | float) and issued <= border:
        cure = "Run the job again, so that it gets a fresh identity token."
        return bad("replay", "It was issued before this index was restored from a backup.", cure)
    if not asked.is_token and not key.startswith("jti:"):
        return note("replay", "Without a jti only the token itself could tell.")
    if not tx.replays.is_claimed(issuer.url, key):
        return ok("replay", "It was not exchanged yet. Looking at it spent nothing.")
    if issuer.remint and tx.replays.first(issuer.url, key):
        return note("replay", "It was exchanged before; this issuer's tokens may be exchanged again for a while.")
    again = "Let the job ask for a fresh one." if BY_SLUG[issuer.provider].reusable else "Its job gets no other one."
    return bad("replay", "It was exchanged already: it would be refused as reused.", again)


def _publishers(found: Explanation, issuer: Issuer, registry: Registry, lookups: Sequence[str]) -> Line:
    add = f"mintmark publisher add {registry.slug} PROJECT --issuer {issuer.name} …"
    if not lookups:
        claim = "/".join(BY_SLUG[issuer.provider].lookup.claim)
        return bad("publishers", f"The claim {claim} is missing, by which publishers are found.", "Compare the token.")
    if not found.found:
        return bad("publishers", f"None is registered for {', '.join(map(shown, lookups[:3]))}.", add)
    matching = sum(1 for each in found.nearby if each.matches)
    if not found.uploads and not found.reads:
        return bad("publishers", f"None of {found.found} near ones matches.", "What differs stands below.")
    return ok("publishers", f"At least {matching} of {found.found} near ones match.")


def _unknown(url: str, mine: Sequence[Issuer]) -> Line:
    near = [each.url for each in mine if each.url.rstrip("/").lower() == url.rstrip("/").lower()]
    if near:
        cure = f"Issuers are compared byte for byte: {shown(near[0])} is trusted. Register what the tokens say."
    else:
        cure = "mintmark issuer check says whether it can be trusted, mintmark issuer add trusts it."
    return bad("issuer", f"The registry does not trust {shown(url)}.", cure)


def _sentence(refusal: Rejected) -> str:
    text = refusal.private or refusal.detail
    return f"{text[:1].upper()}{text[1:]}"
