"""The index behind a real nginx that ends TLS."""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from real.production import IDENTITY, Server, running_server
from real.tools import need
from support.dists import wheel

pytestmark = pytest.mark.real

# What the documentation tells operators to write, around which is only what a test needs.
DOCUMENTED = Path(__file__).parents[2] / "docs" / "deploy.md"
AROUND = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {documented}
}}
"""


def configuration_for(server: Server) -> str:
    """The documented configuration with this test's ports and certificate."""
    text = (
        DOCUMENTED.read_text(encoding="utf-8").partition("<!-- nginx:begin -->")[2].partition("<!-- nginx:end -->")[0]
    )
    documented = text.strip().removeprefix("```nginx").removesuffix("```")
    certificate, key = server.authority.issue(("localhost", "127.0.0.1"))
    for before, after in (
        ("127.0.0.1:8080", f"127.0.0.1:{server.port}"),
        ("listen 443", f"listen 127.0.0.1:{server.public_port}"),
        ("pkgs.example.com", "localhost"),
        ("/etc/mintmark/tls/fullchain.pem", str(certificate)),
        ("/etc/mintmark/tls/key.pem", str(key)),
    ):
        assert before in documented
        documented = documented.replace(before, after)
    return AROUND.format(directory=server.directory, documented=documented)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    nginx = need("nginx")["nginx"]
    directory = tmp_path_factory.mktemp("nginx")
    with running_server(directory, proxied=True) as started:
        configuration = directory / "nginx.conf"
        configuration.write_text(configuration_for(started))
        front = subprocess.Popen(
            [nginx, "-c", str(configuration), "-p", str(directory), "-e", str(directory / "nginx.log")]
        )
        try:
            for _ in range(200):
                try:
                    with connect(started) as probe:
                        probe.request("GET", "/-/health")
                    break
                except OSError:
                    assert front.poll() is None, (directory / "nginx.log").read_text()
                    time.sleep(0.05)
            yield started
        finally:
            front.terminate()
            front.wait(timeout=30)


@contextmanager
def connect(server: Server) -> Iterator[http.client.HTTPSConnection]:
    context = ssl.create_default_context(cafile=server.authority.ca_path)
    connection = http.client.HTTPSConnection("localhost", server.public_port, context=context, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def test_uv_publishes_and_pip_installs(server: Server, tmp_path: Path) -> None:
    server.mintmark(
        "publisher", "add", "acme", "behind-nginx", "--issuer", "gitlab", *(f"{k}={v}" for k, v in IDENTITY.items())
    )
    filename, data = wheel("behind-nginx")
    (tmp_path / filename).write_bytes(data)
    url = f"{server.base_url}/acme/legacy/"
    done = server.run("uv", "publish", "--publish-url", url, str(tmp_path / filename), more=server.job())
    assert done.returncode == 0, done.stderr
    secret = server.mintmark("token", "create", "acme", "reader", "--read")
    index = f"https://__token__:{secret}@localhost:{server.public_port}/acme/simple/"
    got = server.run("pip", "download", "--no-deps", "-d", str(tmp_path / "got"), "--index-url", index, "behind-nginx")
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "got" / filename).read_bytes() == data


def test_the_reason_reaches_twine(server: Server, tmp_path: Path) -> None:
    secret = server.mintmark("token", "create", "acme", "narrow", "--upload", "--project", "only-this")
    filename, data = wheel("something-else")
    (tmp_path / filename).write_bytes(data)
    url = f"{server.base_url}/acme/legacy/"
    done = server.run(
        "twine", "upload", "--non-interactive", "--repository-url", url, str(tmp_path / filename),
        more={"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": secret},
    )  # fmt: skip
    assert done.returncode != 0
    assert "does not cover the project something-else" in " ".join((done.stdout + done.stderr).split())


def test_a_large_upload_streams_through(server: Server, tmp_path: Path) -> None:
    secret = server.mintmark("token", "create", "acme", "large", "--upload", "--read")
    filename, data = wheel("large-one", body=b"#" + hashlib.shake_256(b"seed").hexdigest(30_000_000).encode())
    (tmp_path / filename).write_bytes(data)
    url = f"{server.base_url}/acme/legacy/"
    done = server.run("uv", "publish", "--publish-url", url, "--token", secret, str(tmp_path / filename))
    assert done.returncode == 0, done.stderr
    sha256 = hashlib.sha256(data).hexdigest()
    login = base64.b64encode(f"__token__:{secret}".encode()).decode()
    path = f"/acme/files/{sha256[:2]}/{sha256}/{filename}"
    with connect(server) as connection:
        connection.request("GET", path, headers={"Authorization": f"Basic {login}", "Range": "bytes=-1000"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (206, data[-1000:])


def test_refusals_keep_reason_and_body(server: Server) -> None:
    with connect(server) as connection:
        connection.request("GET", "/acme/simple/anything/")
        answer = connection.getresponse()
        assert answer.status == 401
        assert answer.reason.startswith("This needs a credential.")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert b"credential-required" in answer.read()
