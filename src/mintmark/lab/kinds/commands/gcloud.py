"""`gcloud auth print-identity-token`, as a simulated job has it.

Owns its command line. Leaves the token to the lab.
"""

import argparse
import sys
from collections.abc import Sequence

from mintmark.lab.kinds.commands.asking import ask


def main(words: Sequence[str]) -> None:
    """Print a token of the machine's service account."""
    if list(words[:2]) != ["auth", "print-identity-token"]:
        sys.exit("The lab's gcloud knows one command: auth print-identity-token.")
    parser = argparse.ArgumentParser("gcloud auth print-identity-token", allow_abbrev=False)
    parser.add_argument("--audiences", required=True, help="whom the token is for")
    parser.add_argument(
        "--token-format", choices=["standard", "full"], default="standard", help="full: with the address"
    )
    arguments = parser.parse_args(words[2:])
    # The metadata server names the address and the machine in the full format only.
    omitted = () if arguments.token_format == "full" else ("email", "email_verified", "google")
    sys.stdout.write(ask(arguments.audiences, omitted) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
