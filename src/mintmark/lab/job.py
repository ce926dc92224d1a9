"""The environment of a command that runs as a simulated CI job.

Owns asking a running lab for a job's variables, synchronously, for the command line and for tests. Leaves making them
to `lab.provider_server` and starting the command to its caller.
"""

from __future__ import annotations

import json
import os
import shlex
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from mintmark.lab.kinds.model import JOB_FOLDER, PROTECTED_REF

TIMEOUT_SECONDS = 10.0
ANSWER_MAX_BYTES = 256 * 1024
# As old kernels have it, without the mark and the end of the line.
FIRST_LINE_MAX_CHARACTERS = 120


class LabError(Exception):
    """The lab gave no job. `sentence` says what happened and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class LabUnreachable(LabError):
    """Nothing that is this lab answers there."""


class LabRefused(LabError):
    """The lab answered, and says what is wrong with the order."""


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


def job_kit(
    control_url: str,
    secret: str,
    ca_path: Path | None,
    ci: str,
    config: Mapping[str, str],
    audience: str,
    claims: Mapping[str, object] | None = None,
    ref: str = PROTECTED_REF,
) -> JobKit:
    """What a job of `ci` has: its CI system's variables, commands and files, and the variables that make clients trust
    the lab's CA. `control_url` is the lab's base URL."""
    order = _order(ci, config, audience, claims, ref)
    answer = _post(f"{control_url.rstrip('/')}/-/lab/job", secret, ca_path, order)
    parts = [answer.get(name) for name in ("variables", "commands", "files")]
    for part in parts:
        if not isinstance(part, dict) or not all(isinstance(value, str) for value in part.values()):
            raise LabUnreachable(f"What answers at {control_url} is not a Mintmark lab.")
    variables, commands, files = ({str(name): str(value) for name, value in (part or {}).items()} for part in parts)
    if any("/" in name or name.startswith(".") for name in (*commands, *files)):
        raise LabUnreachable(f"What answers at {control_url} is not a Mintmark lab.")
    if ca_path is not None:
        # uv, and everything on OpenSSL or rustls, reads the first; requests reads the second.
        variables |= {"SSL_CERT_FILE": str(ca_path), "REQUESTS_CA_BUNDLE": str(ca_path)}
    return JobKit(variables, commands, files)


def job_environment(
    control_url: str,
    secret: str,
    ca_path: Path | None,
    ci: str,
    config: Mapping[str, str],
    audience: str,
    claims: Mapping[str, object] | None = None,
    ref: str = PROTECTED_REF,
) -> dict[str, str]:
    """The variables alone, for a job that has neither commands nor files. Never print them."""
    return dict(job_kit(control_url, secret, ca_path, ci, config, audience, claims, ref).variables)


def job_token(
    control_url: str,
    secret: str,
    ca_path: Path | None,
    ci: str,
    config: Mapping[str, str],
    audience: str,
    claims: Mapping[str, object] | None = None,
    ref: str = PROTECTED_REF,
) -> str:
    """A fresh identity token of such a job, by itself."""
    order = _order(ci, config, audience, claims, ref)
    token = _post(f"{control_url.rstrip('/')}/-/lab/token", secret, ca_path, order).get("token")
    if not isinstance(token, str):
        raise LabUnreachable(f"What answers at {control_url} is not a Mintmark lab.")
    return token


def _write(path: Path, content: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def _order(
    ci: str, config: Mapping[str, str], audience: str, claims: Mapping[str, object] | None, ref: str
) -> dict[str, object]:
    return {"issuer": ci, "config": dict(config), "claims": dict(claims or {}), "audience": audience, "ref": ref}


def _post(url: str, secret: str, ca_path: Path | None, order: Mapping[str, object]) -> dict[str, Any]:
    if not url.startswith(("https://", "http://")):
        raise LabUnreachable(f"{url} is not an https URL.")
    try:
        context = ssl.create_default_context(cafile=ca_path)
    except OSError:
        raise LabUnreachable(f"The lab's CA certificate {ca_path} cannot be read; is the lab running?") from None
    # No proxy, whatever the environment says: the lab is on this machine.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    headers = {"X-Lab-Secret": secret, "Content-Type": "application/json"}
    try:
        request = Request(url, json.dumps(order).encode("ascii"), headers, method="POST")
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            answer = json.loads(response.read(ANSWER_MAX_BYTES))
    except HTTPError as error:
        with error:
            raise LabRefused(_message(error)) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            trusted = f"the CA in {ca_path}" if ca_path else "the system's certificates"
            raise LabUnreachable(f"What answers at {url} is not trusted by {trusted}.") from None
        raise LabUnreachable(f"Nothing answers at {url}: {error.reason}. Start the lab first.") from None
    except (OSError, ValueError, HTTPException) as error:
        raise LabUnreachable(f"What answers at {url} is not a Mintmark lab: {type(error).__name__}.") from None
    return answer if isinstance(answer, dict) else {}


def _message(error: HTTPError) -> str:
    try:
        message = json.loads(error.read(ANSWER_MAX_BYTES))["message"]
    except (OSError, ValueError, LookupError, TypeError):
        message = None
    return message if isinstance(message, str) else f"The lab answered {error.code} {error.reason}."
