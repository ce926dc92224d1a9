"""Random publishers and identities of every provider: nothing matches across issuers, and fewer never accept more."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from mintmark.core.jwt import VerifiedClaims
from mintmark.core.match import Match, match, match_all
from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.core.providers.model import Field
from mintmark.core.records import Constraints, Issuer, Publisher
from mintmark.lab.identity import claims_for
from mintmark.lab.signer import Signer
from support.tokens import AUDIENCE, NOW, keys_of, rules, verify

SIGNER = Signer("ES256")
SLUGS = st.sampled_from([provider.slug for provider in PROVIDERS])
# Two issuers of one provider, and the same URL under two providers that both allow it.
HOSTS = st.integers(0, 1)


def issuer(slug: str, number: int) -> Issuer:
    examples = BY_SLUG[slug].issuer.examples
    url = examples[number % len(examples)] if number < len(examples) else f"https://localhost:8443/{slug}"
    identity = 1 + 2 * sorted(BY_SLUG).index(slug) + number
    return Issuer(identity, 1, f"{slug}-{number}", slug, url, server=BY_SLUG[slug].issuer.server(url))


def optional(slug: str) -> list[Field]:
    instead = {field.unless for field in BY_SLUG[slug].fields}
    return [field for field in BY_SLUG[slug].fields if not field.required and field.name not in instead]


def config(slug: str, chosen: int) -> dict[str, str]:
    """The required fields, and of the others those whose bits are set."""
    required = {field.name: field.example for field in BY_SLUG[slug].fields if field.required}
    return required | {field.name: field.example for n, field in enumerate(optional(slug)) if chosen >> n & 1}


@cache
def job(slug: str, number: int, chosen: int) -> VerifiedClaims:
    its = issuer(slug, number)
    claims = claims_for(
        BY_SLUG[slug], its.url, its.server, config(slug, chosen), now=NOW, random=Random(1), audience=AUDIENCE
    )
    return verify(
        SIGNER.sign(claims), keys_of(SIGNER), replace(rules("ES256"), max_lifetime_seconds=86_400, requires_jti=False)
    )


def publisher(slug: str, number: int, chosen: int) -> Publisher:
    return Publisher(7, 1, issuer(slug, number).id, "widget", 1, config(slug, chosen), Constraints(), NOW)


CHOSEN = st.integers(0, 63)


@given(one=SLUGS, two=SLUGS, hosts=st.tuples(HOSTS, HOSTS), chosen=st.tuples(CHOSEN, CHOSEN))
@settings(max_examples=300, deadline=None)
def test_no_identity_matches_across_issuers(
    one: str, two: str, hosts: tuple[int, int], chosen: tuple[int, int]
) -> None:
    mine, other = issuer(one, hosts[0]), issuer(two, hosts[1])
    wanted, theirs = publisher(one, hosts[0], chosen[0]), job(two, hosts[1], chosen[1])
    if (one, hosts[0]) == (two, hosts[1]):
        return
    # Whichever entry the token is judged under: that of the publisher, its own, or one that mixes both.
    for entry in (mine, other, replace(other, id=mine.id), replace(mine, id=other.id)):
        if entry.id == wanted.issuer_id and entry.url == theirs.issuer:
            # An entry with the token's own URL and the publisher's id is another issuer's entry by definition.
            continue
        assert isinstance(match(entry, wanted, theirs), tuple)


@given(slug=SLUGS, mine=CHOSEN, publishers=st.lists(CHOSEN, max_size=5), fewer=st.sets(st.integers(0, 4)), more=CHOSEN)
@settings(max_examples=300, deadline=None)
def test_a_narrower_set_accepts_nothing_that_a_wider_one_refuses(
    slug: str, mine: int, publishers: list[int], fewer: set[int], more: int
) -> None:
    """Narrower: fewer publishers, or the same ones with more demands."""
    its, claims = issuer(slug, 0), job(slug, 0, mine)

    def accepts(some: list[int]) -> bool:
        return any(isinstance(match(its, publisher(slug, 0, each), claims), Match) for each in some)

    wide = accepts(publishers)
    assert wide or not accepts([each for n, each in enumerate(publishers) if n in fewer])
    assert wide or not accepts([each | more for each in publishers])


@given(slug=SLUGS, mine=CHOSEN)
@settings(deadline=None)
def test_everybody_matches_their_own_publisher(slug: str, mine: int) -> None:
    """Otherwise the two tests above would hold for a matcher that refuses everybody."""
    assert isinstance(match(issuer(slug, 0), publisher(slug, 0, mine), job(slug, 0, mine)), Match)


@given(
    slug=SLUGS, mine=CHOSEN, publishers=st.lists(st.tuples(CHOSEN, st.sampled_from(["widget", "other"])), max_size=6)
)
@settings(deadline=None)
def test_many_are_judged_as_each_by_itself(slug: str, mine: int, publishers: list[tuple[int, str]]) -> None:
    its, claims = replace(issuer(slug, 0), projects=("wid*",)), job(slug, 0, mine)
    shared = {chosen: publisher(slug, 0, chosen) for chosen, _ in publishers}
    # Publishers of one configuration share the object, as those from the ledger do.
    every = [replace(shared[chosen], project=project) for chosen, project in publishers]
    for each, verdict in match_all(its, every, claims):
        alone = match(its, each, claims)
        assert isinstance(verdict, Match) == isinstance(alone, Match)
        if isinstance(verdict, Match):
            assert verdict.publisher is each
        else:
            assert verdict == alone
