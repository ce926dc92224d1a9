"""One distribution, or more, for everything a check can find; each is right but for that."""

from __future__ import annotations

from collections.abc import Mapping

from mintmark.core.checks import description
from mintmark.core.checks.digests import Digests, find_mismatches
from mintmark.core.checks.examine import Examined, examine
from mintmark.core.checks.finding import Finding
from mintmark.core.dist.facts import Archive, Member
from mintmark.core.policy import Policy
from support.facts import INFO, METADATA, TOP, WHEEL, archive, file, hardlink, sdist, symlink, wheel

OLD_METADATA = METADATA.replace("2.4", "2.1")
FORM = {"name": "widget", "version": "1.0", "filetype": "bdist_wheel", "pyversion": "py3"}


def field(*lines: str, base: str = METADATA) -> Archive:
    """A wheel with more fields in its metadata."""
    return wheel(base + "".join(line + "\n" for line in lines))


def without(name: str, base: str = METADATA) -> str:
    """Metadata that lacks a field."""
    return "".join(line + "\n" for line in base.splitlines() if not line.startswith(name + ":"))


def with_record(text: str | bytes, *extra: Member) -> Archive:
    """A wheel with a RECORD of its own."""
    return wheel(extra=extra, texts={"RECORD": text})


def right_record(*extra: Member) -> str:
    """The RECORD that the same wheel ought to have."""
    return wheel(extra=extra).texts[f"{INFO}/RECORD"].decode()


def entry_points(text: str | bytes) -> Archive:
    """A wheel with entry points."""
    return wheel(texts={"entry_points.txt": text})


def under(name: str) -> Member:
    """A file in the top directory of the source distribution."""
    return file(f"{TOP}/{name}")


_LAYOUT = {
    "layout-dist-info": [
        wheel(info="other-1.0.dist-info"),
        wheel(info="widget-1.1.dist-info"),
        wheel(extra=[file("other-1.0.dist-info/METADATA")]),
        # Installed, it would replace or stand beside the one that was checked.
        wheel(extra=[file(f"widget-1.0.data/purelib/{INFO}/METADATA")]),
        wheel(extra=[file("widget-1.0.data/platlib/other-1.0.Dist-Info/METADATA")]),
        archive("widget-1.0-py3-none-any.whl", [file("widget.py")], {}),
        archive("widget-1.0-py3-none-any.whl", [], {}),
    ],
    "layout-lacks": [wheel(texts={"WHEEL": None}), wheel(texts={"METADATA": None})],
    "layout-lacks-record": [wheel(texts={"RECORD": None})],
    "layout-lacks-pkg-info": [sdist(None), sdist(None, extra=[symlink(f"{TOP}/PKG-INFO", "setup.py")])],
    "layout-doubled": [wheel(extra=[file(f"{INFO}/WHEEL")]), sdist(extra=[under("PKG-INFO")])],
    "layout-case": [
        wheel(extra=[file(f"{INFO}/metadata")]),
        wheel(extra=[file(f"{INFO}/Record")]),
        wheel(extra=[file("widget-1.0.DIST-INFO/x")]),
        # Windows leaves out dots and spaces at the end, and what follows a colon is a stream of the same file.
        wheel(extra=[file(f"{INFO}/METADATA.")]),
        wheel(extra=[file(f"{INFO}/METADATA::$DATA")]),
        wheel(extra=[file(f"{INFO} ./METADATA")]),
        sdist(extra=[under("pkg-info")]),
        sdist(extra=[under("PKG-INFO. .")]),
    ],
    "layout-data": [wheel(extra=[file("other-1.0.data/purelib/x.py")])],
    "layout-data-scheme": [wheel(extra=[file("widget-1.0.data/etc/x")])],
    "layout-top": [
        sdist(top="other-1.0"),
        sdist(extra=[file("elsewhere")]),
        archive("widget-1.0.tar.gz", [], {}),
    ],
    "layout-top-spelling": [sdist(top="Widget-1.0.0")],
}
_NAMES = {
    "name-outside": [
        sdist(extra=[under("../../etc/passwd")]),
        wheel(extra=[file("/etc/passwd")]),
        wheel(extra=[file("C:/x")]),
        wheel(extra=[file("c:x")]),
        wheel(extra=[file("a\\..\\b")]),
        wheel(extra=[file("\\x")]),
        wheel(extra=[file("")]),
        # Where installers leave out the directories in front.
        sdist(extra=[under("c:x")]),
        wheel(extra=[file("widget-1.0.data/scripts/c:/x")]),
    ],
    "name-control": [wheel(extra=[file("a\nb")]), sdist(extra=[under("a\0b")]), wheel(extra=[file("a\x85")])],
    "name-undecodable": [sdist(extra=[under("a\udcff")])],
    "name-too-long": [
        wheel(extra=[file("a" * 256)]),
        wheel(extra=[file("é" * 128)]),
        sdist(extra=[under("a/" * 2100)]),
    ],
    "name-unusual": [wheel(extra=[file("a//b")]), sdist(extra=[under("./b")]), wheel(extra=[file("a\\b")])],
    "name-file-and-directory": [
        wheel(extra=[file("widget")]),
        wheel(extra=[file("a/b/c"), file("a-b"), file("a/b")]),
        sdist(extra=[Member(f"{TOP}/setup.py", "directory", 0)]),
    ],
    "name-same-ignoring-case": [
        wheel(extra=[file("widget/__INIT__.py")]),
        sdist(extra=[under("e\u0301"), under("\u00c9")]),
    ],
    "name-windows": [
        wheel(extra=[file(f"widget/{name}")]) for name in ("aux.py", "CON", "a.", "a ", "a:b", "a?", "com1/x")
    ],
}
_LINKS = {
    "link-in-wheel": [
        wheel(extra=[symlink("widget/x", "__init__.py")]),
        wheel(extra=[hardlink("widget/x", "widget/y")]),
    ],
    "link-special": [sdist(extra=[Member(f"{TOP}/x", "other", 0)]), wheel(extra=[Member("x", "other", 0)])],
    "link-outside": [
        sdist(extra=[symlink(f"{TOP}/x", "/etc/passwd")]),
        sdist(extra=[symlink(f"{TOP}/x", "../x")]),
        sdist(extra=[symlink(f"{TOP}/x", "a/../../../x")]),
        sdist(extra=[symlink(f"{TOP}/x", "..\\..\\x")]),
        sdist(extra=[symlink(f"{TOP}/x", "c:\\x")]),
        sdist(extra=[symlink(f"{TOP}/x", "")]),
        sdist(extra=[symlink(f"{TOP}/x", "a" * 5000)]),
        sdist(extra=[hardlink(f"{TOP}/x", "setup.py")]),
        sdist(extra=[hardlink(f"{TOP}/x", f"{TOP}/../other/x")]),
        # Through other links, after which the way up ends elsewhere than the text says.
        sdist(extra=[symlink(f"{TOP}/a/b/up", ".."), symlink(f"{TOP}/x", "a/b/up/../../x")]),
        sdist(extra=[symlink(f"{TOP}/l", "."), symlink(f"{TOP}/x", "l/l/../x")]),
        # Where case counts, L is a directory; where it does not, it is the link.
        sdist(extra=[symlink(f"{TOP}/l", "a/b/c"), under("L/f"), symlink(f"{TOP}/x", "L/../../x")]),
        sdist(extra=[symlink(f"{TOP}/l", "."), under("a/L/f"), symlink(f"{TOP}/x", "L/../x")]),
        sdist(extra=[hardlink(f"{TOP}/x", f"{TOP}/l/../x"), symlink(f"{TOP}/l", ".")]),
        # A hard link to a symbolic link is that link in another place, from where it leads elsewhere.
        sdist(extra=[symlink(f"{TOP}/a/b/up", "../../setup.py"), hardlink(f"{TOP}/x", f"{TOP}/a/b/up")]),
        sdist(extra=[symlink(f"{TOP}/a/b/up", "../.."), hardlink(f"{TOP}/x", f"{TOP}/A/b/UP")]),
    ],
    "link-traversed": [
        sdist(extra=[symlink(f"{TOP}/d", "e"), under("d/x")]),
        sdist(extra=[under("d/x"), symlink(f"{TOP}/d", "e")]),
        sdist(extra=[symlink(f"{TOP}/D", "e"), under("d/x")]),
        sdist(extra=[symlink(f"{TOP}/d", "e"), under("./d")]),
        sdist(extra=[symlink(f"{TOP}/d", "e"), under("d")]),
    ],
    "link-loop": [
        sdist(extra=[symlink(f"{TOP}/a", "b"), symlink(f"{TOP}/b", "a")]),
        sdist(extra=[symlink(f"{TOP}/a", "a")]),
    ],
    "link-too-many": [
        sdist(extra=[symlink(f"{TOP}/{number}", "a/" * 2000 + "b") for number in range(600)]),
        sdist(extra=[symlink(f"{TOP}/{number}" + "/a" * 2000, "b") for number in range(600)]),
    ],
    "link-ambiguous": [
        sdist(extra=[symlink(f"{TOP}/a", "b"), symlink(f"{TOP}/A", "c")]),
        sdist(extra=[symlink(f"{TOP}/a", "b"), symlink(f"{TOP}/a", "c")]),
    ],
}
_WHEEL = {
    "wheel-version": [
        wheel(texts={"WHEEL": WHEEL.replace("1.0", "2.0")}),
        wheel(texts={"WHEEL": WHEEL.replace("1.0", "")}),
        wheel(texts={"WHEEL": b"\xff"}),
        wheel(texts={"WHEEL": ""}),
    ],
    "wheel-tags": [
        wheel(texts={"WHEEL": WHEEL.replace("py3", "py2")}),
        wheel(texts={"WHEEL": WHEEL + "Tag: py2-none-any\n"}),
        wheel(texts={"WHEEL": WHEEL.replace("py3-none-any", "py3")}),
        wheel(texts={"WHEEL": WHEEL.replace("py3-none-any", ".".join("abcdefghijklmnopqrstuvwxyz" * 30))}),
    ],
    "wheel-build": [
        wheel(texts={"WHEEL": WHEEL + "Build: 1\n"}),
        wheel(filename="widget-1.0-1-py3-none-any.whl"),
    ],
    "platform-unlisted": [
        wheel(filename="widget-1.0-py3-none-linux_x86_64.whl", texts={"WHEEL": WHEEL.replace("any", "linux_x86_64")})
    ],
    "project-standard-library": [
        archive("asyncio-1.0.tar.gz", [file("asyncio-1.0/PKG-INFO")], {}),
    ],
}
_RIGHT = right_record()
_MORE = file("widget/more.py")
_RECORD = {
    "record-unreadable": [
        with_record(b"\xff"),
        with_record('"a"b,,\n'),
        with_record('"a\n'),
        with_record("a,b,c,d\n"),
        with_record("a" * 20_000),
        with_record("\n".join(f"{number},," for number in range(200_010))),
    ],
    "record-unlisted": [with_record(_RIGHT, _MORE), with_record("")],
    "record-absent": [with_record(_RIGHT + "widget/more.py,,\n"), with_record(_RIGHT + "widget/__init__.py/,,\n")],
    "record-doubled": [with_record(_RIGHT + _RIGHT)],
    "record-hash": [
        with_record(_RIGHT + f"widget/more.py,{digest},1\n", _MORE) for digest in ("sha256=x", "sha256=", "sha256=é")
    ],
    "record-size": [with_record(_RIGHT.replace(",1\n", f",{size}\n")) for size in ("2", "01", "x", "-1")],
    "record-weak": [
        with_record(_RIGHT + f"widget/more.py,{digest},1\n", _MORE) for digest in ("", "md5=x", "sha1=x", "x")
    ],
    "record-unverified": [with_record(_RIGHT + "widget/more.py,sha512=x,1\n", _MORE)],
}
_METADATA = {
    "metadata-name": [
        wheel(without("Name")),
        wheel(METADATA.replace("widget", "-")),
        wheel(METADATA.replace("widget", "UNKNOWN")),
        field("Name: widget"),
        wheel(METADATA.encode() + b"Name: \xff\n"),
        wheel(b""),
    ],
    "metadata-version": [wheel(without("Version")), wheel(METADATA.replace("1.0", "one")), field("Version: 1.0")],
    "metadata-local-version": [
        wheel(
            METADATA.replace("1.0", "1.0+cu118"),
            filename="widget-1.0+cu118-py3-none-any.whl",
            info="widget-1.0+cu118.dist-info",
        )
    ],
    "metadata-format": [wheel(METADATA.replace("2.4", "2.0")), wheel(without("Metadata-Version"))],
    "metadata-requires-python": [
        field(f"Requires-Python: {text}", base=without("Requires-Python")) for text in ("3", "===é", "===" + "1" * 2000)
    ],
    "metadata-doubled": [field("Summary: more"), field("Requires-Python: >=3"), field("Keywords: a", "Keywords: a")],
    "metadata-encoding": [
        wheel(METADATA.encode() + b"Author: \xff\n"),
        wheel(METADATA.encode() + b"Requires-Dist: \xff\n"),
    ],
    "metadata-torn": [field("License: a", "b", "Requires-Dist: c")],
    "metadata-newer-field": [field("License-Expression: MIT", base=OLD_METADATA), field("Import-Name: a")],
    "metadata-crowded": [
        field(*["Classifier: a"] * 5_001),
        field(*(f"Requires-Dist: a{number}" + ">=1," * 400 for number in range(200))),
    ],
    "metadata-disagrees": [wheel(METADATA.replace("widget", "other")), wheel(METADATA.replace("1.0", "2.0"))],
    "metadata-summary": [
        field("Summary: " + "s" * 513, base=without("Summary")),
        field("Summary: a", "  b", base=without("Summary")),
        field("Summary: a\u2028b", base=without("Summary")),
    ],
    "metadata-email": [field("Author-Email: nobody"), field("Maintainer-Email: <@>, a@")],
    "metadata-url": [
        field("Home-page: example.com"),
        field("Download-URL: javascript:alert(1)"),
        field("Project-URL: https://example.com/"),
        field("Project-URL: , https://example.com/"),
        field("Project-URL: a, ftp://example.com/"),
        field("Project-URL: a, https://[x"),
        field("Project-URL: a, https://"),
        field("Project-URL: a, https://example.com/ x"),
        field("Project-URL: a, https://example.com/" + "x" * 3000),
        field("Project-URL: " + "a" * 33 + ", https://example.com/"),
        field("Project-URL: a, https://example.com/", "Project-URL: a, https://example.com/"),
    ],
    "metadata-license": [
        field(f"License-Expression: {text}") for text in ("Unknown", "MIT AND", "(" * 300 + "MIT", "MIT OR " * 200, ")")
    ],
    "metadata-license-twice": [field("License-Expression: MIT", "License: MIT")],
    "metadata-dynamic": [field("Dynamic: Version"), field("Dynamic: Something")],
    "metadata-extra": [field("Provides-Extra: -a"), field("Provides-Extra: a b")],
    "metadata-import-name": [
        field(f"{name}: {text}", base=METADATA.replace("2.4", "2.5"))
        for name in ("Import-Name", "Import-Namespace")
        for text in ("a-b", "a.1", "class", "a; public", "a" * 2000)
    ],
    "requires-dist": [
        field(f"Requires-Dist: {text}")
        for text in ("a (>=1.0.*)", "-", "a b", "a;" + "(" * 1500, "a" * 3000, "a; python_version", "a[")
    ],
    "requires-dist-direct": [field("Requires-Dist: a @ https://example.com/a-1.0.tar.gz")],
    "description-type": [
        field(f"Description-Content-Type: {text}")
        for text in (
            "text/html",
            "text",
            "text/plain; charset=latin-1",
            "text/markdown; variant=x",
            "text/plain; x*",
            "a" * 300,
        )
    ],
    "description-encoding": [wheel(METADATA.encode() + b"\n\xff\n")],
    "license-file-path": [field(f"License-File: {text}") for text in ("/a", "../a", "a/*", "a\\b", "a//b", "./a")],
    "license-file-missing": [field("License-File: LICENSE"), sdist(METADATA + "License-File: LICENSE\n")],
    "license-file-old": [
        field("License-File: LICENSE", base=OLD_METADATA),
        field("License-File: ../x", base=OLD_METADATA),
    ],
}
_ENTRY_POINTS = {
    "entry-points": [
        entry_points(text)
        for text in (b"\xff", "a = b:c\n", "[a]\nb\n", "[a]\n= b\n", "[]\na = b:c\n", "[a]\n" + "b" * 3000)
    ],
    "entry-points-script": [
        entry_points(f"[{group}]\n{name} = a:b\n")
        for group in ("console_scripts", "gui_scripts")
        for name in ("../x", "a/b", "a\\b", "..", "a\x1bb", "c:x", "; ../x")
    ]
    # As `importlib.metadata` and setuptools read it, these are the group.
    + [entry_points(f"[{group}]\n../x = a:b\n") for group in ("[console_scripts]", " gui_scripts ", "[[ gui_scripts")],
    "entry-points-reference": [
        *(
            entry_points(f"[group]\na = {text}\n")
            for text in ("", "a b", "a:b c", "1a", "a:1", "a..b", "a:", "a [b", "a:b:c")
        ),
        entry_points("[console_scripts]\na = b\n"),
    ],
    "entry-points-doubled": [entry_points("[a]\nb = c:d\n[a]\nb = c:e\n")],
    "entry-points-group": [entry_points("[a b]\n"), entry_points("[a]\n[b = c:d\n"), entry_points("[a.]\n")],
}
ARCHIVES: Mapping[str, list[Archive]] = {
    **_LAYOUT,
    **_NAMES,
    **_LINKS,
    **_WHEEL,
    **_RECORD,
    **_METADATA,
    **_ENTRY_POINTS,
}
"""By the name of the finding."""
FORMS: Mapping[str, list[dict[str, str]]] = {
    "form-field": [{}, {**FORM, "version": "one"}, {**FORM, "filetype": "sdist"}, {**FORM, "pyversion": "source"}],
    "form-disagrees": [{**FORM, "name": "other"}, {**FORM, "version": "2"}],
}
_DIGESTS = Digests("0" * 64, "1" * 64, None, 1)


def examined() -> list[tuple[str, Examined]]:
    """Every case, examined."""
    pypi = Policy(platform_tags="pypi")
    cases = [(name, examine(facts, Policy())) for name, some in ARCHIVES.items() for facts in some]
    cases += [(name, examine(wheel(), Policy(), form)) for name, some in FORMS.items() for form in some]
    cases += [("platform-refused", examine(facts, pypi)) for facts in ARCHIVES["platform-unlisted"]]
    return cases


def others() -> list[tuple[str, list[Finding]]]:
    """Findings of what is not examined with the archive."""
    return [
        ("description-not-rendered", list(description.judged(False))),
        ("description-not-judged", list(description.judged(None))),
        ("digest-missing", list(find_mismatches({}, _DIGESTS))),
        ("digest-malformed", list(find_mismatches({"sha256_digest": "x"}, _DIGESTS))),
        ("digest-mismatch", list(find_mismatches({"sha256_digest": "1" * 64}, _DIGESTS))),
    ]
