"""Commands that simulated jobs have on their PATH.

Owns handing them over: each module here but this one is the whole text of a command, since the Python that runs it
knows nothing of this package. Leaves which job has which to its kind.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from mintmark.lab.kinds.model import Desk

REQUEST_FILE = "lab-request.json"
_ASKING = "asking"


@cache
def script(name: str) -> str:
    """The text of a command: what asks the lab for a token, and after it what reads the command line."""
    folder = Path(__file__).parent
    asking, own = ((folder / f"{each}.py").read_text(encoding="utf-8") for each in (_ASKING, name))
    return asking + own.replace(f"from mintmark.lab.kinds.commands.{_ASKING} import ask\n", "")


def request_of(desk: Desk) -> str:
    """The content of `REQUEST_FILE`: how this job asks for its tokens. A secret of the job."""
    return json.dumps({"url": desk.request_url(), "secret": desk.request_secret()})
