"""The folder of an identity provider of one's own: `idp.toml`, `jwks.json`, and keys where they are in files.

Owns making it, reading it safely, and replacing keys in an order that survives a crash. Leaves what the files say to
`idp.profile`, keys to `idp.signing_key` and `idp.pkcs11_key`, and the time to the command line.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mintmark.core.errors import Misconfigured, Rejected
from mintmark.idp import pkcs11_key
from mintmark.idp.profile import KEYS_MAX, Hardware, KeyEntry, Profile, read, write
from mintmark.idp.signing_key import FileKey, SigningKey, kid_of

PROFILE = "idp.toml"
KEY_SET = "jwks.json"
FILE_MAX_BYTES = 64 * 1024
# The first key signs on machines whose clocks are a little behind, too.
BACKDATE_SECONDS = 60
_KID_CHARACTERS = 16

Pin = Callable[[], str]
"""Asks for the PIN of a hardware token."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key shall be: the label of one in hardware, or nothing for one in a file."""

    pin: Pin
    label: str = ""


def create(folder: Path, issuer: str, algorithm: str, hardware: Hardware | None, wanted: NewKey, now: float) -> Profile:
    """A new identity provider in a folder that does not exist yet, or is empty."""
    made = _make_folder(folder)
    try:
        entry, pem = _new_key(algorithm, hardware, wanted, int(now) - BACKDATE_SECONDS)
        profile = Profile(issuer, algorithm, (entry,), hardware)
        _store(folder, profile, entry, pem, now)
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise
    return profile


def rotate(folder: Path, wanted: NewKey, *, begins: int, keep_seconds: int, now: float) -> Profile:
    """Add a key that signs from `begins` on; those before it stay published so long after that, and no longer."""
    with _exclusive(folder):
        former = load(folder)
        kept = [key for key in former.keys if key.is_published(now)]
        if len(kept) >= KEYS_MAX:
            raise Rejected(
                "invalid-identity",
                f"There are {KEYS_MAX} keys already.",
                hint="Wait until the oldest is no longer published.",
            )
        entry, pem = _new_key(former.algorithm, former.hardware, wanted, begins)
        if entry.kid in {key.kid for key in former.keys}:
            raise Rejected("invalid-identity", "That key is there already.", hint="Name another key with --key-label.")
        profile = replace(former, keys=(*(_ending(key, begins + keep_seconds) for key in kept), entry))
        _store(folder, profile, entry, pem, now)
        _remove_spent(folder, former, profile, now)
    return profile


def load(folder: Path) -> Profile:
    """The profile, from a folder that nobody else can have changed. Raises `Misconfigured`."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        raise Misconfigured("idp folder", f"There is no {folder}.", "Make it with `mintmark idp init`.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise _unsafe(folder, "a folder of yours that only you can write to", "chmod 700")
    return read(_read(folder / PROFILE, 0o644, "idp.toml").decode("utf-8", "replace"))


@contextmanager
def signing_key(folder: Path, profile: Profile, pin: Pin, now: float) -> Iterator[SigningKey]:
    """The key that signs at this moment. Raises `Misconfigured`."""
    entry = profile.signing_key(now)
    if profile.hardware is not None:
        with pkcs11_key.opened(profile.hardware, profile.algorithm, entry.label, pin()) as key:
            yield key
        return
    yield FileKey.load(profile.algorithm, _read(folder / entry.file, 0o600, "idp key"))


# -- keys -------------------------------------------------------------------------------------------------------------


def _new_key(algorithm: str, hardware: Hardware | None, wanted: NewKey, begins: int) -> tuple[KeyEntry, bytes | None]:
    """A new key's entry, and its private part where that belongs into a file."""
    if hardware is None:
        made = FileKey.make(algorithm)
        kid = kid_of(made.public)
        return KeyEntry(kid, made.public, begins, file=f"key-{kid[:_KID_CHARACTERS]}.pem"), made.pem()
    with pkcs11_key.opened(hardware, algorithm, wanted.label, wanted.pin(), make=True) as key:
        return KeyEntry(kid_of(key.public), key.public, begins, label=wanted.label), None


def _ending(key: KeyEntry, end: int) -> KeyEntry:
    """A key that is published until then at most."""
    return replace(key, published_until=end if key.published_until is None else min(end, key.published_until))


def _remove_spent(folder: Path, former: Profile, profile: Profile, now: float) -> None:
    """Remove the private keys that never sign again: what is not there cannot be taken."""
    signing = profile.keys.index(profile.signing_key(now))
    needed = {key.file for key in profile.keys[signing:]}
    for key in former.keys:
        if key.file and key.file not in needed:
            (folder / key.file).unlink(missing_ok=True)


# -- files ------------------------------------------------------------------------------------------------------------


def _make_folder(folder: Path) -> bool:
    """Make it, for its owner only. An empty one of the owner's is taken as it is; says whether it was made."""
    try:
        folder.mkdir(mode=0o700)
        return True
    except FileExistsError:
        pass
    except OSError as error:
        raise Misconfigured("idp folder", f"{folder} cannot be made: {error.strerror}.", "Name another one.") from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise _unsafe(folder, "a folder of yours that nobody else can read", "chmod 700")
    if next(folder.iterdir(), None) is not None:
        raise Misconfigured(
            "idp folder", f"{folder} is not empty.", "Name a new folder; for a new key use `mintmark idp rotate`."
        )
    return False


def _store(folder: Path, profile: Profile, entry: KeyEntry, pem: bytes | None, now: float) -> None:
    """The private key first, then the file that names it, then what is made from that. A crash loses no key in use."""
    if pem is not None:
        _write_new(folder / entry.file, pem, 0o600)
    _replace(folder / PROFILE, write(profile).encode("utf-8"))
    _replace(folder / KEY_SET, profile.key_set(now))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # Invariant: a private key is never readable by others, from the moment its file exists, and replaces no file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _replace(path: Path, data: bytes) -> None:
    """Put a public file in place whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(temporary, data, 0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path, mode: int, what: str) -> bytes:
    """A file's bytes, if it is ours and allows no more than `mode`."""
    # Invariant: a private key that others can read, or that is a link, signs nothing.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Misconfigured(what, f"There is no {path}.", "Restore it from a backup.") from None
    except OSError as error:
        raise Misconfigured(
            what, f"{path} cannot be read: {error.strerror}.", "It has to be a file of yours and no link."
        ) from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o777 & ~mode:
            raise _unsafe(path, f"a file of yours with at most the permissions {mode:o}", f"chmod {mode:o}")
        data = file.read(FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise Misconfigured(what, f"{path} is larger than {FILE_MAX_BYTES} bytes.", "Restore it from a backup.")
    return data


def _unsafe(path: Path, wanted: str, cure: str) -> Misconfigured:
    return Misconfigured(
        "idp folder",
        f"{path} is not {wanted}.",
        f"{cure} {path}. If others could read a private key, replace it: mintmark idp rotate --keep 0m.",
    )


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes: of two rotations one waits for the other."""
    load(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
