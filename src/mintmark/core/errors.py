"""The three ways to say no, and nothing else.

Owns the exception types that every room raises. Leaves the public codes to `core.codes`, their HTTP form to
`web.problems` and their exit status to `cli.main`.
"""

from __future__ import annotations

from mintmark.core.codes import CODES, Code


class Rejected(Exception):
    """The caller must change something.

    `detail` and `hint` are shown to the caller; `private` goes to the log only.
    Invariant: neither `detail`, `hint` nor `private` ever holds a token or a credential.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        hint: str = "",
        private: str = "",
        retry_after_seconds: int | None = None,
        members: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: Code = CODES[code]
        self.detail = detail
        self.hint = hint
        self.private = private
        self.retry_after_seconds = retry_after_seconds
        # Further members of the problem document (RFC 9457, section 3.2), for machines.
        self.members = members or {}

    @property
    def sentence(self) -> str:
        """What happened and what to do, in one line."""
        if not self.hint:
            return self.detail
        return f"{self.detail}{'' if self.detail.endswith(('.', '!', '?')) else '.'} {self.hint}"


class Unavailable(Exception):
    """A dependency failed; the same request may succeed later. `what` is public, `private` is for the log."""

    def __init__(
        self, what: str, *, private: str = "", code: str = "unavailable", retry_after_seconds: int = 5
    ) -> None:
        super().__init__(what)
        self.what = what
        self.private = private
        self.code: Code = CODES[code]
        self.retry_after_seconds = retry_after_seconds


class Misconfigured(Exception):
    """The operator erred. Raised only while starting or on the command line, never while serving."""

    def __init__(self, setting: str, problem: str, cure: str) -> None:
        super().__init__(f"{setting}: {problem} {cure}")
        self.setting = setting
        self.problem = problem
        self.cure = cure
