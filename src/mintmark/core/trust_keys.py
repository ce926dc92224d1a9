"""The keys of a trust file, with their types, meanings and examples.

Owns the tables from which `docs/trust-file.md` is made. Leaves what a value may be to `core.trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an entry: its type, and a sentence for the reference page."""

    kind: type
    meaning: str
    example: str


REGISTRY_KEYS: Mapping[str, Key] = {
    "title": Key(str, "A name for people.", '"Packages of team Acme"'),
    "host": Key(
        str, "A host name of its own, besides the path `/NAME/` on the shared host.", '"acme.pkgs.example.com"'
    ),
    "audience": Key(
        str,
        "The audience of its identity tokens. Leave it out: it is then made from the host's name.",
        '"mintmark_acme"',
    ),
    "private": Key(bool, "Reading needs a credential. Default: true.", "true"),
    "enabled": Key(bool, "Off: the registry answers nothing. Default: true.", "true"),
    "trusted-publishing": Key(bool, "Identity tokens are exchanged. Default: true.", "true"),
    "trusted-publishing-only": Key(bool, "API tokens cannot upload. Default: false.", "false"),
    "publishers-read": Key(
        bool, "Minted credentials read the whole registry, not only the projects they cover. Default: false.", "false"
    ),
    "host-mint": Key(bool, "Takes part in the host-wide exchange that uv and others use. Default: true.", "true"),
    "credential-lifetime-seconds": Key(int, "Life of a minted credential, 900 to 21600. Default: 900.", "900"),
    "projects": Key(
        list, 'Patterns of the projects it may hold, whoever publishes. Default: `["*"]`.', '["acme-*", "tools"]'
    ),
    "platform-tags": Key(
        str,
        "`any` takes every platform tag and warns of those PyPI refuses, such as `linux_x86_64`; `pypi` refuses them. "
        "Default: `any`.",
        '"any"',
    ),
    "similar-names": Key(
        str,
        "What happens to a new project whose name people would take for an existing one: `refuse`, `warn` or `allow`. "
        "Default: `refuse`.",
        '"refuse"',
    ),
    "legacy-names": Key(
        bool,
        "Take file names as older tools spelled them (`Foo.Bar-1.0.tar.gz`, `.zip` sources). Default: false.",
        "false",
    ),
    "file-limit-bytes": Key(int, "Largest file. Default: the server's `file_limit_bytes`.", "104857600"),
    "project-limit-bytes": Key(int, "Most bytes of all files of one project. Default: no limit.", "10737418240"),
    "releases-limit": Key(int, "Most releases of one project. Default: 10000.", "10000"),
    "release-files-limit": Key(int, "Most files of one release. Default: 1000.", "1000"),
}

ISSUER_KEYS: Mapping[str, Key] = {
    "provider": Key(str, "The kind of CI system: one of the providers.", '"gitlab"'),
    "url": Key(str, "The issuer, exactly as the tokens' `iss` spells it.", '"https://gitlab.example.com"'),
    "server": Key(
        str,
        "Host and root path of the CI server, where its issuer is configured apart from it.",
        '"gitlab.example.com"',
    ),
    "projects": Key(list, 'Patterns of the projects it may publish. Required; `["*"]` is written out.', '["acme-*"]'),
    "algorithms": Key(list, 'Allowed signature algorithms. Default: `["RS256"]`.', '["RS256"]'),
    "max-token-lifetime-seconds": Key(int, "Longest life of an identity token; default: the provider's.", "3600"),
    "networks": Key(list, "Private networks where its documents may be fetched.", '["10.0.0.0/8"]'),
    "allow-http": Key(bool, "Fetch its documents without TLS. Default: false.", "false"),
    "ca-file": Key(str, "Certificates to trust for it instead of the system's (PEM).", '"corp-ca.pem"'),
    "jwks-file": Key(str, "A static key set; nothing is fetched then.", '"keys.json"'),
    "audience": Key(
        str,
        "For CI systems whose jobs cannot ask for this index's audience: the one their tokens have instead. Every "
        "service that gets such tokens can publish here with them.",
        '"api://AzureADTokenExchange"',
    ),
    "remint": Key(
        bool,
        "A job may exchange the same identity token again until it expires, at most 10 times, for no more than the "
        "first time; the former credential ends. For CI systems that give a job only one token. Default: false.",
        "false",
    ),
    "enabled": Key(bool, "Off: its tokens are refused and credentials minted from them end. Default: true.", "true"),
}

PUBLISHER_KEYS: Mapping[str, Key] = {
    "project": Key(
        str,
        "The project it publishes. It is created by the first upload if it does not exist. A pattern such as `acme-*` "
        "stands for all projects that fit it, new ones too.",
        '"acme-widget"',
    ),
    "issuer": Key(str, "The name of one of the registry's issuers.", '"gitlab"'),
    "ref": Key(str, "Only from refs that match this pattern; `*` does not cross `/`.", '"refs/heads/release-*"'),
    "protected-ref": Key(bool, "Only from a protected branch or tag. Default: false.", "true"),
    "tag": Key(str, "Only from the tag that belongs to the uploaded version.", '"v{version}"'),
    "reads": Key(
        bool,
        'It reads the projects and uploads nothing; with `project = "*"` it reads the whole registry. Default: false.',
        "true",
    ),
    "allow": Key(str, "`any`, `create-only` (the first release) or `upload-only` (never creates it).", '"any"'),
}
