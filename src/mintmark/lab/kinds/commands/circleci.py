"""`circleci run oidc get`, as a simulated job has it.

Owns its command line. Leaves the token to the lab.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from mintmark.lab.kinds.commands.asking import ask


def main(words: Sequence[str]) -> None:
    """Print a token for the audience in --claims."""
    if list(words[:3]) != ["run", "oidc", "get"]:
        sys.exit("The lab's circleci knows one command: run oidc get.")
    parser = argparse.ArgumentParser("circleci run oidc get", allow_abbrev=False)
    parser.add_argument("--claims", required=True, help='{"aud": "AUDIENCE"}')
    parser.add_argument("--root-issuer", action="store_true", help="of the issuer that all organizations share")
    arguments = parser.parse_args(words[3:])
    if not arguments.root_issuer:
        sys.exit("The lab plays the issuer that all organizations share: add --root-issuer.")
    try:
        claims = json.loads(arguments.claims)
    except ValueError:
        claims = None
    if not isinstance(claims, dict) or claims.keys() != {"aud"} or not isinstance(claims["aud"], str):
        sys.exit("""--claims must be {"aud": "AUDIENCE"}: no other claim can be chosen.""")
    sys.stdout.write(ask(claims["aud"]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
