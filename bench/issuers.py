"""Many issuers against one, issuers that hang beside those that answer, and many projects of one identity.

Owns what a mint costs when an index trusts much. Leaves signing and seeding to `tokens` and `seed`.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench import load, seed, server
from bench.figures import Row, Target, ratios, take_turns
from bench.load import Result
from bench.server import Running
from bench.session import BenchError, Session, settle
from bench.tokens import MINT_PATH, Slice, sign, token
from mintmark.lab.signer import Signer

FEW, MANY = 10, 100_000
ISSUERS, HANGING = 50, 10
PROJECTS = 500
TOKENS_PER_SECOND = 7000
CONNECTIONS = 8
# So many clients at a time bring tokens of issuers that hang.
STUCK_CLIENTS = 4
WARMING_MAX = 10
PAUSE_SECONDS = 0.5
URLS = tuple(f"https://gitlab-{place}.example.com" for place in range(ISSUERS))


def run(session: Session) -> Iterable[Row]:
    """The bench."""
    signer = Signer(kid="bench")
    jwks = signer.jwks()
    count = TOKENS_PER_SECOND * session.seconds
    folder = session.fresh("issuer-tokens")
    make = partial(sign, folder, signer, slices=session.rounds, count=count)
    fills = {
        "few": lambda index: seed.publishers(index, jwks, FEW),
        "many": lambda index: seed.publishers(index, jwks, MANY, urls=URLS),
        "one": lambda index: seed.publishers(index, jwks, FEW),
        "wide": lambda index: seed.publishers(index, jwks, FEW * PROJECTS, projects_each=PROJECTS),
    }
    homes = {name: session.folder / f"issuers-{name}" for name in (*fills, "steady", "hanging")}
    for name, fill in fills.items():
        seed.create(homes[name], fill)
    few = make(publishers=FEW)
    slices = {"few": few, "one": few, "wide": few, "many": make(publishers=MANY, urls=URLS, name="many")}
    with _issuers(jwks, hanging=0) as steady, _issuers(jwks, hanging=HANGING) as hanging:
        for name, urls in (("steady", steady), ("hanging", hanging)):
            seed.create(homes[name], partial(seed.publishers, jwks=b"", count=ISSUERS, urls=urls))
            # Only identities of issuers that answer in both.
            slices[name] = make(publishers=ISSUERS - HANGING, urls=urls, name=name)
        settle()
        with (
            server.mintmark(homes["few"]) as a,
            server.mintmark(homes["many"]) as b,
            server.mintmark(homes["one"]) as c,
            server.mintmark(homes["wide"]) as d,
            server.mintmark(homes["steady"]) as e,
            server.mintmark(homes["hanging"]) as f,
        ):
            targets = {"few": a, "many": b, "one": c, "wide": d, "steady": e, "hanging": f}
            for target, urls in ((e, steady), (f, hanging)):
                _warm(target, signer, urls)
            stuck = _Stuck(f, signer, hanging)
            runs = {name: _mints(session, target, slices[name]) for name, target in targets.items()}
            runs["hanging"] = stuck.beside(runs["hanging"])
            results = take_turns(session.rounds, runs)
    return _rows(results)


def _mints(session: Session, target: Running, slices: list[Slice]) -> Callable[[int], Result]:
    def once(number: int) -> Result:
        settle()
        return load.run(
            target.url,
            slices[number].requests,
            session.seconds,
            connections=CONNECTIONS,
            server_pid=target.pid,
            again=False,
        )

    return once


class _Stuck:
    """Clients whose issuers hang, beside a run of others."""

    def __init__(self, target: Running, signer: Signer, urls: Sequence[str]) -> None:
        self._port = target.port
        self._signer = signer
        self._urls = urls

    def beside(self, run: Callable[[int], Result]) -> Callable[[int], Result]:
        def both(number: int) -> Result:
            done = threading.Event()
            clients = [threading.Thread(target=self._ask, args=(done, place)) for place in range(STUCK_CLIENTS)]
            for client in clients:
                client.start()
            try:
                return run(number)
            finally:
                done.set()
                for client in clients:
                    client.join()

        return both

    def _ask(self, done: threading.Event, place: int) -> None:
        dice = random.Random(place)
        while not done.is_set():
            number = ISSUERS - HANGING + dice.randrange(HANGING)
            _mint(self._port, token(self._signer, number, dice, self._urls))
            # Once it is known that an issuer hangs, it is told at once: these are jobs, and no flood.
            done.wait(PAUSE_SECONDS)


def _warm(target: Running, signer: Signer, urls: Sequence[str]) -> None:
    """Every issuer that answers has been asked for its keys. Raises `BenchError`."""
    dice = random.Random(0)
    for number in range(ISSUERS - HANGING):
        for _ in range(WARMING_MAX):
            if _mint(target.port, token(signer, number, dice, urls)) == 200:
                break
        else:
            raise BenchError(f"the issuer {urls[number]} is not trusted")


def _mint(port: int, identity_token: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = json.dumps({"token": identity_token})
        connection.request("POST", MINT_PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@contextmanager
def _issuers(jwks: bytes, *, hanging: int) -> Iterator[tuple[str, ...]]:
    """Issuers on loopback; the last ones take a request and never answer it. Their URLs."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = int(self.path.split("/")[1])
            if place >= ISSUERS - hanging:
                over.wait()
                return
            url = f"http://127.0.0.1:{self.server.server_port}/{place}"  # type: ignore[attr-defined]
            document = json.dumps({"issuer": url, "jwks_uri": f"{url}/jwks"}).encode()
            body = jwks if self.path.endswith("/jwks") else document
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: the terminal has the table."""

    class Listener(ThreadingHTTPServer):
        # An index asks all its issuers at once when it starts.
        request_queue_size = 4 * ISSUERS
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Who hangs is hung up on."""

    listener = Listener(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield tuple(f"http://127.0.0.1:{listener.server_port}/{place}" for place in range(ISSUERS))
    finally:
        over.set()
        listener.shutdown()
        thread.join()
        listener.server_close()


def _rows(results: dict[str, list[Result]]) -> list[Row]:
    rates = {name: tuple(each.rate for each in found) for name, found in results.items()}
    names = {
        "few": "mints, 10 publishers of one issuer",
        "many": "mints, 100,000 publishers of 50 issuers",
        "wide": "mints of 500 projects each",
        "steady": "mints, 50 issuers that answer",
        "hanging": "mints of 40 issuers that answer, beside 10 that hang",
    }
    slower = ratios(rates["one"], rates["wide"])
    return [
        *(Row(text, "/s", rates[name]) for name, text in names.items()),
        Row("100,000 publishers of 50 issuers / 10 of one", "", ratios(rates["many"], rates["few"]), Target(0.8)),
        Row("time of a mint of 500 projects / of one", "", slower, Target(1.5, below=True)),
        Row(
            "time of a mint beside 10 issuers that hang / none",
            "",
            ratios(rates["steady"], rates["hanging"]),
            Target(1.2, below=True),
        ),
    ]
