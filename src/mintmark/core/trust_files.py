"""The files that a trust entry names: certificates and static key sets.

Owns what makes their content acceptable. Leaves reading them to the command line and the entries to `core.trust`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from mintmark.core import jwks

FILE_MAX_CHARACTERS = 256 * 1024
# The subject organization of the lab's CA, which marks everything it signs.
LAB_ORGANIZATION = "Mintmark lab"

Load = Callable[[str], str]
"""Reads a file that an entry names."""

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]*CERTIFICATE)-----([^-]*)-----END \1-----")


def read(load: Load, name: str) -> tuple[str, str]:
    """A file's text, and what is wrong with reading it or ""."""
    try:
        text = load(name)
    except OSError as error:
        return "", f"cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        return "", "cannot be read: it is no UTF-8 text"
    return text, "is too large" if len(text) > FILE_MAX_CHARACTERS else ""


def problem_of_certificates(pem: str) -> str:
    """What is wrong with a bundle of CA certificates, or ""."""
    blocks = _PEM.findall(pem)
    # What is no block would be trusted, or not, depending on who reads it.
    if not blocks or len(blocks) != pem.count("-----BEGIN "):
        return "holds something else than PEM certificates" if blocks else "holds no PEM certificate"
    for _, body in blocks:
        try:
            certificate = base64.b64decode("".join(body.split()), validate=True)
        except ValueError:
            return "holds a damaged PEM certificate"
        if not certificate.startswith(b"\x30"):
            return "holds a damaged PEM certificate"
    return ""


def is_of_the_lab(pem: str) -> bool:
    """Whether any certificate of a sound bundle belongs to the lab, which signs whatever it is asked to."""
    mark = LAB_ORGANIZATION.encode("ascii")
    return any(mark in base64.b64decode("".join(body.split())) for _, body in _PEM.findall(pem))


def problem_of_key_set(document: str) -> str:
    """What is wrong with a static key set, or ""."""
    try:
        keys = jwks.parse_key_set(document.encode("utf-8", "surrogatepass"))
    except jwks.BadKeySet as error:
        return f"is no key set: {error}"
    return "" if keys.keys else f"holds no usable key: {'; '.join(keys.skipped) or 'it is empty'}"
