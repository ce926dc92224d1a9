"""Descriptions are judged outside of the server: the verdicts, and that no trouble comes back from there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from mintmark.store.description_process import TEXT_MAX_BYTES, DescriptionProcess


@pytest.fixture
async def descriptions() -> AsyncIterator[DescriptionProcess]:
    process = DescriptionProcess()
    yield process
    await process.close()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Title\n=====\n\nSome *text*, é and ü.\n", True),
        (".. code-block:: python\n\n   print(1)\n", True),
        ("A longer title\n=====\n", False),
        ("a `link <\n", False),
        (".. include:: /etc/hostname\n", False),
        (".. raw:: html\n\n   <script>\n", False),
        (".. unknown::\n", False),
        ("\ud800", False),
        ("".join(" " * depth + "* a\n\n" for depth in range(400)), None),
        ("a " * TEXT_MAX_BYTES, None),
    ],
)
async def test_verdicts(descriptions: DescriptionProcess, text: str, verdict: bool | None) -> None:
    assert await descriptions.renders(text) is verdict


async def test_one_process_serves_all_and_ends_with_close(descriptions: DescriptionProcess) -> None:
    assert descriptions.process_id is None
    assert await asyncio.gather(*(descriptions.renders(f"text {number % 3}") for number in range(12))) == [True] * 12
    first = descriptions.process_id
    assert first is not None
    assert await descriptions.renders("a `b") is False
    assert descriptions.process_id == first
    await descriptions.close()
    assert descriptions.process_id is None
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    # Nothing is judged any more, and nothing starts.
    assert await descriptions.renders("text 0") is None
    assert await descriptions.renders("other") is None


async def test_a_text_that_takes_too_long_is_not_judged_twice() -> None:
    descriptions = DescriptionProcess(render_seconds=0.0)
    try:
        assert await descriptions.renders("text") is None
        assert descriptions.process_id is None
        # Remembered: no process is started again.
        assert await descriptions.renders("text") is None
        assert descriptions.process_id is None
    finally:
        await descriptions.close()


async def test_a_process_that_died_is_replaced(descriptions: DescriptionProcess) -> None:
    assert await descriptions.renders("one") is True
    first = descriptions.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await descriptions.renders("two") is True
    assert descriptions.process_id not in {None, first}


async def test_a_process_does_its_share_and_goes() -> None:
    descriptions = DescriptionProcess(uses_max=2)
    try:
        assert await descriptions.renders("one") is True
        assert descriptions.process_id is not None
        assert await descriptions.renders("two") is True
        assert descriptions.process_id is None
        assert await descriptions.renders("three") is True
    finally:
        await descriptions.close()


async def test_an_idle_process_goes() -> None:
    descriptions = DescriptionProcess(idle_seconds=0.0)
    try:
        assert await descriptions.renders("one") is True
        while descriptions.process_id is not None:
            await asyncio.sleep(0)
        assert await descriptions.renders("two") is True
    finally:
        await descriptions.close()


async def test_nobody_waits_for_ever() -> None:
    descriptions = DescriptionProcess(wait_seconds=0.0)
    try:
        first = asyncio.ensure_future(descriptions.renders("one"))
        while descriptions.process_id is None:
            await asyncio.sleep(0)
        assert await descriptions.renders("two") is None
        assert await first is True
        # That was no verdict on the text.
        assert await descriptions.renders("two") is True
    finally:
        await descriptions.close()


async def test_a_renderer_that_does_not_start_is_no_verdict() -> None:
    descriptions = DescriptionProcess(start_seconds=0.0)
    try:
        assert await descriptions.renders("one") is None
        assert descriptions.process_id is None
    finally:
        await descriptions.close()


async def test_a_caller_who_goes_away_takes_the_process_along(descriptions: DescriptionProcess) -> None:
    assert await descriptions.renders("one") is True
    task = asyncio.ensure_future(descriptions.renders("two"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await descriptions.renders("a `b") is False
    assert await descriptions.renders("two") is True
