"""A development index as a process of its own, and stock clients run against it as in a CI job."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mintmark.lab.home import read
from mintmark.lab.remote import JobOrder, Remote
from support.ports import free_port

BIN = Path(sys.executable).parent
START_SECONDS = 30.0
REGISTRY = "demo"
AUDIENCE = "mintmark_localhost"


@dataclass(frozen=True)
class Done:
    """A finished command: exit code, and everything it printed."""

    code: int
    text: str


@dataclass(frozen=True)
class Dev:
    """A running `mintmark serve --dev`."""

    directory: Path
    port: int

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def upload_url(self) -> str:
        return f"{self.base_url}/{REGISTRY}/legacy/"

    @property
    def ca_path(self) -> Path:
        return self.directory / "mintmark-dev" / "tls" / "ca.pem"

    def index_url(self, secret: str = "", user: str = "__token__") -> str:
        """The simple API's URL, with credentials if a secret is given."""
        who = f"{user}:{secret}@" if secret else ""
        return f"https://{who}localhost:{self.port}/{REGISTRY}/simple/"

    def environment(self) -> dict[str, str]:
        """What a client process sees: this machine's settings and CI system kept out."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "MINTMARK_CONFIG": str(self.directory / "mintmark-dev" / "mintmark.toml"),
            "SSL_CERT_FILE": str(self.ca_path),
            "REQUESTS_CA_BUNDLE": str(self.ca_path),
            "PIP_CERT": str(self.ca_path),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(self.directory / "uv-cache"),
            "UV_HTTP_RETRIES": "1",
        }

    def run(self, *words: str, more: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
        """Run a command to its end."""
        found = shutil.which(words[0], path=self.environment()["PATH"])
        assert found is not None, f"{words[0]} is not installed"
        done = subprocess.run(
            [found, *words[1:]],
            cwd=cwd or self.directory,
            env=self.environment() | dict(more or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def mintmark(self, *words: str) -> str:
        """An administrative command that must succeed; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "mintmark", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def job(self, ci: str, config: Mapping[str, str], ref: str = "refs/heads/main") -> dict[str, str]:
        """The variables of a simulated CI job, with a fresh identity token or commands on its PATH that ask for one."""
        lab = read(self.directory / "mintmark-dev")
        assert lab is not None
        kit = Remote(lab).job(JobOrder(ci, config, (AUDIENCE,), ref=ref))
        return kit.environment(Path(tempfile.mkdtemp(dir=self.directory)), self.environment()["PATH"])

    def uv_publish(self, *files: Path, more: Mapping[str, str] | None = None, options: tuple[str, ...] = ()) -> Done:
        """Stock `uv publish`."""
        return self.run("uv", "publish", "--publish-url", self.upload_url, *options, *map(str, files), more=more)


@contextmanager
def running_dev(directory: Path) -> Iterator[Dev]:
    """Start `mintmark serve --dev` and stop it afterwards."""
    port = free_port()
    dev = Dev(directory, port)
    with (directory / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mintmark", "serve", "--dev", "--port", str(port)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _ready(dev):
            assert server.poll() is None, (directory / "serve.log").read_text()
            assert time.monotonic() < deadline, "the index did not start in time"
            time.sleep(0.05)
        yield dev
    finally:
        server.terminate()
        server.wait(timeout=30)


def _ready(dev: Dev) -> bool:
    try:
        context = ssl.create_default_context(cafile=dev.ca_path)
        with urllib.request.urlopen(f"{dev.base_url}/-/ready", context=context, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
