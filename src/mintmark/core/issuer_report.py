"""The report card of an issuer: may it be trusted, and what would have to change.

Owns the lines, the verdict and what would register the issuer. Leaves asking to `store.issuer_probe`, keys to
`core.issuer_keys_report`, claims to `core.issuer_claims_report`, and what the provider promises to its table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mintmark.core import strict_json
from mintmark.core.issuer_claims_report import report_on_claims
from mintmark.core.issuer_keys_report import report_on_keys
from mintmark.core.issuer_probe import Conditions, Kind, Probe, Trouble
from mintmark.core.jwks import ALGORITHMS
from mintmark.core.jwt import LEEWAY_SECONDS
from mintmark.core.match import shown
from mintmark.core.provider_guess import guess
from mintmark.core.providers.model import Provider
from mintmark.core.report_card import Grade, Line, bad, note, ok, warning, worst

DAY_SECONDS = 86_400
CERTIFICATE_WARNING_DAYS = 14
# The server gives a mint two seconds to get keys it does not have yet.
SLOW_MILLISECONDS = 2000
ALGORITHMS_SHOWN = 10
_MAX_AGE = re.compile(r"\bmax-age=([0-9]{1,9})\b", re.IGNORECASE)
_IN_CLUSTER = re.compile(r"kubernetes\.default\.svc(\.|\Z)|.*\.cluster\.local\Z")
_FAILED = {
    Kind.UNREACHABLE: "Try again, from the machine that runs the index; check name, firewall and proxy.",
    Kind.TLS: "Name the certificates that signed it with --ca-file, or let the issuer renew its certificate.",
    Kind.FORBIDDEN: "Correct the URL, or name the issuer's own network with --network, if it belongs to you.",
    Kind.UNUSABLE: "The issuer has to serve OpenID Connect Discovery at this URL: 200, JSON, not compressed.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The lines, the provider they were held against, and the algorithms that a trust entry would name."""

    url: str
    lines: tuple[Line, ...]
    provider: Provider | None
    guessed: bool
    algorithms: tuple[str, ...]
    reachable: bool

    @property
    def usable(self) -> bool:
        """Whether a registry may trust it as it is."""
        return self.reachable and worst(self.lines) is not Grade.BAD


def report_on(probe: Probe, provider: Provider | None, now: float) -> Report:
    """Judge what was seen. Without a provider it is guessed."""
    conditions = probe.conditions
    document = _document(probe)
    found = provider or guess(conditions.url, _texts(document.get("claims_supported")))
    lines = [*_reached(probe), *_network(probe), *_tls(probe, now)]
    if document:
        lines += [_issuer(conditions.url, document.get("issuer")), _jwks_uri(conditions.url, document)]
    lines += _lab(probe, document)
    keys = conditions.jwks.encode("utf-8", "surrogatepass") if conditions.jwks else probe.keys and probe.keys.body
    algorithms: tuple[str, ...] = ()
    if keys:
        judged = report_on_keys(keys)
        lines += [*judged.lines, *_caching(probe)]
        line, algorithms = _algorithms(judged.algorithms, document, static=bool(conditions.jwks))
        lines.append(line)
    lines += [_shape(conditions.url, found, given=provider is not None), *_cluster(conditions)]
    claims = document.get("claims_supported")
    lines += report_on_claims(found, claims if isinstance(claims, list) else None, asked=bool(document))
    unreachable = probe.trouble is not None and probe.trouble.kind is Kind.UNREACHABLE
    return Report(conditions.url, tuple(lines), found, provider is None, algorithms, not unreachable)


def _document(probe: Probe) -> Mapping[str, object]:
    try:
        value = strict_json.parse(probe.discovery.body) if probe.discovery else {}
    except strict_json.NotStrictJson:
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> frozenset[str]:
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()


# -- the way there ----------------------------------------------------------------------------------------------------


def _reached(probe: Probe) -> Sequence[Line]:
    if probe.conditions.jwks:
        return [note("reached", "Not asked: its keys are static, so nobody ever contacts it.")]
    lines = []
    if probe.trouble:
        lines.append(_failed(probe.trouble))
    for name, answer in (("discovery", probe.discovery), ("keys", probe.keys)):
        if answer is None:
            continue
        how = f"Answered after {answer.milliseconds} ms" + (f", {answer.redirects} redirects" * bool(answer.redirects))
        if answer.milliseconds > SLOW_MILLISECONDS:
            cure = "Keys are fetched ahead of need, but the first job after a restart may be refused and has to repeat."
            lines.append(warning(f"{name} reached", f"{how}, which is slow.", cure))
        else:
            lines.append(ok(f"{name} reached", f"{how}."))
    return lines


def _failed(trouble: Trouble) -> Line:
    cure = _FAILED[trouble.kind]
    if trouble.network:
        cure = f"Add --network {trouble.network} (networks in the trust file), if that address belongs to you."
    return bad(f"{trouble.stage} reached", f"{trouble.reason[:1].upper()}{trouble.reason[1:]}.", cure)


def _network(probe: Probe) -> Sequence[Line]:
    networks = probe.conditions.networks
    if probe.private:
        return [note("network", f"It is on a private network ({', '.join(probe.private[:3])}): networks is needed.")]
    if networks and not probe.trouble and not probe.conditions.jwks:
        return [note("network", "It is on the public internet.", "Leave networks out; nothing needs them.")]
    return []


def _tls(probe: Probe, now: float) -> Sequence[Line]:
    if probe.conditions.url.startswith("http://"):
        cure = "Whoever is on the way can replace its keys, and publish as any job. Let it serve https."
        return [warning("TLS", "There is none (http).", cure)]
    if probe.tls is None:
        return []
    days = int((probe.tls.until - now) // DAY_SECONDS)
    trusted = "the given CA file" if probe.conditions.ca_pem else "this system's certificates"
    sentence = f"{probe.tls.version}, signed by {shown(probe.tls.authority)}, trusted by {trusted}, {days} days left."
    if days < CERTIFICATE_WARNING_DAYS:
        return [warning("TLS", sentence, "Renew the certificate: no key is fetched after it ends.")]
    return [ok("TLS", sentence), *_clock(probe, now)]


def _clock(probe: Probe, now: float) -> Sequence[Line]:
    served_at = probe.discovery.served_at if probe.discovery else None
    apart = 0 if served_at is None else round(now - served_at)
    if abs(apart) <= LEEWAY_SECONDS:
        return []
    cure = f"Set both clocks by NTP: tokens may be at most {LEEWAY_SECONDS} seconds from the future."
    ahead = "ahead of" if apart > 0 else "behind"
    return [warning("clock", f"This machine's clock is {abs(apart)} seconds {ahead} the issuer's.", cure)]


# -- the documents ----------------------------------------------------------------------------------------------------


def _issuer(url: str, said: object) -> Line:
    if said == url:
        return ok("issuer", "The discovery document names this URL, byte for byte.")
    difference = difference_of(url, said)
    cure = "Register the issuer exactly as its tokens spell iss."
    if isinstance(said, str):
        cure += f" It calls itself {shown(said)}."
    return bad("issuer", f"The discovery document {difference}; every token would be refused.", cure)


def difference_of(url: str, said: object) -> str:
    """How the issuer's own name differs from the URL, in words."""
    if not isinstance(said, str):
        return "names no issuer"
    if said.strip() == url.strip():
        return "has white space around the URL"
    if said.rstrip("/") == url.rstrip("/"):
        return f"has {'a' if said.endswith('/') else 'no'} slash at the end, where the URL has {_opposite(url)}"
    if said.partition("://")[2] == url.partition("://")[2]:
        return f"says {shown(said.partition('://')[0])} where the URL says {url.partition('://')[0]!r}"
    if said.lower() == url.lower():
        return "differs from the URL in upper and lower case"
    return f"is of another issuer, {shown(said)}"


def _opposite(url: str) -> str:
    return "one" if url.endswith("/") else "none"


def _jwks_uri(url: str, document: Mapping[str, object]) -> Line:
    jwks_uri = document.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        return bad("jwks_uri", "The discovery document has none.", "The issuer has to name the URL of its keys.")
    try:
        here, there = urlsplit(url), urlsplit(jwks_uri)
    except ValueError:
        return bad("jwks_uri", "It is no URL.", "The issuer has to name the URL of its keys.")
    if there.scheme != "https":
        cure = "Let the issuer name an https URL; otherwise allow-http is needed and whoever is on the way decides."
        return warning("jwks_uri", f"It is not https but {shown(there.scheme)}.", cure)
    if there.netloc.lower() != here.netloc.lower():
        return note("jwks_uri", f"The keys come from another host, {shown(there.netloc)}, which is trusted as well.")
    return ok("jwks_uri", "https, on the issuer's own host.")


def _lab(probe: Probe, document: Mapping[str, object]) -> Sequence[Line]:
    if not document.get("mintmark_lab") and not probe.lab_certificate:
        return []
    if probe.conditions.lab:
        return [note("lab", "It belongs to Mintmark's lab, which signs whatever it is asked to.")]
    cure = "Only `serve --dev` and `lab up` may trust it. To check it all the same, add --lab."
    return [bad("lab", "It belongs to Mintmark's lab, which signs whatever it is asked to.", cure)]


def _caching(probe: Probe) -> Sequence[Line]:
    if probe.keys is None:
        return []
    found = _MAX_AGE.search(probe.keys.cache_control)
    how = f"The issuer allows keeping keys for {int(found[1])} seconds" if found else "The issuer sends no max-age"
    return [ok("caching", f"{how}; Mintmark fetches them every 15 minutes, and at once for an unknown kid.")]


def _algorithms(
    verifiable: frozenset[str], document: Mapping[str, object], *, static: bool
) -> tuple[Line, tuple[str, ...]]:
    """What the trust entry has to name. RS256 is what it has by default."""
    topic = "algorithms"
    declared = document.get("id_token_signing_alg_values_supported")
    offered = _texts(declared)
    usable = verifiable & (offered or ALGORITHMS)
    if not verifiable:
        return bad(topic, "No key can verify any allowed algorithm.", "See the lines on keys."), ()
    if not usable:
        listed = ", ".join(sorted(map(shown, offered))[:ALGORITHMS_SHOWN])
        cure = f"Sign with one of {', '.join(sorted(ALGORITHMS))}, and publish its key."
        return bad(topic, f"It signs with {listed}, which no key here can verify.", cure), ()
    if "RS256" in usable:
        wanted: tuple[str, ...] = ("RS256",)
        line = ok(topic, "RS256, which a trust entry allows by default.")
    else:
        wanted = tuple(sorted(usable))
        line = note(topic, f"It signs with {', '.join(wanted)}; a trust entry has to allow that.")
    if not offered and not static:
        return note(topic, f"The discovery document lists none; its keys allow {', '.join(sorted(usable))}."), wanted
    return line, wanted


# -- the provider -----------------------------------------------------------------------------------------------------


def _shape(url: str, provider: Provider | None, *, given: bool) -> Line:
    if provider is None:
        return note("provider", "The URL does not tell which CI system this is.", "Name it with --provider.")
    if not provider.issuer.pattern.fullmatch(url):
        examples = ", ".join(provider.issuer.examples[:2])
        cure = f"{provider.issuer.explanation} For example: {examples}"
        return bad("provider", f"This is no issuer of {provider.title}.", cure)
    if not given:
        return note("provider", f"Taken for {provider.title}, by its URL and claims.", "Name it with --provider.")
    return ok("provider", f"The URL has the shape of an issuer of {provider.title}.")


def _cluster(conditions: Conditions) -> Sequence[Line]:
    if not _IN_CLUSTER.match(urlsplit(conditions.url).hostname or ""):
        return []
    sentence = "Every Kubernetes cluster has an issuer of this name: it says nothing about which cluster signed."
    if conditions.jwks:
        return [note("cluster", f"{sentence} The static key set ties it to one.")]
    cure = "Give the API server an issuer URL of its own (--service-account-issuer), or pin its keys with --jwks-file."
    return [warning("cluster", sentence, cure)]
