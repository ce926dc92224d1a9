"""Which platforms a wheel may be for, by the registry's policy.

Owns PyPI's list of platform tags and the two policies. Leaves the grammar of tags to `dist.filename`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mintmark.core.checks.finding import Finding, Grade, shown
from mintmark.core.checks.rule import Rule
from mintmark.core.checks.subject import Subject

_MEANING = (
    "The platform is one that PyPI lists: wheels for others, such as linux_x86_64, fit only machines like the one "
    "that built them."
)
_CURE = "Repair the wheel with auditwheel or delocate, or build it for a manylinux, musllinux or macosx platform."

UNLISTED = Rule("platform-unlisted", Grade.WARN, "invalid-filename", _MEANING + " With platform-tags = any.", _CURE)
REFUSED = Rule("platform-refused", Grade.STRICT, "invalid-filename", _MEANING + " With platform-tags = pypi.", _CURE)
FINDINGS = (UNLISTED, REFUSED)

_ARCHES = "x86_64|i686|aarch64|armv7l|ppc64le|s390x|riscv64"
_LISTED = re.compile(
    r"(?:any|win32|win_(?:amd64|arm64|ia64)"
    r"|manylinux(?:1|2010)_(?:x86_64|i686)"
    r"|manylinux2014_(?:x86_64|i686|aarch64|armv7l|ppc64|ppc64le|s390x)"
    rf"|manylinux_[0-9]+_[0-9]+_(?:{_ARCHES}|ppc64)"
    rf"|musllinux_[0-9]+_[0-9]+_(?:{_ARCHES})"
    r"|linux_armv[67]l"
    r"|macosx_(?:10_[0-9]+|(?:1[1-5]|26)_0)"
    r"_(?:arm64|x86_64|i386|ppc|ppc64|intel|fat|fat3|fat32|fat64|universal|universal2)"
    r"|ios_[0-9]+_[0-9]+_(?:arm64_iphoneos|arm64_iphonesimulator|x86_64_iphonesimulator)"
    r"|android_[0-9]+_(?:armeabi_v7a|arm64_v8a|x86|x86_64)"
    r"|pyemscripten_[0-9]+_[0-9]+_wasm32)\Z"
)


def check(subject: Subject) -> Iterator[Finding]:
    """Each platform once."""
    rule = REFUSED if subject.policy.platform_tags == "pypi" else UNLISTED
    for platform in dict.fromkeys(tag.rpartition("-")[2] for tag in subject.filename.tags):
        if not _LISTED.match(platform):
            yield rule.found(f"The wheel is for the platform {shown(platform)}, which PyPI does not list.")
