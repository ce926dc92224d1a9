"""`buildkite-agent oidc request-token`, as a simulated job has it.

Owns its command line. Leaves the token to the lab.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from mintmark.lab.kinds.commands.asking import ask

OPTIONAL_CLAIMS = frozenset(
    {"build_id", "cluster_id", "cluster_name", "organization_id", "pipeline_id", "queue_id", "queue_key"}
)
CLAIMS_VARIABLE = "BUILDKITE_OIDC_TOKEN_CLAIMS"


def main(words: Sequence[str]) -> None:
    """Print a token with the optional claims that are asked for, and no others."""
    if list(words[:2]) != ["oidc", "request-token"]:
        sys.exit("The lab's buildkite-agent knows one command: oidc request-token.")
    parser = argparse.ArgumentParser("buildkite-agent oidc request-token", allow_abbrev=False)
    parser.add_argument("--audience", required=True, help="whom the token is for")
    parser.add_argument("--claim", action="append", help=f"optional claims to add; or set {CLAIMS_VARIABLE}")
    parser.add_argument("--skip-redaction", action="store_true", help="accepted; the lab has no log to hide it from")
    arguments = parser.parse_args(words[2:])
    given = arguments.claim or [os.environ.get(CLAIMS_VARIABLE, "")]
    wanted = {name.strip() for text in given for name in text.split(",")} - {""}
    unknown = sorted(wanted - OPTIONAL_CLAIMS)
    if unknown:
        sys.exit(f"The lab has no claim {unknown[0]!r}; there are {', '.join(sorted(OPTIONAL_CLAIMS))}.")
    sys.stdout.write(ask(arguments.audience, sorted(OPTIONAL_CLAIMS - wanted)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
