"""An import that ends early: a second run goes on where the first ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mintmark.assemble import Index
from mintmark.core.import_choice import Choice
from mintmark.core.records import OPERATOR
from mintmark.service import import_commits
from mintmark.service.steps import Step
from mintmark.store.import_folder import FolderSource
from support.clock import FrozenClock
from support.dists import wheel
from support.importing import Target, put, target_in
from support.other_index import JSON_TYPE
from support.world import World


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    async with target_in(tmp_path) as made:
        yield made


# -- ending early -----------------------------------------------------------------------------------------------------


class Crash(Exception):
    """The machine stops here."""


def crash_at(step: Step, after: int) -> Callable[[Step], None]:
    left = [after]

    def reached(now: Step) -> None:
        if now is step:
            left[0] -= 1
            if left[0] <= 0:
                raise Crash

    return reached


@pytest.mark.parametrize(
    "step", [Step.UPLOAD_CHECKED, Step.UPLOAD_BLOB_DURABLE, Step.UPLOAD_RECORDED, Step.UPLOAD_COMMITTED]
)
async def test_after_a_crash_the_second_run_completes(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    monkeypatch.setattr(import_commits, "BATCH_MAX", 4)
    source = put(tmp_path / "in", *(wheel(f"p{number:02d}") for number in range(20)))
    target.open(crash_at(step, 3))
    with pytest.raises(Crash):
        await target.run(source)
    target.open()
    report = await target.run(source)
    assert report.complete
    assert report.outcomes["imported"] + report.outcomes["there"] == 20
    await target.index.renderer.heal()
    assert target.names() == [f"p{number:02d}" for number in range(20)]
    assert all(target.page(name) for name in target.names())
    assert not list((tmp_path / "target" / "incoming").iterdir())


async def test_stopping_keeps_what_is_complete(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", *(wheel(f"p{number:03d}") for number in range(200)))
    stop, loop, left = asyncio.Event(), asyncio.get_running_loop(), [5]

    def reached(step: Step) -> None:
        if step is Step.UPLOAD_BLOB_DURABLE:
            left[0] -= 1
            if not left[0]:
                loop.call_soon_threadsafe(stop.set)

    target.open(reached)
    report = await target.run(source, stop=stop)
    assert (report.stopped, report.complete) == (True, False)
    assert 0 < report.outcomes["imported"] < 200
    assert len(target.names()) == report.outcomes["imported"]
    target.open()
    again = await target.run(source)
    assert again.complete
    assert again.outcomes["there"] == report.outcomes["imported"]
    assert len(target.names()) == 200


async def test_being_cancelled_leaves_nothing_behind(target: Target, tmp_path: Path) -> None:
    source = put(tmp_path / "in", *(wheel(f"p{number:03d}", body=b"#" * 300_000) for number in range(40)))
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(_step: Step) -> None:
        loop.call_soon_threadsafe(reached.set)

    target.open(tell)
    running = asyncio.create_task(target.run(source))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not list((tmp_path / "target" / "incoming").iterdir())
    target.open()
    assert (await target.run(source)).complete


async def test_beside_a_running_server(world: World, tmp_path: Path) -> None:
    """Another process's import is on the server's pages at once, and its uploads go on."""
    secret = await world.token()
    source = put(tmp_path / "in", *(wheel(f"p{number:02d}") for number in range(10)))
    beside = Index(world.index.settings, clock=FrozenClock())
    try:
        report, answer = await asyncio.gather(
            beside.importer()("acme", FolderSource(source), Choice(), OPERATOR), world.upload(secret, wheel("gadget"))
        )
    finally:
        await beside.close()
    assert (report.outcomes["imported"], answer.status) == (10, 200)
    listed = await world.get("/acme/simple/", auth=secret, headers={"Accept": JSON_TYPE})
    assert len(listed.json["projects"]) == 11
    shown = await world.get("/acme/simple/p03/", auth=secret, headers={"Accept": JSON_TYPE})
    (entry,) = shown.json["files"]
    got = await world.get(f"/acme/files/{entry['url'].partition('/files/')[2]}", auth=secret)
    assert got.body == wheel("p03")[1]
