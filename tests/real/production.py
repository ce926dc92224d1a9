"""`mintmark serve` as an operator runs it: settings of its own, no development mode, an issuer with a static key set.

The CI system's side is a lab signer whose key the operator trusts by that file, so nothing is fetched.
"""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mintmark.core.providers.gitlab import GITLAB
from mintmark.lab.authority import Authority
from mintmark.lab.identity import claims_for
from mintmark.lab.signer import Signer
from support.ports import free_port

ISSUER = "https://gitlab.example.com"
IDENTITY = {"project-path": "team/project", "workflow": ".gitlab-ci.yml"}
AUDIENCE = "mintmark_localhost"
BIN = Path(sys.executable).parent
START_SECONDS = 30.0


@dataclass(frozen=True)
class Server:
    """A running production server. `port` is its own; `public_port` is where clients connect."""

    directory: Path
    port: int
    public_port: int
    authority: Authority
    signer: Signer
    process: subprocess.Popen[bytes]
    inside: tuple[str, ...] = ()
    """What every command is run through, where the server lives in a world of its own."""

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.public_port}"

    def environment(self) -> dict[str, str]:
        ca = str(self.authority.ca_path)
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "MINTMARK_CONFIG": str(self.directory / "mintmark.toml"),
            "SSL_CERT_FILE": ca,
            "REQUESTS_CA_BUNDLE": ca,
            "PIP_CERT": ca,
            "PIP_CONFIG_FILE": os.devnull,
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(self.directory / "uv-cache"),
        }

    def run(self, *words: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            (*self.inside, *words),
            env=self.environment() | dict(more or {}),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def mintmark(self, *words: str) -> str:
        """An administrative command that must succeed."""
        done = self.run(sys.executable, "-m", "mintmark", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def job(self) -> dict[str, str]:
        """The variables of a GitLab job with a fresh identity token."""
        claims = claims_for(
            GITLAB,
            ISSUER,
            GITLAB.issuer.server(ISSUER),
            IDENTITY,
            now=time.time(),
            random=random.SystemRandom(),
            audience=AUDIENCE,
        )
        return {"GITLAB_CI": "true", f"{AUDIENCE.upper()}_ID_TOKEN": self.signer.sign(claims)}


@contextmanager
def running_server(
    directory: Path, *, proxied: bool, prefix: Sequence[str] = (), inside: Sequence[str] = (), **settings: object
) -> Iterator[Server]:
    """A production server with the registry `acme`.

    `prefix` is put in front of its command, `inside` in front of that and of every other one.
    """
    authority = Authority.open(directory / "ca", time.time())
    certificate, key = authority.issue(("localhost", "127.0.0.1"))
    port = free_port()
    public_port = free_port() if proxied else port
    values: dict[str, object] = {
        "data_dir": "data",
        "base_url": f"https://localhost:{public_port}",
        "listen": f"127.0.0.1:{port}",
        "audience": AUDIENCE,
        **(
            {"trusted_proxies": ["127.0.0.0/8"]}
            if proxied
            else {"tls_certificate": str(certificate), "tls_key": str(key)}
        ),
        **settings,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (directory / "mintmark.toml").write_text("\n".join(lines) + "\n")
    signer = Signer()
    (directory / "keys.json").write_bytes(signer.jwks())
    with (directory / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*inside, *prefix, sys.executable, "-m", "mintmark", "--config", str(directory / "mintmark.toml"), "serve"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(directory, port, public_port, authority, signer, process, tuple(inside))
    try:
        _wait(server, tls=not proxied)
        server.mintmark("registry", "create", "acme")
        server.mintmark(
            "issuer", "add", "acme", "gitlab", "--provider", "gitlab", "--url", ISSUER, "--projects", "*",
            "--jwks-file", "keys.json",
        )  # fmt: skip
        yield server
    finally:
        # The whole session: a tracer in front of the server does not pass the signal on.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _wait(server: Server, *, tls: bool) -> None:
    context = ssl.create_default_context(cafile=server.authority.ca_path) if tls else None
    url = f"{'https' if tls else 'http'}://localhost:{server.port}/-/ready"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.process.poll() is None, (server.directory / "serve.log").read_text()
        try:
            with urllib.request.urlopen(url, context=context, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not start in time")
