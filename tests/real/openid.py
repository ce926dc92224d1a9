"""An OpenID provider that is not ours, as a process: `oidc-provider` on Node.js, with TLS, on loopback.

Owns starting and stopping it, asking it for tokens as a client would, and having it exchange its keys. Leaves its
configuration to `oidc_provider/server.mjs`.
"""

from __future__ import annotations

import json
import os
import select
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from issuer_stub import authority_files
from joserfc.jwk import ECKey, RSAKey

from real.tools import HERE, need
from support.ports import free_port

SERVER = HERE / "oidc_provider" / "server.mjs"
INSTALLED = HERE / "node_modules" / "oidc-provider"
IDENTITY_GRANT = "urn:test:identity"
SECRET = "only for the tests on loopback"
RSA_BITS = 2048
HEARD_SECONDS = 30
STOP_SECONDS = 30


@dataclass
class OpenIdProvider:
    """The running provider. `ca` is a file with the authority of its certificate."""

    url: str
    ca: Path
    process: subprocess.Popen[str]
    kid: str = ""

    def rotate(self, algorithm: str) -> str:
        """Have it use a new key for this algorithm and forget every other; its id."""
        made = RSAKey.generate_key(RSA_BITS) if algorithm == "RS256" else ECKey.generate_key("P-256")
        # Never an argument, which every process of the machine can read.
        key = {**made.as_dict(private=True), "kid": made.thumbprint(), "use": "sig", "alg": algorithm}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(key) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], HEARD_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        assert line, (self.ca.parent / "provider.log").read_text()
        self.kid = str(json.loads(line)["kid"])
        assert self.kid == key["kid"]
        return self.kid

    def identity_token(self, audience: str, **claims: object) -> str:
        """An ID token for the client of this name."""
        return str(self._ask(audience, grant_type=IDENTITY_GRANT, claims=json.dumps(claims))["id_token"])

    def access_token(self, audience: str, **claims: object) -> str:
        """A JWT access token (RFC 9068) for this audience."""
        answer = self._ask(
            audience,
            grant_type="client_credentials",
            resource=f"urn:audience:{audience}",
            claims=json.dumps(claims),
        )
        return str(answer["access_token"])

    def stop(self) -> None:
        """End it, as when its machine goes down."""
        self.process.kill()
        self.process.communicate(timeout=STOP_SECONDS)

    def _ask(self, client: str, **fields: str) -> dict[str, object]:
        form = urllib.parse.urlencode({"client_id": client, "client_secret": SECRET, **fields}).encode()
        context = ssl.create_default_context(cafile=self.ca)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"{self.url}/token", form, timeout=STOP_SECONDS) as answer:
            found: dict[str, object] = json.load(answer)
        return found


@contextmanager
def running_provider(directory: Path, *audiences: str) -> Iterator[OpenIdProvider]:
    """Start it with a client for each audience, and never leave it behind. Begins with RS256."""
    node = need("node")["node"]
    if not INSTALLED.exists():
        pytest.skip("not installed: oidc-provider (npm ci in tests/real)")
    ca, private, certificate = authority_files("Acme")
    files = {"ca.pem": ca.encode(), "key.pem": private, "certificate.pem": certificate}
    for name, data in files.items():
        (directory / name).write_bytes(data)
    port = free_port()
    url = f"https://localhost:{port}"
    with (directory / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            [node, SERVER, url, str(port), "certificate.pem", "key.pem", *audiences],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "CLIENT_SECRET": SECRET},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    provider = OpenIdProvider(url, directory / "ca.pem", process)
    try:
        provider.rotate("RS256")
        yield provider
    finally:
        if process.poll() is None:
            provider.stop()
