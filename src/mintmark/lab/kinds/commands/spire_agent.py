"""`spire-agent api fetch jwt`, as a simulated workload has it.

Owns its command line. Leaves the token to the lab.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from mintmark.lab.kinds.commands.asking import ask


def main(words: Sequence[str]) -> None:
    """Print the workload's JWT-SVID, in one of the agent's two forms."""
    if list(words[:3]) != ["api", "fetch", "jwt"]:
        sys.exit("The lab's spire-agent knows one command: api fetch jwt.")
    parser = argparse.ArgumentParser("spire-agent api fetch jwt", allow_abbrev=False)
    parser.add_argument("-audience", "--audience", required=True, help="whom the token is for")
    parser.add_argument("-output", "--output", choices=["pretty", "json"], default="pretty", help="the form")
    parser.add_argument("-socketPath", "--socketPath", help="accepted; the lab has no socket")
    arguments = parser.parse_args(words[3:])
    token = ask(arguments.audience)
    if arguments.output == "json":
        sys.stdout.write(json.dumps([{"svids": [{"svid": token}]}, {"bundles": {}}]) + "\n")
    else:
        sys.stdout.write(f"token:\n\t{token}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
