"""A running lab, asked from another process: jobs, tokens, faults, the journal, publishers.

Owns the control requests as the command line and tests make them, synchronously. Leaves answering them to
`lab.provider_server` and the environment of a command to `lab.surroundings`. Answers hold secrets of jobs: never print
them.
"""

from __future__ import annotations

import json
import os
import shlex
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from mintmark.lab.home import Lab
from mintmark.lab.kinds.model import JOB_FOLDER, PROTECTED_REF

TIMEOUT_SECONDS = 10.0
ANSWER_MAX_BYTES = 64 * 1024 * 1024
JOURNAL_LIMIT = 1000
# As old kernels have it, without the mark and the end of the line.
FIRST_LINE_MAX_CHARACTERS = 120


class LabError(Exception):
    """The lab did not do what was asked. `sentence` says what happened and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class LabUnreachable(LabError):
    """Nothing that is this lab answers there."""


class LabRefused(LabError):
    """The lab answered, and says what is wrong with the order."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """The job that a command is to be in. `audiences` are those of its identity tokens, where it cannot ask later."""

    ci: str
    config: Mapping[str, str]
    audiences: Sequence[str]
    claims: Mapping[str, object] = field(default_factory=dict)
    ref: str = PROTECTED_REF
    same_token: bool = False
    """The token that a former job of the same order got, not a fresh one."""

    def facts(self) -> dict[str, object]:
        """As the control endpoints take it."""
        return {
            "ci": self.ci,
            "config": dict(self.config),
            "claims": dict(self.claims),
            "audiences": list(self.audiences),
            "ref": self.ref,
            "same_token": self.same_token,
        }


@dataclass(frozen=True, slots=True)
class JobKit:
    """A job's variables, and what it finds in a folder of its own; see `lab.kinds.model.Equipment`. All are secrets."""

    variables: Mapping[str, str]
    commands: Mapping[str, str]
    files: Mapping[str, str]

    def environment(self, folder: Path, path: str) -> dict[str, str]:
        """Put commands and files into an empty folder, and give the variables; `path` is the PATH so far."""
        for name, content in self.files.items():
            _write(folder / name, content, 0o600)
        for name, script in self.commands.items():
            _write(folder / name, first_lines(sys.executable) + script, 0o700)
        variables = {name: value.replace(JOB_FOLDER, str(folder)) for name, value in self.variables.items()}
        return variables | ({"PATH": f"{folder}{os.pathsep}{path}"} if self.commands else {})


def first_lines(python: str) -> str:
    """What makes a script run with this Python.

    The kernel cuts a long first line and splits it at spaces. A shell does neither; to Python, what it reads is a
    string.
    """
    if " " not in python and len(python) <= FIRST_LINE_MAX_CHARACTERS:
        return f"#!{python}\n"
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''\n"


class Remote:
    """A running lab. Every method raises `LabUnreachable` or `LabRefused`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def job(self, order: JobOrder) -> JobKit:
        """What a job has: its CI system's variables, commands and files."""
        answer = self._post("job", order.facts())
        parts = []
        for name in ("variables", "commands", "files"):
            part = answer.get(name)
            if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
                raise self._strange()
            parts.append({str(key): str(value) for key, value in part.items()})
        kit = JobKit(*parts)
        if any("/" in name or name.startswith(".") for name in (*kit.commands, *kit.files)):
            raise self._strange()
        return kit

    def token(self, order: JobOrder) -> str:
        """An identity token of such a job, by itself."""
        return self._text(self._post("token", order.facts()), "token")

    def journal(self, after: int = 0, limit: int = JOURNAL_LIMIT) -> tuple[list[dict[str, Any]], int]:
        """Entries with a greater number than `after`, and the number of the last one."""
        answer = self._get(f"journal?{urlencode({'after': after, 'limit': limit})}")
        entries, last = answer.get("entries"), answer.get("last")
        if not isinstance(entries, list) or not isinstance(last, int):
            raise self._strange()
        return entries, last

    def clear_journal(self) -> None:
        """Forget every entry."""
        self._post("journal/clear", {})

    def faults(self) -> dict[str, Any]:
        """`active` and `known` faults."""
        return self._get("faults")

    def set_fault(self, name: str, *, times: int = 1, seconds: float | None = None, ci: str | None = None) -> None:
        """Switch a fault on, for so many requests."""
        order = {"name": name, "times": times, "seconds": seconds, "ci": ci}
        self._post("faults", {key: value for key, value in order.items() if value is not None})

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._post("faults/clear", {})

    def add_registry(self, name: str) -> str:
        """Make a registry that trusts what the lab trusts; its audience."""
        return self._text(self._post("registry", {"name": name}), "audience")

    def close_registry(self, name: str) -> None:
        """End a registry: it answers nothing any more."""
        self._post("registry/close", {"name": name})

    def add_publisher(self, registry: str, ci: str, settings: Mapping[str, object]) -> int:
        """Register a publisher; its number. `settings` are the project and the provider's fields, as in trust files."""
        number = self._post("publisher", {"registry": registry, "issuer": ci, "settings": dict(settings)}).get("id")
        if not isinstance(number, int):
            raise self._strange()
        return number

    def remove_publisher(self, registry: str, number: int) -> None:
        """Trust that identity no longer."""
        self._post("publisher/remove", {"registry": registry, "id": number})

    def create_token(self, registry: str, name: str, projects: Sequence[str] = ("*",)) -> str:
        """An API token that may upload and read. Never print it."""
        order = {"registry": registry, "name": name, "projects": list(projects)}
        return self._text(self._post("api-token", order), "token")

    def stop(self) -> None:
        """Tell the lab to end."""
        self._post("stop", {})

    # -- the wire -----------------------------------------------------------------------------------------------------

    def _get(self, path: str) -> dict[str, Any]:
        return self._ask(Request(self._url(path), headers=self._headers()))

    def _post(self, path: str, order: Mapping[str, object]) -> dict[str, Any]:
        return self._ask(Request(self._url(path), json.dumps(order).encode("ascii"), self._headers(), method="POST"))

    def _url(self, path: str) -> str:
        base = self.lab.control_url
        if not base.startswith(("https://", "http://")):
            raise LabUnreachable(f"{base} is not an https URL.")
        return f"{base.rstrip('/')}/-/lab/{path}"

    def _headers(self) -> dict[str, str]:
        return {"X-Lab-Secret": self.lab.secret, "Content-Type": "application/json"}

    @cached_property
    def _opener(self) -> OpenerDirector:
        try:
            context = ssl.create_default_context(cafile=self.lab.ca_path)
        except OSError:
            raise LabUnreachable(
                f"The lab's CA certificate {self.lab.ca_path} cannot be read; is the lab running?"
            ) from None
        # No proxy, whatever the environment says: the lab is on this machine.
        return build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def _ask(self, request: Request) -> dict[str, Any]:
        url = self.lab.control_url
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read(ANSWER_MAX_BYTES))
        except HTTPError as error:
            with error:
                raise LabRefused(_message(error)) from None
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                expired = "expired" in error.reason.verify_message
                problem = "has a CA that has expired; start a new one" if expired else "is not trusted by its CA"
                raise LabUnreachable(f"The lab at {url} {problem} ({self.lab.ca_path}).") from None
            raise LabUnreachable(f"Nothing answers at {url}: {error.reason}. Start the lab first.") from None
        except (OSError, ValueError, RecursionError, HTTPException) as error:
            raise LabUnreachable(f"What answers at {url} is not a Mintmark lab: {type(error).__name__}.") from None
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _text(self, answer: Mapping[str, Any], member: str) -> str:
        value = answer.get(member)
        if not isinstance(value, str):
            raise self._strange()
        return value

    def _strange(self) -> LabUnreachable:
        return LabUnreachable(f"What answers at {self.lab.control_url} is not a Mintmark lab.")


def _message(error: HTTPError) -> str:
    try:
        message = json.loads(error.read(ANSWER_MAX_BYTES))["message"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError, HTTPException):
        message = None
    return message if isinstance(message, str) else f"The lab answered {error.code} {error.reason}."


def _write(path: Path, content: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
