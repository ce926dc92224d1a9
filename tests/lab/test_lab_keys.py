"""Impersonated issuers behind the `Keys` port."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mintmark.core.errors import Unavailable
from mintmark.core.jwks import KeySet
from mintmark.lab.keys import LabKeys
from mintmark.lab.signer import Signer
from mintmark.service.ports import Keys, KeySource

URL = "https://gitlab.com"
OTHER = KeySource("https://gitlab.acme.example")


class RecordingKeys:
    """A real, if small, implementation of the port: it knows one empty key set and remembers what it is asked."""

    def __init__(self) -> None:
        self.empty = KeySet(())
        self.watched: list[KeySource] = []
        self.asked: list[str] = []

    async def current(self, source: KeySource) -> KeySet:
        self.asked.append(source.url)
        return self.empty

    async def newer(self, source: KeySource, than: KeySet) -> KeySet:
        self.asked.append(source.url)
        return than

    def watch(self, sources: Iterable[KeySource]) -> None:
        self.watched = list(sources)


async def test_impersonated_issuers_have_the_signers_keys() -> None:
    signer = Signer("ES256")
    keys: Keys = LabKeys({URL: signer})
    known = await keys.current(KeySource(URL))
    assert [key.kid for key in known.keys] == [signer.kid]
    assert await keys.newer(KeySource(URL), known) is known
    signer.rotate()
    newer = await keys.newer(KeySource(URL), known)
    assert newer.keys[0].kid == signer.kid
    assert await keys.current(KeySource(URL)) is newer


@pytest.mark.parametrize("url", [OTHER.url, URL + "/", "http://gitlab.com", "https://gitlab.com.evil.example"])
async def test_others_are_unavailable_without_a_fallback(url: str) -> None:
    keys = LabKeys({URL: Signer("ES256")})
    with pytest.raises(Unavailable) as caught:
        await keys.current(KeySource(url))
    assert caught.value.code.name == "issuer-unavailable"
    with pytest.raises(Unavailable):
        await keys.newer(KeySource(url), KeySet(()))
    keys.watch([KeySource(url)])


async def test_others_go_to_the_fallback_and_impersonated_ones_never() -> None:
    fallback = RecordingKeys()
    keys = LabKeys({URL: Signer("ES256")}, fallback)
    assert await keys.current(OTHER) is fallback.empty
    assert await keys.newer(OTHER, fallback.empty) is fallback.empty
    await keys.current(KeySource(URL))
    assert fallback.asked == [OTHER.url, OTHER.url]
    keys.watch([KeySource(URL), OTHER])
    assert fallback.watched == [OTHER]
