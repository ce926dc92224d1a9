"""Is this machine fit for the index? The part of `mintmark doctor` that needs no ledger.

Owns lines about settings, the data directory, disk, clock, certificate, proxies and backups. Leaves looking to
`store.surroundings` and the ledger to `service.doctor`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from mintmark.core.certificate import BadCertificate, read_certificate
from mintmark.core.report_card import Line, bad, note, ok, warning
from mintmark.settings import Settings, is_loopback, parse_listen

DAY_SECONDS = 86_400
CERTIFICATE_WARNING_DAYS = 14
FREE_BAD_BYTES = 256 * 1024**2
FREE_WARNING_BYTES = 2 * 1024**3
CLOCK_WARNING_SECONDS = 2
BACKUP_WARNING_SECONDS = 2 * DAY_SECONDS
# A proxy is a machine or a small group of them; whoever is in the network may claim to be any client.
PROXY_PREFIX_MIN = {4: 16, 6: 48}
_BACKUP_NAME = "%Y%m%dT%H%M%SZ"


class DataDirFacts(Protocol):
    """See `store.surroundings.DataDir`."""

    @property
    def exists(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def mode(self) -> int: ...
    @property
    def is_mine(self) -> bool: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def written_at(self) -> float | None: ...
    @property
    def has_ledger(self) -> bool: ...
    @property
    def revision(self) -> str: ...
    @property
    def head(self) -> str: ...


def on_data_dir(path: str, facts: DataDirFacts, now: float) -> Sequence[Line]:
    """The folder, its disk and its clock."""
    if not facts.exists:
        return [
            warning("data directory", f"{path} does not exist yet.", "`mintmark serve` makes it, or correct data_dir.")
        ]
    if facts.problem:
        cure = "Run as the user it belongs to, on a disk with free space that is mounted for writing."
        return [bad("data directory", f"{path} cannot be used: {facts.problem}.", cure)]
    lines = []
    if not facts.is_mine:
        cure = "Run the server and its commands as the user whom the folder belongs to."
        lines.append(warning("data directory", f"{path} belongs to another user.", cure))
    elif facts.mode & 0o027:
        cure = f"chmod 750 {path}"
        lines.append(warning("data directory", f"{path} is open to others (mode {facts.mode:o}).", cure))
    else:
        lines.append(ok("data directory", f"{path} can be written, by its owner only."))
    lines.append(_space(facts.free_bytes))
    apart = 0.0 if facts.written_at is None else facts.written_at - now
    if abs(apart) > CLOCK_WARNING_SECONDS:
        cure = "Set the clocks of this machine and of its file server by NTP."
        lines.append(warning("clock", f"Files are stamped {abs(apart):.0f} seconds beside this machine's clock.", cure))
    else:
        lines.append(ok("clock", f"Files and this machine agree that it is {_when(now)}."))
    return [*lines, _schema(facts)]


def _space(free: int) -> Line:
    sentence = f"{free / 1024**3:.1f} GiB are free."
    if free < FREE_BAD_BYTES:
        return bad(
            "disk", sentence, "Uploads are about to be refused: make room, or let a sweep remove what is unused."
        )
    if free < FREE_WARNING_BYTES:
        return warning(
            "disk", sentence, "Make room before uploads are refused; `mintmark sweep` removes what is unused."
        )
    return ok("disk", sentence)


def _schema(facts: DataDirFacts) -> Line:
    if not facts.has_ledger:
        return note("ledger", "There is none yet; the first command makes it.")
    if not facts.revision:
        return bad("ledger", "It cannot be read, or is no ledger.", "Restore a backup: mintmark restore.")
    if facts.revision > facts.head:
        cure = "Install that release again, or restore a backup of this one."
        return bad("ledger", f"A newer release of Mintmark wrote it (schema {facts.revision}).", cure)
    if facts.revision != facts.head:
        cure = "Make a backup. The next `mintmark serve` or other command brings it up to date."
        return warning("ledger", f"Its schema is {facts.revision}, that of this release {facts.head}.", cure)
    return ok("ledger", f"Its schema is {facts.revision}, that of this release.")


def on_settings(settings: Settings, *, development: bool) -> Sequence[Line]:
    """What is allowed by the settings and worth a second look."""
    lines = []
    if development:
        lines.append(
            note("settings", "This is the index of `serve --dev` or `lab up`; it trusts issuers that sign anything.")
        )
    for text in settings.trusted_proxies:
        network = ipaddress.ip_network(text)
        if network.prefixlen < PROXY_PREFIX_MIN[network.version]:
            cure = "Name the proxies' own addresses: whoever is in this network may claim to be any client."
            lines.append(warning("trusted_proxies", f"{text} is {network.num_addresses:,} addresses.", cure))
    address, _ = parse_listen(settings.listen)
    proxies = [ipaddress.ip_network(text) for text in settings.trusted_proxies]
    if proxies and all(each.is_loopback for each in proxies) and not is_loopback(address):
        cure = "Listen on 127.0.0.1, or name the network of the proxy."
        lines.append(warning("listen", f"It listens on {address}, but takes connections of this machine only.", cure))
    if proxies and settings.tls:
        cure = "That is right only if the proxy passes TLS on."
        lines.append(note("trusted_proxies", "This server ends TLS itself and has a proxy in front of it.", cure))
    if settings.base_url.startswith("http://"):
        lines.append(note("base_url", "It is http, so this index is for this machine only."))
    return lines or [ok("settings", f"They are complete and safe, for {settings.base_url}.")]


def on_certificate(settings: Settings, chain: bytes, problem: str, now: float) -> Sequence[Line]:
    """The certificate that this server shows."""
    topic, again = "TLS", "Get a new one, then restart the server."
    if problem:
        return [bad(topic, f"Certificate and key do not work: {problem}.", "Correct tls_certificate and tls_key.")]
    try:
        found = read_certificate(chain)
    except BadCertificate as error:
        return [bad(topic, f"{settings.tls_certificate}: {error}.", "Correct tls_certificate.")]
    days = int((found.until - now) // DAY_SECONDS)
    if found.until <= now or found.since > now:
        return [bad(topic, f"The certificate is good from {_when(found.since)} to {_when(found.until)}.", again)]
    if not found.covers(settings.host):
        listed = ", ".join(found.names[:5]) or "none"
        return [bad(topic, f"The certificate is not for {settings.host}; its names are: {listed}.", again)]
    sentence = f"The certificate for {settings.host} is good for {days} days."
    return [warning(topic, sentence, again) if days < CERTIFICATE_WARNING_DAYS else ok(topic, sentence)]


def on_backup(folder: str, latest: str, now: float) -> Line:
    """How old the newest backup is. Its name is its time."""
    try:
        made = datetime.strptime(latest[:16], _BACKUP_NAME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return note("backup", f"The newest in {folder} is {latest}, whose name says no time.")
    hours = int((now - made) // 3600)
    sentence = f"The newest in {folder} is {hours} hours old."
    if now - made > BACKUP_WARNING_SECONDS:
        return warning("backup", sentence, f"mintmark backup {folder}; let a timer do it every day.")
    return ok("backup", sentence)


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
