"""Which lab is meant: the one that was named, or the only one that runs.

Owns the order in which places are looked at. Leaves the directories to `lab.temporary` and what is in them to
`lab.home`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mintmark.core.errors import Misconfigured
from mintmark.lab.home import DEFAULT_DIRECTORY, Lab, read
from mintmark.lab.remote import Remote
from mintmark.lab.temporary import running

LAB_VARIABLE = "MINTMARK_LAB"
CONFIG_VARIABLE = "MINTMARK_CONFIG"
_START = "Start `mintmark lab up` (or `mintmark serve --dev`) and leave it running."


@dataclass(frozen=True)
class Found:
    """A lab and its directory."""

    directory: Path
    lab: Lab

    @cached_property
    def remote(self) -> Remote:
        """To ask it for things."""
        return Remote(self.lab)

    @property
    def jobs_path(self) -> Path | None:
        """Where folders of jobs go, so that they go with the lab; None where a lab is not temporary."""
        return self.directory if self.lab.proxy else None


def locate(named: str | None, config: str | None, environment: Mapping[str, str], parent: Path | None = None) -> Found:
    """The lab of `--lab`, `MINTMARK_LAB`, the settings file of `serve --dev`, or the only running one.

    Raises `Misconfigured` when there is none, or several. `parent` is where temporary labs are if not as usual.
    """
    for option, directory in (("--lab", named), (LAB_VARIABLE, environment.get(LAB_VARIABLE))):
        if directory:
            found = _at(Path(directory))
            if found is None:
                raise Misconfigured("lab", f"{option} names {directory}, where no lab runs (any more).", _START)
            return found
    settings = config or environment.get(CONFIG_VARIABLE)
    folders = [Path(settings).parent] if settings else [Path(DEFAULT_DIRECTORY), Path()]
    beside = [found for found in map(_at, folders) if found is not None]
    labs = [found for found in map(_at, running(parent)) if found is not None]
    # The folder of `serve --dev` stays when that ends. It must not hide a lab that runs.
    alive = [found for found in beside if settings or not labs or _is_alive(found.lab.process_id)]
    if alive:
        return alive[0]
    if len(labs) > 1:
        names = ", ".join(str(found.directory) for found in labs)
        raise Misconfigured(
            "lab", f"{len(labs)} labs run: {names}.", f"Name one with --lab, or in the variable {LAB_VARIABLE}."
        )
    if not labs:
        raise Misconfigured("lab", "No lab runs.", _START)
    return labs[0]


def _is_alive(process_id: int) -> bool:
    """Whether there may be such a process of ours. 0 is none: a file in a folder must not pass for a running lab."""
    if process_id <= 0:
        return False
    try:
        os.kill(process_id, 0)
    except (OSError, OverflowError):
        return False
    return True


def _at(directory: Path) -> Found | None:
    lab = read(directory)
    return Found(directory.resolve(), lab) if lab is not None else None
