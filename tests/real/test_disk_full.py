"""A disk that is full, at every step of an upload in turn: a real server on a small real file system.

The free space is stepped from nothing to enough, in blocks and in directory entries, and each time something is
uploaded. Whatever the step, the answer is clear, nothing is half there and nothing that was there is lost; when space
returns, the same upload succeeds without a restart.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256, shake_256
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest

from real.production import IDENTITY, Server, running_server
from real.reading import HTML, JSON, Reader
from real.tools import need
from support.dists import wheel

pytestmark = pytest.mark.real

SIZE_BYTES = 64 * 1024 * 1024
ENTRIES = 8_000
BLOCK_BYTES = 4096
# An upload that is larger than what waits in memory is written to the disk while it comes.
LARGE_BYTES = 600 * 1024
# More than any upload takes beyond its own bytes.
BLOCKS_MAX = 60
ENTRIES_MAX = 25
CLEAR = {"storage-full": 507, "unavailable": 503}
MOUNT = 'mount -t tmpfs -o "size=$1,nr_inodes=$2" tmpfs "$0" && echo mounted && exec cat'
WHEEL = r"[a-z0-9]+-[0-9.]+-py3-none-any\.whl"
ENTER = 'cd "$0" && exec "$@"'

File = tuple[str, bytes]


@dataclass
class Disk:
    """The file system, as it looks from outside of the world in which it is mounted."""

    root: Path
    touched: int = field(default=0)

    def leave_bytes(self, free: int) -> None:
        """Fill it up to so many free bytes."""
        state = os.statvfs(self.root)
        surplus = state.f_bavail * state.f_frsize - free
        assert surplus >= 0
        if surplus:
            with (self.root / "ballast").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, surplus)

    def leave_entries(self, free: int) -> None:
        """Fill it up to so many free entries of folders."""
        folder = self.root / "entries"
        folder.mkdir(exist_ok=True)
        for _ in range(os.statvfs(self.root).f_favail - free):
            self.touched += 1
            (folder / str(self.touched)).touch()

    def give_back(self) -> None:
        """Space returns."""
        (self.root / "ballast").unlink(missing_ok=True)
        for path in (self.root / "entries").glob("*"):
            path.unlink()


@dataclass(frozen=True)
class Answer:
    """What a request brought."""

    status: int
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def is_clear(self) -> bool:
        """Done, or refused with a sentence under a code that says whose trouble it is."""
        if self.status == 200:
            return True
        codes = [CLEAR.get(error["code"]) for error in self.problem["errors"]]
        return codes == [self.status] and " " in self.problem["errors"][0]["description"]


class Seen(NamedTuple):
    """Where a file, or its project, is to be seen."""

    json: bool
    html: bool
    list: bool
    file: bool


@dataclass(frozen=True)
class World:
    """A server on a small disk, and a credential for everything in it."""

    server: Server
    disk: Disk
    reader: Reader

    def upload(self, file: File) -> Answer:
        """One upload, as an uploader sends it."""
        filename, data = file
        name, version = filename.split("-")[:2]
        fields = {
            ":action": "file_upload",
            "protocol_version": "1",
            "metadata_version": "2.4",
            "name": name,
            "version": version,
            "filetype": "bdist_wheel",
            "pyversion": "py3",
            "sha256_digest": sha256(data).hexdigest(),
        }
        head = '--edge\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
        parts = [head.format(key, "") + f"{value}\r\n" for key, value in fields.items()]
        parts.append(head.format("content", f'; filename="{filename}"'))
        body = "".join(parts).encode() + data + b"\r\n--edge--\r\n"
        url = f"{self.server.base_url}/acme/legacy/"
        return Answer(*self.reader.request("POST", url, {"Content-Type": "multipart/form-data; boundary=edge"}, body))

    def mint(self) -> Answer:
        """The exchange of a fresh identity token."""
        (token,) = [value for name, value in self.server.job().items() if name.endswith("_ID_TOKEN")]
        url = f"{self.server.base_url}/_/oidc/mint-token"
        return Answer(*self.reader.request("POST", url, {}, json.dumps({"token": token}).encode()))

    def see(self, file: File, others: AbstractSet[str] = frozenset()) -> Seen:
        """Where a file is to be seen. Each place has all of it or nothing, and all `others` of its project."""
        filename, data = file
        name = filename.split("-")[0]
        digest = sha256(data).hexdigest()
        pages = []
        for accept in (JSON, HTML):
            status, body = self.reader.ask(self.reader.page_url(name), accept)
            # A page that cannot be written is not shown; readers come again.
            assert status == 200 or (status in (404, 503) and not others), (status, body)
            listed = (
                set(re.findall(r"[A-Za-z0-9_.]+-[0-9.]+-py3-none-any\.whl", body.decode())) if status == 200 else set()
            )
            assert listed - {filename} == others
            pages.append(filename in listed)
        status, body = self.reader.ask(urljoin(self.reader.page_url(""), f"../files/{digest[:2]}/{digest}/{filename}"))
        assert (status == 200 and body == data) or status == 404, status
        listed_projects = {entry["name"] for entry in self.reader.page("")["projects"]}
        return Seen(pages[0], pages[1], name in listed_projects, status == 200)

    def incoming(self) -> list[str]:
        return os.listdir(self.disk.root / "data" / "incoming")


@contextmanager
def _mounted(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A small file system at a folder in a world of its own: where to find it from outside, and how to go there."""
    tools = need("unshare", "nsenter", "mount")
    holder = subprocess.Popen(
        [
            *(tools["unshare"], "--user", "--map-root-user", "--mount"),
            *("sh", "-c", MOUNT, str(folder), str(SIZE_BYTES), str(ENTRIES)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "mounted":
            _, trouble = holder.communicate(timeout=10)
            pytest.skip(f"not allowed here: mounting a file system in a namespace ({trouble.strip()})")
        enter = [tools["nsenter"], "--target", str(holder.pid), "--user", "--mount", "--preserve-credentials", "--"]
        yield Path(f"/proc/{holder.pid}/root{folder}"), (*enter, "sh", "-c", ENTER, str(folder.parent))
    finally:
        holder.communicate(timeout=10)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("disk")
    (directory / "disk").mkdir()
    with (
        _mounted(directory / "disk") as (root, inside),
        running_server(directory, proxied=False, inside=inside, data_dir="disk/data") as server,
    ):
        who = (f"{key}={value}" for key, value in IDENTITY.items())
        server.mintmark("publisher", "add", "acme", "minted", "--issuer", "gitlab", *who)
        secret = server.mintmark("token", "create", "acme", "all", "--upload", "--read")
        world = World(server, Disk(root), Reader(server, "acme", secret))
        assert world.upload(wheel("first")).status == 200
        yield world


def _large_body(text: str) -> bytes:
    return b"#" + shake_256(text.encode()).hexdigest(LARGE_BYTES // 2).encode()


def _step_through(world: World, files: Iterable[File], leave: Callable[[int], None], room: Iterable[int]) -> list[int]:
    """Upload one file after the other, each with more room, until two fit at once; the answers' status codes."""
    statuses: list[int] = []
    releases: dict[str, set[str]] = {}
    mints = []
    for free, file in zip(room, files, strict=False):
        others = releases.setdefault(file[0].split("-")[0], set())
        try:
            leave(free)
            answer = world.upload(file)
            assert answer.is_clear, (free, answer)
            assert world.incoming() == []
            seen = world.see(file, others)
            mints.append(world.mint())
        finally:
            world.disk.give_back()
        statuses.append(answer.status)
        assert mints[-1].is_clear, (free, mints[-1])
        if answer.status == 200:
            assert all(seen), (free, seen)
        elif answer.status == 507:
            assert seen == Seen(json=False, html=False, list=bool(others), file=False), (free, seen)
        else:
            # Only the pages are behind, and the answer says so.
            assert seen.file, (free, seen)
            assert "recorded" in answer.problem["errors"][0]["description"], (free, answer)
        # Nothing was restarted, and nobody tidied up.
        assert world.upload(file).status == 200
        assert all(world.see(file, others))
        others.add(file[0])
        if statuses[-2:] == [200, 200]:
            break
    assert statuses[-2:] == [200, 200], statuses
    assert 507 in statuses
    assert {mint.status for mint in mints} <= {200, *CLEAR.values()}
    return statuses


BLOCKS = range(0, BLOCKS_MAX * BLOCK_BYTES, BLOCK_BYTES)


def test_no_space_for_a_new_project(world: World) -> None:
    files = (wheel(f"fresh{number}") for number in count())
    assert 503 in _step_through(world, files, world.disk.leave_bytes, BLOCKS)


def test_no_space_for_a_new_version(world: World) -> None:
    files = (wheel("grown", f"1.{number}") for number in count())
    _step_through(world, files, world.disk.leave_bytes, BLOCKS)


def test_no_space_for_a_large_file(world: World) -> None:
    files = [wheel("large", f"1.{number}", body=_large_body(str(number))) for number in range(BLOCKS_MAX)]
    size = len(files[0][1])
    # By large steps until all of it fits, then as finely as the disk counts.
    room = [size * part // 8 for part in range(8)] + [size + free for free in BLOCKS]
    _step_through(world, files, world.disk.leave_bytes, room)


def test_no_room_for_names(world: World) -> None:
    """A file system can run out of entries as well."""
    files = (wheel(f"named{number}") for number in count())
    assert 503 in _step_through(world, files, world.disk.leave_entries, range(ENTRIES_MAX))


def test_reading_and_installing_go_on(world: World, tmp_path: Path) -> None:
    file = wheel("stays")
    assert world.upload(file).status == 200
    index = ("--index-url", world.reader.index_url, "--no-cache-dir", "--disable-pip-version-check")
    try:
        world.disk.leave_bytes(0)
        world.disk.leave_entries(0)
        done = world.server.run("pip", "download", *index, "--no-deps", "--dest", str(tmp_path), "stays")
    finally:
        world.disk.give_back()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / file[0]).read_bytes() == file[1]


def test_nothing_is_wrong_afterwards(world: World) -> None:
    done = world.server.run("mintmark", "fsck")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in (world.server.directory / "serve.log").read_text()
