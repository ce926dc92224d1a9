"""The description says what it is written in, and is that.

Owns Description-Content-Type and the findings about rendering. Leaves rendering to `service.descriptions`, since it
takes long and is done outside of the server's process.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.errors import MessageError
from functools import lru_cache

from packaging.metadata import Metadata

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject
from mintmark.core.dist.full_metadata import Fields

CONTENT_TYPE_MAX_CHARACTERS = 200

_CODE = "invalid-metadata"

TYPE = Rule(
    "description-type",
    Grade.STRICT,
    _CODE,
    "Description-Content-Type is text/plain, text/x-rst or text/markdown in UTF-8, Markdown as GFM or CommonMark.",
    "Correct the content type of the project's description, for instance to text/markdown.",
)
ENCODING = Rule(
    "description-encoding",
    Grade.STRICT,
    _CODE,
    "The description is UTF-8.",
    "Save the project's description as UTF-8.",
)
NOT_RENDERED = Rule(
    "description-not-rendered",
    Grade.STRICT,
    _CODE,
    "A description that is declared as reStructuredText can be shown as such.",
    "Look for the mistake with: twine check dist/*",
)
NOT_JUDGED = Rule(
    "description-not-judged",
    Grade.WARN,
    _CODE,
    "The description could be rendered within bounds, or it is not known whether it can be shown.",
    "Shorten or simplify the description.",
)
FINDINGS = (TYPE, ENCODING, NOT_RENDERED, NOT_JUDGED)

_INVALID = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, MessageError)


def check(subject: Subject) -> Iterator[Finding]:
    """What can be said without rendering."""
    fields = subject.fields
    if fields is None:
        return
    content_type = fields.one("description-content-type")
    if content_type is not None and not _is_valid_type(content_type):
        yield TYPE.found(f"The metadata field Description-Content-Type is not one: {shown(content_type)}.")
    try:
        fields.body.decode("utf-8")
    except UnicodeDecodeError:
        yield ENCODING.found("The description is not UTF-8.")


def to_render(fields: Fields | None) -> str | None:
    """The description where it is declared as reStructuredText; None when there is nothing to render.

    One that declares nothing is taken as plain text.
    """
    content_type = (fields.one("description-content-type") or "") if fields else ""
    if fields is None or content_type.partition(";")[0].strip().lower() != "text/x-rst":
        return None
    text = fields.description()
    return text if text and text.strip() else None


def judged(rendered: bool | None) -> tuple[Finding, ...]:
    """What follows from the verdict on a text of `to_render`; None is that there was none in time."""
    if rendered is None:
        return (NOT_JUDGED.found("The description was not rendered, since that takes too long or too much memory."),)
    return () if rendered else (NOT_RENDERED.found("The description is not valid reStructuredText."),)


def _is_valid_type(text: str) -> bool:
    return len(text) <= CONTENT_TYPE_MAX_CHARACTERS and _ask_packaging(text)


@lru_cache(maxsize=100)
def _ask_packaging(text: str) -> bool:
    try:
        return Metadata.from_raw({"description_content_type": text}, validate=False).description_content_type == text
    except _INVALID:
        return False
