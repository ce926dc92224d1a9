"""How a job's command asks the lab for an identity token: the first half of every command's text.

Owns the request, which is GitHub's, for programs with nothing but the standard library. Leaves the command line to the
other half.
"""

import json
import os
import ssl
import sys
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

TIMEOUT_SECONDS = 10
ANSWER_MAX_BYTES = 256 * 1024


def ask(audience: str, omit: Iterable[str] = ()) -> str:
    """A fresh token, without the claims that this job did not ask for. Ends the command when there is none."""
    query = urlencode([("audience", audience), *(("omit", name) for name in omit)])
    try:
        request = json.loads((Path(__file__).parent / "lab-request.json").read_text(encoding="utf-8"))
        headers = {"Authorization": f"Bearer {request['secret']}"}
        context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
        # No proxy, whatever the environment says: the lab is on this machine.
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        with opener.open(Request(f"{request['url']}&{query}", headers=headers), timeout=TIMEOUT_SECONDS) as answer:
            return str(json.loads(answer.read(ANSWER_MAX_BYTES))["value"])
    except HTTPError as error:
        sys.exit(f"The lab gives no token: {_message(error)}")
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        sys.exit(f"The lab gives no token: {error}. Is the lab still running?")


def _message(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read(ANSWER_MAX_BYTES))["message"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"
