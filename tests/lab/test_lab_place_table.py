"""The table of places: every provider is played, under the URLs at which it can be trusted."""

from __future__ import annotations

import pytest

from mintmark.core.providers import BY_SLUG, PROVIDERS
from mintmark.lab.kinds import KINDS
from mintmark.lab.places import DEV_PLACES, LAB_PLACES, Place, by_name

NAMES = [place.name for place in LAB_PLACES]
VENDORS = [place for place in LAB_PLACES if place.host]


def test_there_is_a_place_for_every_provider() -> None:
    assert {place.provider for place in LAB_PLACES} == {provider.slug for provider in PROVIDERS}
    assert [place.name for place in DEV_PLACES] == [kind.slug for kind in KINDS]
    assert all(place.kind.slug == place.provider for place in (*LAB_PLACES, *DEV_PLACES))
    assert all(place.title for place in LAB_PLACES)
    assert not any(place.host for place in DEV_PLACES)


@pytest.mark.parametrize("place", VENDORS, ids=lambda place: place.name)
def test_vendors_have_the_issuers_that_can_be_trusted(place: Place) -> None:
    assert BY_SLUG[place.provider].issuer.pattern.fullmatch(place.issuer)


def test_the_vendors_publish_keys_where_they_do() -> None:
    found = {place.name: f"https://{place.host}{place.keys_path}" for place in VENDORS}
    assert found["github"] == "https://token.actions.githubusercontent.com/.well-known/jwks"
    assert found["gitlab"] == "https://gitlab.com/oauth/discovery/keys"
    assert found["buildkite"] == "https://agent.buildkite.com/.well-known/jwks"
    assert found["circleci"] == "https://oidc.circleci.com/.well-known/jwks-pub.json"
    assert found["azure-devops"] == "https://vstoken.dev.azure.com/.well-known/jwks"


def test_two_places_of_one_name_or_url_are_a_mistake() -> None:
    for twice in ((LAB_PLACES[0], LAB_PLACES[0]), (DEV_PLACES[0], LAB_PLACES[1])):
        with pytest.raises(ValueError, match="the name or a URL of another"):
            by_name(twice)
