"""What the pages on the lab derive from its code: the table of CI systems, and those of faults.

Owns which clients find a simulated job's identity by themselves, which no table of the code says. Leaves writing the
pages to `derive.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mintmark.lab.faults import CLOCK_SKEW, FAULTS, SECONDS_MAX, SKEW_SECONDS_MAX, Fault
from mintmark.lab.kinds.gitlab import audience_variable
from mintmark.lab.places import LAB_PLACES, Place

Table = tuple[Sequence[str], Iterable[Sequence[str]]]

AUDIENCE = "audience"
GITHUB_LIKE = "uv, twine, pdm, maturin, `id`, sigstore"
KNOWN = "uv, twine, pdm, `id`, sigstore"
CLIENTS = {
    "github": GITHUB_LIKE,
    # Its runner says that it is GitHub's.
    "forgejo": GITHUB_LIKE,
    "gitlab": KNOWN,
    "buildkite": KNOWN,
    "circleci": KNOWN,
}
"""Stock clients that find the identity by themselves, by the slug of the provider table."""
_TOLD = "none by itself; [tell it](providers/{slug}.md#the-job)"


class _Desk:
    """A desk that writes down nothing: only the names of what a job finds are wanted."""

    def token(self, audience: str) -> str:
        return ""

    def wanted_audience(self) -> str:
        return AUDIENCE

    def wanted_audiences(self) -> tuple[str, ...]:
        return (AUDIENCE,)

    def issuer_url(self) -> str:
        return ""

    request_url = request_secret = issuer_url
    codefresh_request_url = azure_request_url = vault_url = vault_token = issuer_url


def places() -> Table:
    """The CI systems: what a job finds, and who finds that."""
    return ("`--ci`", "CI system", "what the job finds", "clients that detect it"), map(_place, LAB_PLACES)


def _place(place: Place) -> tuple[str, str, str, str]:
    made = place.kind.equip(_Desk())
    # Instead of the variable for this very audience.
    shown = {audience_variable(AUDIENCE): "`<AUDIENCE>_ID_TOKEN`"}
    things = [shown.get(name, f"`{name}`") for name in made.variables if name != "CI"]
    things += [f"the command `{name}`" for name in made.commands]
    clients = CLIENTS.get(place.provider) or _TOLD.format(slug=place.provider)
    return f"`{place.name}`", place.title, ", ".join(things), clients


def faults(wanted: Callable[[Fault], bool]) -> Table:
    """The faults of one kind."""
    rows = (
        (f"`{fault.name}`", ", ".join(f"`{action}`" for action in _actions(fault)), fault.does, _seconds(fault))
        for fault in FAULTS.values()
        if wanted(fault)
    )
    return ("fault", "at (action)", "what happens", "`seconds`"), rows


def _actions(fault: Fault) -> list[str]:
    return ["every request"] if fault.name.startswith("index-") else sorted(fault.actions)


def _seconds(fault: Fault) -> str:
    if not fault.takes_seconds:
        return ""
    low, high = (-SKEW_SECONDS_MAX, SKEW_SECONDS_MAX) if fault.name == CLOCK_SKEW else (0.0, SECONDS_MAX)
    return f"{fault.seconds_default:g} unless given, {low:g} to {high:g}"


BLOCKS: dict[str, Callable[[], Table]] = {
    "lab-places": places,
    "lab-job-faults": lambda: faults(lambda fault: fault.server == "provider" and not fault.of_documents),
    "lab-issuer-faults": lambda: faults(lambda fault: fault.of_documents),
    "lab-index-faults": lambda: faults(lambda fault: fault.server == "index"),
}
