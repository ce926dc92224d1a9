"""Requests to a server that runs in a test, as a program reads an index: one connection each, verified by its CA."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from real.production import Server

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Reader:
    """Somebody who reads one registry."""

    server: Server
    registry: str
    secret: str

    @property
    def index_url(self) -> str:
        """For pip and uv, with the credential inside."""
        return self.server.base_url.replace("://", f"://__token__:{self.secret}@") + f"/{self.registry}/simple/"

    def page_url(self, project: str) -> str:
        """A project's page; of "" the list of all."""
        return f"{self.server.base_url}/{self.registry}/simple/{project}{'/' if project else ''}"

    def ask(self, url: str, accept: str = "*/*") -> tuple[int, bytes]:
        """Status and body of one answer."""
        return self.request("GET", url, {"Accept": accept})

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer to any request, sent with the credential."""
        login = base64.b64encode(f"__token__:{self.secret}".encode()).decode()
        context = ssl.create_default_context(cafile=self.server.authority.ca_path)
        port = self.server.public_port
        with closing(http.client.HTTPSConnection("localhost", port, context=context, timeout=TIMEOUT_SECONDS)) as line:
            line.request(method, urlsplit(url).path, body, {"Authorization": f"Basic {login}", **headers})
            answer = line.getresponse()
            return answer.status, answer.read()

    def get(self, url: str, accept: str = "*/*") -> bytes:
        """A body that must be there."""
        status, body = self.ask(url, accept)
        assert status == 200, (url, status, body)
        return body

    def page(self, project: str) -> dict[str, Any]:
        """A page's JSON."""
        return dict(json.loads(self.get(self.page_url(project), JSON)))

    def files(self) -> dict[str, dict[str, Any]]:
        """What the pages of all projects say, by file name."""
        projects = [entry["name"] for entry in self.page("")["projects"]]
        return {file["filename"]: file for project in projects for file in self.page(project)["files"]}
