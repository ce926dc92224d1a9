"""The fault switches: what can be made to go wrong, and what goes wrong next.

Owns the table of faults and the count of each that is on. Leaves doing them to `lab.watch` (answers), to
`lab.provider_server` (contents of answers, key rotations) and the answers' bodies to `lab.fault_answers`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

TIMES_MAX = 1000
SECONDS_MAX = 60.0
SKEW_SECONDS_MAX = 86_400.0
ACTIVE_MAX = 200
CI_MAX_CHARACTERS = 64

Kind = Literal["answer", "content", "act"]
INDEX_ACTIONS = frozenset(
    {"discover", "audience", "mint", "burn", "upload", "list", "page", "metadata", "file", "json", "other"}
)
DOCUMENTS = frozenset({"discovery", "keys"})
PROVIDER_ACTIONS = DOCUMENTS | {"request-token"}
CLOCK_SKEW = "clock-skew"
_CI = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong. `seconds_default` is used where none are given."""

    name: str
    server: str
    actions: frozenset[str]
    does: str
    takes_seconds: bool = False
    kind: Kind = "answer"
    seconds_default: float = 0.0

    @property
    def of_documents(self) -> bool:
        """Whether it is about what an index fetches of an issuer, and keeps for a while."""
        return self.server == "provider" and bool(self.actions & DOCUMENTS)


class BadFault(ValueError):
    """The fault cannot be set. The message is a sentence with the cure."""


@dataclass(frozen=True, slots=True)
class Active:
    """A fault that is on, `left` times more. `ci` None means for everybody."""

    name: str
    left: int
    seconds: float | None = None
    ci: str | None = None


def _job(name: str, does: str, *, kind: Kind = "answer", seconds: float = 0.0) -> Fault:
    """Of what a job asks of its identity provider."""
    return Fault(name, "provider", frozenset({"request-token"}), does, seconds > 0, kind, seconds)


def _issuer(name: str, does: str, *actions: str, kind: Kind = "answer", seconds: float = 0.0) -> Fault:
    """Of what an index asks of an issuer."""
    return Fault(name, "provider", frozenset(actions) or DOCUMENTS, does, seconds > 0, kind, seconds)


def _index(name: str, does: str, seconds: float = 0.0) -> Fault:
    action = name.partition("-")[0]
    actions = INDEX_ACTIONS if action == "index" else frozenset({action})
    return Fault(name, "index", actions, does, seconds > 0, "answer", seconds)


_TABLE = (
    _job("provider-down", "The job's request for an identity token gets no answer: the connection is closed."),
    _job("provider-slow", "The job's request for an identity token is answered after `seconds`.", seconds=5),
    _job("provider-403", "The job's request for an identity token is refused with 403."),
    _job("provider-500", "The job's request for an identity token fails with 500."),
    _job("provider-malformed", "The job's request for an identity token is answered 200 with no JSON."),
    _job(
        CLOCK_SKEW,
        "Identity tokens are made by a clock that is `seconds` fast, or slow if negative.",
        kind="content",
        seconds=3600,
    ),
    _issuer("issuer-down", "The index's requests for the issuer's documents get no answer."),
    _issuer("issuer-slow", "The index's requests for the issuer's documents are answered after `seconds`.", seconds=5),
    _issuer("issuer-500", "The index's requests for the issuer's documents fail with 500."),
    _issuer("issuer-malformed", "The index's requests for the issuer's documents are answered 200 with no JSON."),
    _issuer("discovery-wrong-issuer", "The discovery document names another issuer.", "discovery", kind="content"),
    _issuer("keys-rotated", "The issuer signs with a new key under a new `kid` from now on.", "keys", kind="act"),
    _issuer(
        "keys-rotated-same-kid", "The issuer signs with a new key under the old `kid` from now on.", "keys", kind="act"
    ),
    _issuer("keys-empty", "The key set holds no key.", "keys", kind="content"),
    _index("audience-403", "The audience endpoint says that Trusted Publishing is not enabled."),
    _index("audience-404", "The audience endpoint does not exist, as on an index without Trusted Publishing."),
    _index("audience-500", "The audience endpoint fails with 500."),
    _index("mint-403", "The mint endpoint says that Trusted Publishing is not enabled."),
    _index("mint-422", "The mint endpoint refuses the identity: no publisher matches it."),
    _index("mint-429", "The mint endpoint refuses with 429 and Retry-After."),
    _index("mint-500", "The mint endpoint fails with 500; the identity token is not spent."),
    _index("mint-invalid-json", "The mint endpoint answers 200 with JSON that breaks off."),
    _index("mint-timeout", "The mint endpoint says nothing for `seconds` and then closes the connection.", seconds=10),
    _index("mint-lost", "The index mints and spends the identity token, and the answer is lost."),
    _index("burn-202", "The burn endpoint answers 202 and burns nothing."),
    _index("burn-404", "The burn endpoint does not exist, as on an index that burns nothing."),
    _index("burn-500", "The burn endpoint fails with 500."),
    _index("upload-400", "The upload is refused with 400: its metadata is not valid."),
    _index("upload-403", "The upload is refused with 403: the credential is refused."),
    _index("upload-409", "The upload is refused with 409: the file exists with other content."),
    _index("upload-503", "The upload is refused with 503 and Retry-After."),
    _index("upload-308", "The upload is redirected with 308 to the same URL, its trailing slash added or removed."),
    _index("upload-reset", "The connection is reset in the middle of the body."),
    _index("upload-lost", "The index takes the file, and the answer is lost."),
    _index("index-slow", "The index answers after `seconds`, whatever it is asked.", seconds=5),
)
FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _TABLE})


class Faults:
    """The faults that are on, in the order in which they were set. Any thread may use it."""

    def __init__(self) -> None:
        self.on_act: Callable[[str, str | None], None] | None = None
        self._active: dict[tuple[str, str | None], Active] = {}
        self._lock = threading.Lock()

    def set(self, name: str, *, times: int = 1, seconds: float | None = None, ci: str | None = None) -> None:
        """Switch a fault on for its next `times`; the same one again replaces it. Raises `BadFault`."""
        fault = FAULTS.get(str(name))
        if fault is None:
            raise BadFault(f"There is no such fault; there are {', '.join(FAULTS)}.")
        if ci is not None and fault.server == "index":
            raise BadFault(f"{name} is a fault of the index, whoever asks; leave the CI system out.")
        active = Active(name, _times(fault, times), _seconds(fault, seconds), _ci(ci))
        if fault.kind == "act":
            if self.on_act is None:
                raise BadFault(f"{name} needs simulated identity providers; start the lab with them.")
            self.on_act(name, ci)
            return
        with self._lock:
            if len(self._active) >= ACTIVE_MAX and (name, ci) not in self._active:
                raise BadFault(f"{ACTIVE_MAX} faults are on already; clear them first.")
            self._active[name, ci] = active

    def take(self, server: str, action: str, ci: str | None = None) -> Active | None:
        """The first "answer" fault that fits this request, counted down; `left` is what is left after it."""
        return self._take(
            lambda fault: fault.kind == "answer" and fault.server == server and action in fault.actions, ci
        )

    def take_named(self, name: str, ci: str | None = None) -> Active | None:
        """This fault if it is on, counted down. For those who make the contents of answers."""
        return self._take(lambda fault: fault.name == name, ci)

    def listing(self) -> list[Active]:
        """What is on."""
        with self._lock:
            return list(self._active.values())

    def clear(self) -> None:
        """Switch everything off. Keys that were rotated stay as they are."""
        with self._lock:
            self._active.clear()

    def _take(self, fits: Callable[[Fault], bool], ci: str | None) -> Active | None:
        with self._lock:
            for key, active in self._active.items():
                if fits(FAULTS[active.name]) and active.ci in {None, ci}:
                    taken = replace(active, left=active.left - 1)
                    if taken.left:
                        self._active[key] = taken
                    else:
                        del self._active[key]
                    return taken
        return None


def _times(fault: Fault, times: object) -> int:
    if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= TIMES_MAX:
        raise BadFault(f"times must be a whole number from 1 to {TIMES_MAX}.")
    if fault.kind == "act" and times != 1:
        raise BadFault(f"{fault.name} happens once, at once; leave times out and set it again for another time.")
    return times


def _seconds(fault: Fault, seconds: object) -> float | None:
    if not fault.takes_seconds:
        if seconds is not None:
            raise BadFault(f"{fault.name} takes no seconds; leave them out.")
        return None
    if seconds is None:
        return fault.seconds_default
    low, high = (-SKEW_SECONDS_MAX, SKEW_SECONDS_MAX) if fault.name == CLOCK_SKEW else (0.0, SECONDS_MAX)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not low <= seconds <= high:
        raise BadFault(f"seconds must be a number from {low:.0f} to {high:.0f}.")
    return float(seconds)


def _ci(ci: object) -> str | None:
    if ci is None:
        return None
    if not isinstance(ci, str) or len(ci) > CI_MAX_CHARACTERS or not _CI.match(ci):
        raise BadFault("ci must be the name of a CI system of the lab, like github; leave it out for all of them.")
    return ci
