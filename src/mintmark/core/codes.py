"""Every public error code: its status, its title, what it means and what helps.

Owns the table from which the wire, the page `/-/errors` and `docs/errors.md` are made. Codes are stable: clients
and people search for them. The first six are PyPI's own names, so that advice found for PyPI fits here as well.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One error code. `status` is the HTTP status; `meaning` and `cure` are sentences for people."""

    name: str
    status: int
    title: str
    meaning: str
    cure: str


_TABLE = (
    # -- the token exchange -------------------------------------------------------------------------------------
    Code(
        "invalid-payload",
        422,
        "The request cannot be read",
        "The body is not the JSON object of the token exchange, the identity token is no JWT, or this registry "
        "does not trust its issuer.",
        'Send {"token": "<identity token>"} to the registry whose operator trusts your CI system.',
    ),
    Code(
        "not-enabled",
        422,
        "Trusted Publishing is not enabled",
        "The registry, or the issuer of the token, has Trusted Publishing switched off.",
        "Ask the operator to enable it, or use an API token.",
    ),
    Code(
        "exchange-disabled",
        403,
        "Trusted Publishing is not enabled here",
        "The registry trusts no issuer, or has Trusted Publishing switched off, so it names no audience.",
        "Ask the operator to add an issuer, or use an API token.",
    ),
    Code(
        "invalid-token",
        422,
        "The identity token is not valid",
        "The signature, the audience, the lifetime or the form of the identity token is wrong. "
        "The server's log says which.",
        "Ask your CI system for a fresh token with exactly the audience that the audience endpoint names.",
    ),
    Code(
        "invalid-pending-publisher",
        422,
        "The pending publisher is out of date",
        "The identity matches a pending publisher, but its project has been created in the meantime.",
        "Register an ordinary publisher for the project.",
    ),
    Code(
        "invalid-reuse-token",
        422,
        "The identity token was used before",
        "Each identity token is exchanged once, so that a leaked one is worth nothing.",
        "Ask for a fresh token. A GitLab job gets one token for each entry of id_tokens: add a second entry "
        "for a second upload, or keep the first upload credential.",
    ),
    Code(
        "invalid-publisher",
        422,
        "No publisher matches this identity",
        "The identity token is genuine, but no project of the registry trusts the identity it describes.",
        "Compare the claims named in the description with the registered publisher.",
    ),
    Code(
        "invalid-features",
        422,
        "The requested features cannot be combined",
        "features must be an array with one of multi-use-token and single-use-token.",
        "Leave features out to get the default, a credential for several files.",
    ),
    Code(
        "ambiguous-registry",
        422,
        "The identity matches several registries",
        "The host-wide exchange found publishers in more than one registry of this host.",
        "Use the exchange of one registry; the description names their URLs.",
    ),
    Code(
        "issuer-unavailable",
        503,
        "The issuer's keys cannot be fetched",
        "The index has no usable key of the issuer and cannot reach it right now.",
        "Try again with the same token; it is not spent. If it lasts, tell the operator.",
    ),
    Code(
        "rate-limited",
        429,
        "Too many requests",
        "A limit for this address or this issuer is reached.",
        "Wait as long as Retry-After says.",
    ),
    # -- credentials --------------------------------------------------------------------------------------------
    Code(
        "credential-required",
        401,
        "A credential is required",
        "The request carries no credential, or an empty one.",
        "Send an upload credential or an API token as the password of the user __token__.",
    ),
    Code(
        "credential-invalid",
        401,
        "The credential is not valid",
        "The credential is unknown, expired, burned or revoked.",
        "Mint a new one, or ask the operator for a new API token.",
    ),
    Code(
        "credential-refused",
        403,
        "The credential is refused",
        "The upload credential is unknown, expired, burned, revoked or no longer backed by a publisher.",
        "Mint a new one in the job that uploads.",
    ),
    Code(
        "not-allowed",
        403,
        "The credential does not allow this",
        "The credential is genuine but does not cover this project, file or action.",
        "Register a publisher for the project, or use a credential that covers it.",
    ),
    # -- uploads ------------------------------------------------------------------------------------------------
    Code(
        "invalid-upload",
        400,
        "The upload form is not valid",
        "A field of the upload form is missing, doubled, too long or malformed.",
        "Upload with a current uv, twine or pdm; the description names the field.",
    ),
    Code(
        "invalid-filename",
        400,
        "The file name is not valid",
        "The name does not follow the standard for wheels or source distributions.",
        "Build the file with a current build backend and do not rename it.",
    ),
    Code(
        "invalid-distribution",
        400,
        "The file is not a valid distribution",
        "The file is damaged, is not the kind of archive its name says, or lacks its metadata.",
        "Build it again and upload the result unchanged.",
    ),
    Code(
        "invalid-metadata",
        400,
        "The metadata is not valid",
        "The metadata inside the file is malformed, or disagrees with the file name or the form.",
        "Correct the project's metadata and build again.",
    ),
    Code(
        "digest-mismatch",
        400,
        "A digest does not match",
        "The file that arrived is not the file whose digest was sent.",
        "Upload again; if it happens twice, look for a proxy that changes bodies.",
    ),
    Code(
        "file-exists",
        400,
        "File already exists",
        "The registry holds a file of this name with other content. Files never change once published.",
        "Publish a new version.",
    ),
    Code(
        "policy-refused",
        400,
        "The registry's policy refuses it",
        "The file is valid, but the registry's operator does not take such files, projects, or so many of them.",
        "The description names the policy; ask the operator, or publish elsewhere.",
    ),
    Code(
        "timeout",
        408,
        "The body did not arrive in time",
        "The request announced a body and then sent nothing for too long.",
        "Send it again; if it happens often, look for a slow connection or proxy.",
    ),
    Code(
        "too-large",
        413,
        "Too large",
        "The body, the file or a field is larger than this registry takes.",
        "Make it smaller, or ask the operator to raise the limit.",
    ),
    Code(
        "length-required",
        411,
        "A Content-Length is required",
        "Uploads must say how long they are.",
        "Send Content-Length instead of a chunked body.",
    ),
    Code(
        "storage-full",
        507,
        "The index is out of space",
        "The file could not be stored; nothing of it was kept.",
        "Try again later; tell the operator.",
    ),
    # -- the wire -----------------------------------------------------------------------------------------------
    Code(
        "invalid-request",
        400,
        "The request is not valid",
        "The request cannot be understood.",
        "The description says what is wrong.",
    ),
    Code(
        "not-found",
        404,
        "Not found",
        "There is nothing here, or nothing that this credential may see.",
        "Check the URL and the credential.",
    ),
    Code(
        "method-not-allowed",
        405,
        "Method not allowed",
        "The route exists, but not with this method.",
        "The Allow header names the methods.",
    ),
    Code(
        "not-acceptable",
        406,
        "Not acceptable",
        "The Accept header excludes every form this route can answer in.",
        "Ask for application/json, or leave Accept out.",
    ),
    Code(
        "misdirected-request",
        421,
        "This server does not answer for that host",
        "The Host header names a host that the operator has not configured.",
        "Use the configured URL of the index.",
    ),
    Code(
        "precondition-failed",
        412,
        "The precondition does not hold",
        "If-Match names a version of the page or file that is not the one there is now.",
        "Ask again without If-Match.",
    ),
    Code(
        "range-not-satisfiable",
        416,
        "Range not satisfiable",
        "The requested range lies outside the file.",
        "Ask for a range within the length that Content-Range names.",
    ),
    Code(
        "unavailable",
        503,
        "Temporarily unavailable",
        "Something this server depends on does not work right now. Nothing was changed.",
        "Repeat the request after the time that Retry-After names.",
    ),
    Code(
        "internal-error",
        500,
        "Internal error",
        "This is a bug in Mintmark.",
        "Tell the operator the incident id of the answer; the log has the details under it.",
    ),
    # -- administration (command line) --------------------------------------------------------------------------
    Code(
        "invalid-trust",
        400,
        "The trust configuration is not valid",
        "A registry, issuer or publisher is described wrongly.",
        "The description names the entry and the cure.",
    ),
    Code(
        "invalid-identity",
        400,
        "The identity token cannot be made",
        "What an identity provider of one's own should sign, or the key it should sign with, is not valid.",
        "The description says what is wrong; docs/idp.md says what such a provider signs.",
    ),
    Code(
        "invalid-change",
        400,
        "The change is not possible",
        "There is no such project, version or file, or a reason, status or name is not valid.",
        "The description says what there is, or how to write it.",
    ),
    Code(
        "invalid-import",
        400,
        "The source of the import cannot be read",
        "The folder, the page of the other index, or the requirements file is not what an import can read.",
        "The description says what is wrong with it; docs/import.md says what a source looks like.",
    ),
    Code(
        "invalid-backup",
        400,
        "The backup cannot be made or restored",
        "The folder is no backup, is used by something else, or the backup is not whole.",
        "The description names the folder and what to change.",
    ),
    Code(
        "lab-issuer",
        400,
        "Lab issuers are refused",
        "The issuer or its CA belongs to Mintmark's lab, which signs whatever it is asked to.",
        "Use it only with mintmark serve --dev.",
    ),
)

CODES: dict[str, Code] = {code.name: code for code in _TABLE}
