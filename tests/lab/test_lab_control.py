"""The control endpoints of a whole lab, against whoever writes nonsense to them: a sentence, never a crash."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from mintmark.assemble_lab import Running, Wishes, running_lab
from mintmark.lab.home import read

POSTS = ("registry", "registry/close", "publisher", "publisher/remove", "api-token", "stop", "faults", "job", "token")
HOSTILE_BODIES = (
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a":' * 10_000,
    b'{"name":1,"name":2}',
    b'{"id":1e999}',
    b'{"id":' + b"9" * 5000 + b"}",
    b'{"name":"\\ud800"}',
    b'{"name":NaN}',
)
VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 2**70, 1.5, "", " ", "demo", "gitlab", "a" * 60_000, "\u0000", "a\nb", "\u202e", "../../etc"),
    *([], [[]], ["*", 1], {}, {"a": {"b": []}}),
)
MEMBERS = (
    "name",
    "registry",
    "issuer",
    "settings",
    "id",
    "projects",
    "times",
    "seconds",
    "ci",
    "config",
    "claims",
    "ref",
)
GOOD: dict[str, dict[str, object]] = {
    "registry": {"name": "another"},
    "registry/close": {"name": "no-such-registry"},
    "publisher": {"registry": "demo", "issuer": "gitlab", "settings": {"project": "x"}},
    "publisher/remove": {"registry": "demo", "id": 12345},
    "api-token": {"registry": "no-such-registry", "name": "x"},
    "faults": {"name": "no-such-fault"},
    "job": {"ci": "nowhere"},
    "token": {"ci": "gitlab", "config": {}},
}


@dataclass
class Asker:
    """A client of the control endpoints."""

    session: aiohttp.ClientSession
    url: str
    secret: str
    context: ssl.SSLContext

    async def __call__(self, path: str, body: bytes | None = None, secret: str | None = None) -> tuple[int, Any]:
        headers = {"X-Lab-Secret": self.secret if secret is None else secret}
        method = "GET" if body is None else "POST"
        async with self.session.request(
            method, f"{self.url}/-/lab/{path}", data=body, headers=headers, ssl=self.context
        ) as answer:
            return answer.status, json.loads(await answer.read())


@pytest_asyncio.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with running_lab(Wishes()) as lab:
        yield lab


@pytest_asyncio.fixture
async def ask(lab: Running) -> AsyncIterator[Asker]:
    found = read(lab.directory)
    assert found is not None
    async with aiohttp.ClientSession() as session:
        yield Asker(session, found.control_url, found.secret, ssl.create_default_context(cafile=found.ca_path))


def is_refused(answer: tuple[int, Any], statuses: tuple[int, ...] = (400,)) -> bool:
    status, body = answer
    return status in statuses and body.keys() == {"message"} and len(body["message"]) > 10


async def test_whoever_does_not_know_the_secret(lab: Running, ask: Asker) -> None:
    for secret in ("", "wrong", ask.secret[:-1], ask.secret + "x"):
        for path in (*POSTS, "faults/clear", "journal/clear"):
            assert is_refused(await ask(path, b"{}", secret), (401,)), path
        for path in ("journal", "faults"):
            assert is_refused(await ask(path, None, secret), (401,)), path
    assert not lab.stop.is_set()


async def test_hostile_bodies(lab: Running, ask: Asker) -> None:
    for path in POSTS:
        for body in HOSTILE_BODIES:
            assert is_refused(await ask(path, body)), (path, body[:20])
        assert is_refused(await ask(path, b" " * 70_000 + b"{}"), (413,)), path
    assert not lab.stop.is_set()
    assert (await ask("faults"))[1]["active"] == []


async def test_hostile_values(lab: Running, ask: Asker) -> None:
    """Every member of every order, replaced by what it must not be. What is a right order by chance may be done."""
    for path, good in GOOD.items():
        assert is_refused(await ask(path, json.dumps(good).encode())) or path == "registry"
        for member in MEMBERS:
            for value in VALUES:
                status, body = await ask(path, json.dumps({**good, member: value}).encode())
                assert status in {200, 400}, (path, member, value, body)
                assert status == 200 or body["message"], (path, member, value)
        status, body = await ask(path, json.dumps({**good, "nonsense": 1}).encode())
        assert (status, "nonsense" in body["message"] or "nothing else" in body["message"]) == (400, True), (path, body)


async def test_settings_of_a_publisher(ask: Asker) -> None:
    for name in (
        "project",
        "project-path",
        "workflow",
        "ref",
        "tag",
        "protected-ref",
        "allow",
        "environment",
        "nonsense",
    ):
        for value in VALUES:
            order = {"registry": "demo", "issuer": "gitlab", "settings": {"project": "x", name: value}}
            assert is_refused(await ask("publisher", json.dumps(order).encode())), (name, value)


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"name": "mint-50"}, "mint-500"),
        ({"name": "mint-500", "times": 0}, "times"),
        ({"name": "mint-500", "times": 1001}, "times"),
        ({"name": "mint-500", "times": True}, "times"),
        ({"name": "index-slow", "seconds": 61}, "seconds"),
        ({"name": "index-slow", "seconds": -1}, "seconds"),
        ({"name": "mint-500", "ci": "gitlb"}, "ci must be one of"),
        ({"name": "mint-500", "until": "noon"}, "nothing else"),
    ],
)
async def test_faults(ask: Asker, order: dict[str, object], sentence: str) -> None:
    status, body = await ask("faults", json.dumps(order).encode())
    assert (status, sentence in body["message"]) == (400, True), body


async def test_numbers_of_the_journal(ask: Asker) -> None:
    for query in ("after=-1", "after=x", "limit=1e3", "after=" + "9" * 19, "after=\u0661", "limit="):
        assert is_refused(await ask(f"journal?{query}")), query
    for query in ("after=" + "9" * 18, "limit=0", "limit=" + "9" * 18, "after=1&after=2"):
        assert (await ask(f"journal?{query}"))[0] == 200, query


async def test_what_is_not_there(ask: Asker) -> None:
    assert is_refused(await ask("nonsense", b"{}"), (404,))
    assert is_refused(await ask("registry"), (405,))


async def test_one_order_after_the_other(lab: Running, ask: Asker) -> None:
    """What tests do: a registry, a publisher, a token; then all of it away."""

    async def order(path: str, **members: object) -> dict[str, Any]:
        status, body = await ask(path, json.dumps(members).encode())
        assert status == 200, body
        return dict(body)

    made = await order("registry", name="mine")
    assert made == {"name": "mine", "audience": "mintmark_localhost_mine"}
    assert is_refused(await ask("registry", b'{"name":"mine"}'))
    fields = {"project": "hello", "project-path": "group/project", "workflow": ".gitlab-ci.yml"}
    added = await order("publisher", registry="mine", issuer="gitlab", settings=fields)
    await order("publisher/remove", registry="mine", id=added["id"])
    assert is_refused(await ask("publisher/remove", json.dumps({"registry": "mine", "id": added["id"]}).encode()))
    assert (await order("api-token", registry="mine", name="one"))["token"]
    await order("registry/close", name="mine")
    await order("stop")
    assert lab.stop.is_set()
