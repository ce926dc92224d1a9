"""Lookup keys of a token with very many claims are the same in every process."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from mintmark.core.providers.generic import GENERIC
claims = {f"a{number:03}": "y" for number in range(260)} | {"sub": "team/widget"}
keys = GENERIC.lookups_of_claims(claims)
print("sub=team/widget" in keys, hash(()) and sorted(keys)[-2:])
"""


def test_whoever_has_many_claims_is_found_by_the_subject_everywhere() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(1, 5)
    }
    assert len(told) == 1
    assert told.pop().startswith("True")
