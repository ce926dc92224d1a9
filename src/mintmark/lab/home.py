"""How commands reach a running lab, and the folder of `mintmark serve --dev`.

Owns the file by which a lab is reached, which is also the mark that tells its index from a real one, and the layout of
the development index's folder. Leaves running anything to the command line, and temporary labs to `lab.temporary`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mintmark.core.errors import Misconfigured
from mintmark.lab.authority import Authority

DEFAULT_DIRECTORY = "mintmark-dev"
DEFAULT_PORT = 8443
_FIRST_LINE = "# Written by `mintmark serve --dev` at every start. For development on this machine only."
# Beside the data, so that every command that opens the data can tell.
MARK = "lab.json"
_URLS = ("control_url", "base_url", "proxy")


@dataclass(frozen=True, slots=True)
class Lab:
    """How to reach a running lab. `secret` opens its control endpoints."""

    control_url: str
    secret: str
    ca_path: Path
    base_url: str = ""
    """The index's."""
    proxy: str = ""
    """URL of the CONNECT proxy; empty beside `serve --dev`, which has none."""
    audiences: Mapping[str, str] = field(default_factory=dict)
    """Of the whole host under the empty name, and of each registry under its own."""
    process_id: int = 0


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one development index."""

    directory: Path
    settings_path: Path
    port: int
    authority: Authority

    @property
    def base_url(self) -> str:
        """The index's URL."""
        return f"https://localhost:{self.port}"

    @property
    def provider_port(self) -> int:
        """The simulated identity providers listen beside the index, so that their issuer URLs stay the same."""
        return self.port + 1


def prepare(directory: Path, port: int) -> Home:
    """Make or renew the folder. Raises `Misconfigured`."""
    if not 0 < port < 65535:
        raise Misconfigured("port", f"{port} is no port with one behind it.", "Choose 1024 to 65534.")
    settings_path = directory / "mintmark.toml"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if settings_path.exists() and not settings_path.read_text(encoding="utf-8").startswith(_FIRST_LINE):
            raise Misconfigured(
                "dev",
                f"{settings_path} was not written by `mintmark serve --dev`: this may be the folder of a real index.",
                "Name a folder of its own with --dir.",
            )
        directory = directory.resolve()
        authority = Authority.open(directory / "tls", time.time())
        certificate, key = authority.issue(("localhost", "127.0.0.1", "::1"))
    except OSError as error:
        raise Misconfigured(
            "dev", f"{directory} cannot be used: {error.strerror}.", "Name a folder of your own with --dir."
        ) from None
    home = Home(directory, directory / "mintmark.toml", port, authority)
    lines = (
        _FIRST_LINE,
        'data_dir = "data"',
        f'base_url = "{home.base_url}"',
        f'listen = "127.0.0.1:{port}"',
        f"tls_certificate = {json.dumps(str(certificate))}",
        f"tls_key = {json.dumps(str(key))}",
    )
    home.settings_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return home


def announce(directory: Path, lab: Lab) -> None:
    """Let other commands of this user find the running lab."""
    path = directory / MARK
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(lab) | {"ca_path": str(lab.ca_path)}, file)
    fresh.replace(path)


def is_dev(data_dir: Path) -> bool:
    """Whether a data directory belongs to a development index."""
    # Also where the settings name a link to it.
    return any((path.parent / MARK).exists() for path in (data_dir, data_dir.resolve()))


def read(directory: Path) -> Lab | None:
    """How to reach the lab of this directory; None when there is none."""
    try:
        value = json.loads((directory / MARK).read_text(encoding="utf-8"))
        audiences = {str(name): str(audience) for name, audience in dict(value["audiences"]).items()}
        texts = {name: str(value[name]) for name in ("control_url", "secret", "base_url", "proxy")}
        # Invariant: a lab is on this machine. A file in somebody's checkout must not lead a command elsewhere.
        if not all(urlsplit(texts[name]).hostname in {"localhost", "127.0.0.1"} for name in _URLS if texts[name]):
            return None
        return Lab(**texts, ca_path=Path(value["ca_path"]), audiences=audiences, process_id=int(value["process_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
