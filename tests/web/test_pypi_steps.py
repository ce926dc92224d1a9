"""What PyPI checks of an upload, step by step (24 of them), and what becomes of each here.

A step that differs on purpose is in `docs/deviations.md`; its test shows what happens instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import zipfile
from typing import Any

import pytest

from mintmark.core.policy import Policy
from support import dists
from support.dists import sdist, wheel
from support.wire import Room, answer_of, head, raw, refused
from support.world import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILENAME, DATA = wheel()


async def give(room: Room, file: tuple[str, bytes] = (FILENAME, DATA), **fields: Any) -> Answer:
    return await room.upload(await room.token(), file, fields=fields)


def rebuilt(file: tuple[str, bytes], **changes: bytes | None) -> tuple[str, bytes]:
    """A wheel with members changed (by the end of their name), added, or with None removed; RECORD follows."""
    name, data = file
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    for ending, content in changes.items():
        found = next((each for each in members if each.endswith(ending)), ending)
        if content is None:
            members.pop(found, None)
        else:
            members[found] = content
    record = next((each for each in members if each.endswith("/RECORD")), None)
    if record is not None and "RECORD" not in changes:
        members[record] = dists.record(members, record)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in members.items():
            archive.writestr(zipfile.ZipInfo(each, dists.EPOCH), content)
    return name, buffer.getvalue()


def with_metadata(text: str, name: str = "widget", version: str = "1.0") -> tuple[str, bytes]:
    """A wheel whose METADATA has these lines as well."""
    return rebuilt(wheel(name, version), METADATA=dists.metadata(name, version, extra=text).encode())


def top_level(*members: str) -> tuple[str, bytes]:
    """A source distribution with exactly these (empty) members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(tarfile.TarInfo(member))
    return "widget-1.0.tar.gz", buffer.getvalue()


# -- steps 0 to 6: the form -------------------------------------------------------------------------------------------


async def test_step_00_fields_that_come_twice_or_as_files(room: Room) -> None:
    assert (await give(room, classifiers=["A", "B"])).status == 200
    refused(await give(room, summary=["one", "two"]), "invalid-upload")


async def test_step_02_no_credential_is_401(room: Room) -> None:
    refused(await room.upload(None, (FILENAME, DATA)), "credential-required")


async def test_step_03_protocol_version(room: Room) -> None:
    refused(await give(room, protocol_version="2"), "invalid-upload")
    assert (await give(room, protocol_version=None)).status == 200


FORMS: dict[str, dict[str, Any]] = {
    "name": {"name": "no spaces"},
    "no name": {"name": None},
    "filetype": {"filetype": "bdist_egg"},
    "no filetype": {"filetype": None},
    "pyversion": {"pyversion": "source"},
    "no digest": {"sha256_digest": None},
    "digest of the wrong length": {"sha256_digest": "ab"},
    "action": {":action": "submit"},
}


@pytest.mark.parametrize("fields", FORMS.values(), ids=list(FORMS))
async def test_step_04_the_form(room: Room, fields: dict[str, Any]) -> None:
    answer = await give(room, **fields)
    assert answer.status == 400
    refused(answer, answer.code)


async def test_step_04_an_sdist_without_pyversion_is_fine(room: Room) -> None:
    assert (await give(room, sdist(), pyversion=None)).status == 200


METADATA = {
    "version": "Metadata-Version: 3.0\n",
    "summary of two lines": "Summary: another\n",
    "license twice": "License: MIT\nLicense-Expression: MIT\n",
    "dynamic": "Dynamic: Name\n",
    "requirement": "Requires-Dist: not a requirement!\n",
    "label of a url": f"Project-URL: {'x' * 33}, https://example.com\n",
    "url": "Project-URL: Home, not a url\n",
}


@pytest.mark.parametrize("text", METADATA.values(), ids=list(METADATA))
async def test_step_05_metadata_of_the_file(room: Room, text: str) -> None:
    """PyPI judges the form's; the truth is in the file."""
    refused(await give(room, with_metadata(text)), "invalid-metadata")


WELCOME_HERE = {
    "classifier nobody knows": "Classifier: This :: Is :: Invalid\n",
    "private classifier": "Classifier: Private :: Do Not Upload\n",
    "direct reference": "Requires-Dist: gadget @ https://example.com/gadget-1.0.tar.gz\n",
}


@pytest.mark.parametrize("text", WELCOME_HERE.values(), ids=list(WELCOME_HERE))
async def test_step_05_what_a_private_index_takes(room: Room, text: str) -> None:
    assert (await give(room, with_metadata(text))).status == 200


async def test_step_05_local_versions_are_welcome(room: Room) -> None:
    assert (await give(room, wheel(version="1.0+cu118"))).status == 200


async def test_step_06_no_file(room: Room) -> None:
    body = b'--limit\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--limit--\r\n'
    token = await room.token()
    answer = await room.world.request(
        "POST",
        f"/{room.slug}/legacy/",
        auth=token,
        data=body,
        headers={"Content-Type": "multipart/form-data; boundary=limit"},
    )
    refused(answer, "invalid-upload")


# -- steps 7 to 11: the project ---------------------------------------------------------------------------------------


async def test_step_07_a_publisher_creates_only_the_project_it_is_registered_for(room: Room) -> None:
    await room.publisher("widget")
    refused(await room.upload(await room.credential(), wheel("gadget")), "not-allowed")


@pytest.mark.parametrize("name", ["wIdget", "w1dget", "wi-dget", "widget"])
async def test_step_07_similar_names(room: Room, name: str) -> None:
    assert (await give(room)).status == 200
    normal = name.lower()
    answer = await give(room, wheel(normal, "2.0"), name=name)
    if normal == "widget":
        assert answer.status == 200
    else:
        assert "too similar to the existing project widget" in refused(answer, "policy-refused")


async def test_step_08_no_permission_is_403(room: Room) -> None:
    token = await room.token(projects=("gadget",))
    refused(await room.upload(token, (FILENAME, DATA)), "not-allowed")


async def test_step_10_a_description_that_does_not_render(room: Room) -> None:
    broken = with_metadata("Description-Content-Type: text/x-rst\n\n`unclosed <https://example.com>\n\n.. nope::\n")
    refused(await give(room, broken), "invalid-metadata")
    fine = with_metadata("Description-Content-Type: text/x-rst\n\nA *fine* text.\n")
    assert (await give(room, fine)).status == 200


# -- steps 12 to 19: the file as a whole ------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["a/widget-1.0.tar.gz", "widget-1.0.exe", "widget.txt"])
async def test_step_12_names(room: Room, filename: str) -> None:
    answer = await give(room, (filename, sdist()[1]), name="widget", version="1.0", filetype="sdist")
    assert answer.status == 400
    refused(answer, answer.code)


async def test_step_13_the_content_type_of_the_part_says_nothing(room: Room) -> None:
    """PyPI refuses pictures by it; here the bytes decide."""
    refused(await give(room, (FILENAME, b"\x89PNG\r\n\x1a\n")), "invalid-distribution")


async def test_step_14_sizes(room: Room) -> None:
    await room.change(policy=Policy(file_limit_bytes=100))
    refused(await give(room), "too-large")
    await room.change(policy=Policy(project_limit_bytes=len(DATA) + 10))
    assert (await give(room)).status == 200
    assert "project-limit-bytes" in refused(await give(room, wheel(version="2.0")), "policy-refused")


@pytest.mark.parametrize("field", ["sha256_digest", "blake2_256_digest", "md5_digest"])
async def test_step_15_every_digest_given_must_match(room: Room, field: str) -> None:
    wrong: dict[str, Any] = {field: "0" * (32 if field == "md5_digest" else 64)}
    refused(await give(room, **wrong), "digest-mismatch")


async def test_step_16_again_and_other_bytes(room: Room) -> None:
    assert [(await give(room)).status for _ in range(2)] == [200, 200]
    answer = await give(room, wheel(body=b"x"))
    assert answer.reason.startswith("File already exists")
    refused(answer, "file-exists")


async def test_step_16_the_same_bytes_under_another_name_are_another_file(room: Room) -> None:
    """PyPI refuses them in any project; here nobody learns what another registry holds."""
    assert (await give(room)).status == 200
    answer = await give(room, ("widget-1.0-1-py3-none-any.whl", DATA))
    assert answer.status == 200, answer.body
    assert b"wheel-build" in answer.body


async def test_step_17_a_deleted_name_stays_used(room: Room) -> None:
    assert (await give(room)).status == 200
    room.execute("UPDATE files SET state = 'deleted'")
    refused(await give(room), "file-exists")


async def test_step_18_old_releases_stay_open(room: Room) -> None:
    """PyPI closes a release after 14 days; a private index builds wheels for a new Python years later."""
    assert (await give(room)).status == 200
    room.clock.advance(30 * 86_400)
    assert (await give(room, sdist())).status == 200


async def test_step_19_one_sdist_a_release(room: Room) -> None:
    await room.change(policy=Policy(legacy_names=True))
    assert (await give(room, sdist("my-widget"), name="my-widget")).status == 200
    other = ("my-widget-1.0.tar.gz", sdist("my-widget", body=b"x")[1])
    answer = await give(room, other, name="my-widget", version="1.0")
    assert "has the source distribution my_widget-1.0.tar.gz already" in refused(answer, "invalid-upload")


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_wheel_is_there_once_however_its_name_is_spelled(room: Room, legacy: bool) -> None:
    await room.change(policy=Policy(legacy_names=legacy))
    data = wheel()[1]
    first = ("widget-1.0-1_a-py2.py3-none-any.whl", data)
    assert (await give(room, first, name="widget", version="1.0")).status == 200
    for tags in ("01_a-py2.py3-none-any", "1_a-py3.py2-none-any", "1_a-PY2.py3.py3-none-ANY"):
        for version in ("1.0", "1"):
            other = (f"widget-{version}-{tags}.whl", wheel(body=tags.encode())[1])
            answer = await give(room, other, name="widget", version=version)
            assert "its name spelled differently" in refused(answer, "file-exists")
    another = ("widget-1.0-2_a-py2.py3-none-any.whl", data)
    assert (await give(room, another, name="widget", version="1.0")).status == 200


async def test_of_several_at_once_one_takes_the_last_place(room: Room) -> None:
    await room.change(policy=Policy(releases_limit=1))
    answers = await asyncio.gather(*(give(room, wheel(version=f"{number}.0")) for number in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    names = ("acme-lib", "acme-1ib", "acmelib", "acme-l-i-b")
    answers = await asyncio.gather(*(give(room, wheel(name)) for name in names))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 3


# -- steps 20 to 22: what is inside -----------------------------------------------------------------------------------


ARCHIVES = {
    "zip and tar": (FILENAME, DATA + b"\0" * 512),
    "neither": (FILENAME, b"hello"),
    "two top directories": top_level("widget-1.0/PKG-INFO", "other/file"),
    "no top directory": top_level("PKG-INFO"),
    "no PKG-INFO": top_level("widget-1.0/setup.py"),
    "no WHEEL": rebuilt(wheel(), WHEEL=None),
    "no METADATA": rebuilt(wheel(), METADATA=None),
    "trailing data": (FILENAME, DATA + b"x"),
    "prefix": (FILENAME, b"x" + DATA),
    "zip as tar.gz": ("widget-1.0.tar.gz", DATA),
}


@pytest.mark.parametrize("file", ARCHIVES.values(), ids=list(ARCHIVES))
async def test_step_20_archives(room: Room, file: tuple[str, bytes]) -> None:
    answer = await give(room, file, name="widget", version="1.0")
    refused(answer, "invalid-distribution")
    assert answer.json["findings"][0].keys() == {"check", "code", "detail", "cure"}


async def test_step_21_names_of_sdists(room: Room) -> None:
    for filename in ("Widget-1.0.tar.gz", "widget-1.0.0.tar.gz", "widget-1.0.zip", "gadget-1.0.tar.gz"):
        answer = await give(room, (filename, sdist()[1]), name="widget", version="1.0", filetype="sdist")
        assert answer.status == 400, filename
        refused(answer, answer.code)


@pytest.mark.parametrize("file", [sdist, wheel])
async def test_step_21_and_22_license_files_exist(room: Room, file: Any) -> None:
    extra = "License-File: LICENSE\n"
    if file is wheel:
        answer = await give(room, with_metadata(extra))
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            data = dists.metadata("widget", "1.0", extra=extra).encode()
            member = tarfile.TarInfo("widget-1.0/PKG-INFO")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        answer = await give(room, ("widget-1.0.tar.gz", buffer.getvalue()))
    assert "LICENSE" in refused(answer, "invalid-metadata")


async def test_step_22_platform_tags_are_a_policy(room: Room) -> None:
    file = wheel()[1]
    filename = "widget-1.0-cp311-cp311-linux_x86_64.whl"
    await room.change(policy=Policy(platform_tags="pypi"))
    assert "linux_x86_64" in refused(await give(room, (filename, file)), "invalid-filename")
    await room.change(policy=Policy(platform_tags="any"))
    answer = await give(room, (filename, file))
    assert answer.status == 200
    assert b"linux_x86_64" in answer.body


WHEELS = {
    "RECORD missing": rebuilt(wheel(), RECORD=None),
    "RECORD disagrees": rebuilt(wheel(), RECORD=b"widget/__init__.py,sha256=AAAA,1\n"),
    "entry points": rebuilt(
        wheel(), **{"widget-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = no:t:valid\n"}
    ),
    "entry point that leads out": rebuilt(
        wheel(), **{"widget-1.0.dist-info/entry_points.txt": b"[console_scripts]\n../x = a:b\n"}
    ),
}


@pytest.mark.parametrize("file", WHEELS.values(), ids=list(WHEELS))
async def test_step_22_wheels(room: Room, file: tuple[str, bytes]) -> None:
    answer = await give(room, file)
    assert answer.status == 400, answer.body
    refused(answer, answer.code)


@pytest.mark.parametrize("filename", ["Widget-1.0-py3-none-any.whl", "widget-6.6-py3-none-any.whl"])
async def test_step_22_names_of_wheels(room: Room, filename: str) -> None:
    answer = await give(room, (filename, DATA), name="widget", version="1.0")
    assert answer.status == 400
    refused(answer, answer.code)


# -- steps 23 and 24 --------------------------------------------------------------------------------------------------


async def test_step_23_attestations_are_ignored_until_they_can_be_verified(room: Room) -> None:
    assert (await give(room, attestations="[]")).status == 200


async def test_step_24_stored_served_and_said(room: Room) -> None:
    token = await room.token()
    answer = await room.upload(token, (FILENAME, DATA))
    assert (answer.status, answer.body) == (200, b"")
    digest = hashlib.sha256(DATA).hexdigest()
    got = await room.get(f"/files/{digest[:2]}/{digest}/{FILENAME}", auth=token)
    assert got.body == DATA
    assert len(await room.events("upload")) == 1


async def test_routing_is_never_a_redirect(room: Room) -> None:
    """PyPI redirects /legacy to /legacy/; most uploaders do not repeat a POST."""
    assert (await room.upload(await room.token(), (FILENAME, DATA), path=f"/{room.slug}/legacy")).status == 200
    answer = answer_of(await raw(room.world, head(room.world, "GET", f"/{room.slug}/legacy/")))
    refused(answer, "method-not-allowed")
