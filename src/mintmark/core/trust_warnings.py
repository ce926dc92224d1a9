"""Sentences about trust that is allowed but weaker than it looks.

Owns what deserves one. Leaves showing them to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mintmark.core.providers import BY_SLUG
from mintmark.core.records import Constraints, Issuer
from mintmark.core.trust import WantedPublisher

_FREE = Constraints()


def warnings_for(wanted: Sequence[WantedPublisher], issuers: Mapping[str, Issuer]) -> list[str]:
    """A sentence for every publisher without an immutable id, or that a wider one of its project makes meaningless."""
    siblings: dict[tuple[str, str], list[WantedPublisher]] = {}
    for each in wanted:
        siblings.setdefault((each.issuer, each.publisher.project), []).append(each)
    found = []
    for each in wanted:
        provider = BY_SLUG[issuers[each.issuer].provider]
        ids = [field.name for field in provider.fields if field.immutable_id]
        label = f"{each.publisher.project} from {each.lookup}"
        if ids and not any(each.publisher.config.get(name) for name in ids):
            found.append(f"{label}: no immutable id is given ({' or '.join(ids)}); a re-registered name would match.")
        if any(covers(other, each) for other in siblings[each.issuer, each.publisher.project]):
            found.append(f"{label}: another publisher of the project asks for less, so its demands mean nothing.")
    return found


def covers(wide: WantedPublisher, narrow: WantedPublisher) -> bool:
    """Whether whoever satisfies `narrow` also satisfies `wide`, and not the other way round."""
    if (wide.issuer, wide.publisher.project) != (narrow.issuer, narrow.publisher.project):
        return False
    demands = [(dict(p.publisher.config), p.publisher.constraints) for p in (wide, narrow)]
    (config, constraints), (narrow_config, narrow_constraints) = demands
    if demands[0] == demands[1] or not config.items() <= narrow_config.items():
        return False
    return all(
        getattr(constraints, name) in (getattr(narrow_constraints, name), getattr(_FREE, name))
        for name in ("ref", "protected_ref", "tag", "allow")
    )
