"""The signing key of a simulated issuer.

Owns making a key at run time, signing tokens with it (rightly, or wrongly on request), publishing it, and rotating
it. Leaves what a token says to `lab.identity` and serving the key set to `lab.provider_server`.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from mintmark.core.jwks import ALGORITHMS, CURVES, RSA_MIN_BITS

KEYS_AT_A_TIME = 2


class Signer:
    """One issuer's key. It is made when it is first needed: an RSA key costs up to 100 ms."""

    def __init__(self, algorithm: str = "RS256", kid: str | None = None) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"{algorithm!r} is not one of {', '.join(sorted(ALGORITHMS))}")
        self.algorithm = algorithm
        self._kid = kid
        self._key: Key | None = None
        self._former: tuple[str, Key] | None = None
        # Made in a thread beside the loop, or by whoever needs it first.
        self._making = threading.Lock()

    @property
    def is_made(self) -> bool:
        """Whether there is a key that somebody may have seen."""
        return self._key is not None or self._former is not None

    @property
    def kid(self) -> str:
        """The key's id: the given one, or the key's thumbprint (RFC 7638)."""
        return self._kid if self._kid is not None else self._current().thumbprint()

    def sign(self, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
        """A signed token. `header` replaces members; None removes one.

        The signature is always made with this key and algorithm, whatever the header says: a lying header is one of
        the things an index must refuse.
        """
        members: dict[str, object] = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **(header or {})}
        members = {name: value for name, value in members.items() if value is not None}
        signed = f"{_segment(_json(members))}.{_segment(_json(claims))}"
        algorithm = jws.JWSRegistry.algorithms[self.algorithm]
        return f"{signed}.{_segment(algorithm.sign(signed.encode('ascii'), self._current()))}"

    def jwks(self) -> bytes:
        """The JWK Set with the current public key, and the one before it unless that was replaced under its id."""
        keys = [(self.kid, self._current())]
        if self._former is not None:
            keys.append(self._former)
        return _json({"keys": [self._published(kid, key) for kid, key in keys]})

    def rotate(self, same_kid: bool = False) -> None:
        """Use a new key from now on.

        The former key stays published, as issuers do for tokens that are still on their way. With `same_kid` the new
        key takes over the old one's id and the old key is gone: some CI servers (Jenkins) do this.
        """
        kid, former = self.kid, self._current()
        self._key = None
        self._former = None if same_kid else (kid, former)
        self._kid = kid if same_kid else None

    def prepare(self) -> None:
        """Make the key now, if it is not made yet. May be called from any thread."""
        self._current()

    def _current(self) -> Key:
        with self._making:
            if self._key is None:
                self._key = self._make()
            return self._key

    def _make(self) -> Key:
        curve = CURVES.get(self.algorithm)
        if curve is None:
            return RSAKey.generate_key(RSA_MIN_BITS)
        return OKPKey.generate_key("Ed25519") if curve == "Ed25519" else ECKey.generate_key(curve)

    def _published(self, kid: str, key: Key) -> dict[str, object]:
        return {**key.as_dict(private=False), "kid": kid, "use": "sig", "alg": self.algorithm}


def prepared(names: Iterable[str]) -> dict[str, Signer]:
    """A signer for each name; their keys are being made in threads, beside whatever comes next."""
    signers = {name: Signer() for name in names}
    threads = ThreadPoolExecutor(KEYS_AT_A_TIME, thread_name_prefix="keys")
    for signer in signers.values():
        threads.submit(signer.prepare)
    threads.shutdown(wait=False)
    return signers


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
