"""A lab as a test sees it: an index of its own, CI systems, publishers, the journal, faults.

Owns the objects behind the fixture `mintmark_lab`, and what makes tests independent of each other: each has a registry
of its own, sees its own part of the journal, and leaves no fault and no publisher behind. They work without pytest too.
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from mintmark.core.errors import Misconfigured
from mintmark.core.names import parse_project
from mintmark.core.providers import BY_SLUG as PROVIDERS
from mintmark.lab.home import read
from mintmark.lab.kinds.model import PROTECTED_REF
from mintmark.lab.places import BY_NAME as PLACES
from mintmark.lab.remote import JOURNAL_LIMIT, JobOrder, Remote
from mintmark.lab.surroundings import surroundings

RUN_SECONDS = 300.0
READ_SECONDS = 30.0
_JSON = "application/vnd.pypi.simple.v1+json"
# What the test itself asks is not what its uploader asked, and stays out of its journal.
_READER = "mintmark-lab-session"


@dataclass(frozen=True)
class LabIndex:
    """One registry, as its clients see it."""

    registry: str
    upload_url: str
    """Where uploads go."""
    plain_upload_url: str
    """The same without TLS, for clients that trust no CA but their own; empty where the lab plays somebody's index."""
    simple_url: str
    """Where installers look."""
    audience: str
    """Of this registry alone; `host_audience` is what uv, pdm and twine ask for."""
    host_audience: str
    remote: Remote = field(repr=False)
    proxy: str = ""
    """The only way to an index that the lab plays."""

    def api_token(self, *projects: str) -> str:
        """An ordinary API token, of all projects or of these. It is a secret of this lab."""
        return self.remote.create_token(self.registry, "test", projects or ("*",))

    def files(self, project: str) -> dict[str, dict[str, Any]]:
        """The files of a project by name, as the simple API tells them (PEP 691); none if there is no such project."""
        context = ssl.create_default_context(cafile=self.remote.lab.ca_path)
        proxies = ProxyHandler({"https": self.proxy} if self.proxy else {})
        request = Request(
            f"{self.simple_url}{parse_project(project)}/", headers={"Accept": _JSON, "User-Agent": _READER}
        )
        try:
            with build_opener(proxies, HTTPSHandler(context=context)).open(request, timeout=READ_SECONDS) as answer:
                return {file["filename"]: file for file in json.load(answer)["files"]}
        except HTTPError as error:
            with error:
                if error.code != 404:
                    raise
            return {}


@dataclass(frozen=True)
class LabCI:
    """One job of a CI system after the other: every command has an identity token of its own."""

    name: str
    config: Mapping[str, str]
    order: JobOrder
    remote: Remote = field(repr=False)
    folder: Path

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = RUN_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as a job; its output is text, the two streams apart."""
        words = [str(word) for word in command]
        environment = self.environment() | dict(env or {})
        return subprocess.run(  # noqa: S603 - that is what it is for
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """The variables of a new job. Some are secrets of the job."""
        job = Path(tempfile.mkdtemp(prefix="job-", dir=self.folder))
        variables = surroundings(self.remote.lab, os.environ)
        return variables | self.remote.job(self.order).environment(job, os.environ.get("PATH", os.defpath))

    def token(self, audience: str) -> str:
        """An identity token for this audience, by itself."""
        order = self.order
        return self.remote.token(
            JobOrder(order.ci, order.config, (audience,), order.claims, order.ref, order.same_token)
        )


@dataclass(frozen=True)
class LabJournal:
    """What others asked since the test began. Entries are as `mintmark lab journal --json` prints them."""

    remote: Remote = field(repr=False)
    since: int

    def entries(self, *, server: str | None = None, action: str | None = None) -> list[dict[str, Any]]:
        """The entries, of one server (`index`, `provider`, `proxy`) or with one action."""
        found: list[dict[str, Any]] = []
        last = self.since
        while True:
            entries, last = self.remote.journal(last, JOURNAL_LIMIT)
            if not entries:
                break
            found += (entry for entry in entries if entry["user_agent"] != _READER)
        return [entry for entry in found if server in (None, entry["server"]) and action in (None, entry["action"])]

    def actions(self, server: str = "index") -> list[str]:
        """What was asked of a server, in order: `["audience", "mint", "upload", "burn"]`."""
        return [str(entry["action"]) for entry in self.entries(server=server)]


@dataclass(frozen=True)
class LabFaults:
    """What goes wrong next; see docs/lab-faults.md. Every fault is off when the test ends."""

    remote: Remote = field(repr=False)

    def set(self, name: str, *, times: int = 1, seconds: float | None = None, ci: str | None = None) -> None:
        """Switch a fault on, for so many requests; `ci` keeps it to one CI system's identity provider."""
        self.remote.set_fault(name, times=times, seconds=seconds, ci=ci)

    def clear(self) -> None:
        """Switch every fault off."""
        self.remote.clear_faults()


@dataclass(frozen=True)
class LabSession:
    """What the fixture `mintmark_lab` gives."""

    index: LabIndex
    journal: LabJournal
    faults: LabFaults
    played: Mapping[str, LabIndex]
    """The indexes that the lab plays, by the name of their registry. All tests of a session share them."""
    facts: Mapping[str, Any]
    """What `mintmark lab up --json` told."""
    remote: Remote = field(repr=False)
    folder: Path
    publishers: list[tuple[str, int]] = field(default_factory=list, repr=False)

    def ci(
        self,
        name: str,
        *,
        fields: Mapping[str, str] | None = None,
        claims: Mapping[str, object] | None = None,
        audiences: Sequence[str] = (),
        ref: str = PROTECTED_REF,
        same_token: bool = False,
    ) -> LabCI:
        """A CI system's jobs: `fields` are who they are, as for a publisher (the examples by default)."""
        if name not in PLACES:
            raise ValueError(f"There is no CI system {name!r}; there are {', '.join(PLACES)}.")
        provider = PROVIDERS[PLACES[name].provider]
        config = {each.name: each.example for each in provider.fields if each.required} | dict(fields or {})
        everywhere = [*self.remote.lab.audiences.values(), self.index.audience]
        wanted = tuple(dict.fromkeys(audiences or everywhere))
        order = JobOrder(name, config, wanted, dict(claims or {}), ref, same_token)
        return LabCI(name, config, order, self.remote, self.folder)

    def publisher(self, project: str, ci: LabCI, *, registry: str = "", **settings: object) -> int:
        """Let the jobs of a CI system publish a project until the test ends; the publisher's number.

        In this test's registry, or in one of `played`. `settings` are those of a trust file's publisher, with `_` for
        `-`: `protected_ref=True`, `ref`, `tag`, `allow`.
        """
        wanted = {name.replace("_", "-"): value for name, value in settings.items()}
        where = registry or self.index.registry
        number = self.remote.add_publisher(where, ci.name, {**ci.config, **wanted, "project": project})
        self.publishers.append((where, number))
        return number


@contextmanager
def open_session(facts: Mapping[str, Any]) -> Iterator[LabSession]:
    """A registry of its own in the running lab, for as long as the block runs."""
    directory = Path(facts["directory"])
    lab = read(directory)
    if lab is None:
        raise Misconfigured("lab", "The lab of this test session is gone.", "Start the tests again.")
    remote = Remote(lab)
    name = f"t{secrets.token_hex(6)}"
    index = _own_index(facts["index"], name, remote)
    _, last = remote.journal(2**53, 1)
    # Folders of jobs hold secrets: they go with the lab. A test's own folder has what the test put there.
    with tempfile.TemporaryDirectory(prefix="test-", dir=directory) as folder:
        session = LabSession(
            index, LabJournal(remote, last), LabFaults(remote), _played(facts, remote), facts, remote, Path(folder)
        )
        try:
            yield session
        finally:
            remote.clear_faults()
            for registry, number in session.publishers:
                remote.remove_publisher(registry, number)
            remote.close_registry(name)


def _own_index(facts: Mapping[str, str], name: str, remote: Remote) -> LabIndex:
    audience = remote.add_registry(name)
    upload, plain, simple = (
        f"{facts['url']}/{name}/legacy/",
        f"{facts['plain_url']}/{name}/legacy/",
        f"{facts['url']}/{name}/simple/",
    )
    return LabIndex(name, upload, plain, simple, audience, facts["audience"], remote)


def _played(facts: Mapping[str, Any], remote: Remote) -> dict[str, LabIndex]:
    """Of several hosts of one registry the last one, which takes uploads and has pages as well."""
    return {
        each["registry"]: LabIndex(
            each["registry"],
            each["upload_url"],
            "",
            each["simple_url"],
            each["audience"],
            each["audience"],
            remote,
            facts["proxy"],
        )
        for each in facts["impersonated"]
    }
