"""The main job, told step by step: a CI job publishes without a stored secret, and pip installs the result.

Everything here is the real thing (index, TLS, uv, pip, wheels) except the two CI systems, which are Mintmark's
simulated ones. Run it with `make demo`.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mintmark.lab.home import Lab, read
from mintmark.lab.remote import JobOrder, Remote

BIN = Path(sys.executable).parent
REGISTRY = "demo"
START_SECONDS = 20
PACKAGES = {
    "hello-mint": "the package that GitLab publishes",
    "hello-mark": "the package that GitHub publishes; it needs hello-mint",
}
AUDIENCE = "mintmark_localhost"


class Story:
    """Tells what happens, numbered; in colour on a terminal only."""

    def __init__(self) -> None:
        self._chapter = 0
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def chapter(self, title: str) -> None:
        """Begin a step."""
        self._chapter += 1
        print(f"\n{self._paint('1', f'{self._chapter}. {title}')}", flush=True)

    def say(self, text: str) -> None:
        """A sentence."""
        print(f"   {text}", flush=True)

    def command(self, words: Sequence[str]) -> None:
        """The command that is run."""
        quoted = (f'"{word}"' if " " in word and not word.startswith("'") else word for word in words)
        print(f"   {self._paint('36', '$ ' + ' '.join(quoted))}", flush=True)

    def output(self, text: str) -> None:
        """What it printed."""
        for line in text.strip().splitlines():
            print(f"     {self._paint('2', line)}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


class Demo:
    """The demo in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "mintmark-dev"
        self.port = free_ports()
        self.base_url = f"https://localhost:{self.port}"
        self.upload_url = f"{self.base_url}/{REGISTRY}/legacy/"
        self.story = Story()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "TWINE_"))},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            "MINTMARK_CONFIG": str(self.home / "mintmark.toml"),
            "NO_PROXY": "localhost,127.0.0.1",
            "UV_NO_CONFIG": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "UV_CACHE_DIR": str(directory / "uv-cache"),
            # Whatever this really runs in, the commands see the simulated CI systems only.
            "GITHUB_ACTIONS": "",
            "GITLAB_CI": "",
        }

    def run(
        self,
        *words: str,
        more: Mapping[str, str] | None = None,
        fails: bool = False,
        shown: Sequence[str] = (),
        quiet: bool = False,
        both: bool = False,
    ) -> str:
        """Run a command, show it and what it printed, and insist on its outcome."""
        self.story.command(shown or words)
        found = shutil.which(words[0], path=self.environment["PATH"])
        if found is None:
            raise SystemExit(f"There is no command {words[0]}; run this with `make demo`.")
        done = subprocess.run(
            [found, *words[1:]],
            cwd=self.directory,
            env=self.environment | dict(more or {}),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        text = re.sub(r"mintmark_[A-Za-z0-9]{50}", "mintmark_…", done.stdout + done.stderr)
        if not quiet:
            self.story.output(text)
        if (done.returncode != 0) != fails:
            self.story.output(text)
            raise SystemExit(f"The demo failed: {words[0]} ended with exit code {done.returncode}.")
        return text if fails or both else done.stdout

    # -- the steps ----------------------------------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        """Start the index and wait until it answers."""
        self.story.chapter("Start the index")
        words = ["mintmark", "serve", "--dev", "--port", str(self.port)]
        self.story.command(words)
        log = (self.directory / "serve.log").open("wb")
        server = subprocess.Popen(
            [BIN / words[0], *words[1:]], cwd=self.directory, env=self.environment, stdout=log, stderr=log
        )
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS and server.poll() is None:
            if self._answers():
                ca = self.home / "tls" / "ca.pem"
                self.environment |= {"SSL_CERT_FILE": str(ca), "REQUESTS_CA_BUNDLE": str(ca), "PIP_CERT": str(ca)}
                self.story.say(f"It listens on {self.base_url}, with a certificate of its own CA, and beside it run a")
                self.story.say("simulated self-hosted GitLab and a simulated GitHub. Its registry `demo` is private.")
                return server
            time.sleep(0.1)
        server.kill()
        server.wait()
        raise SystemExit("The index did not start:\n" + (self.directory / "serve.log").read_text())

    def _answers(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self.home / "tls" / "ca.pem")
            with urllib.request.urlopen(f"{self.base_url}/-/ready", context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def build(self) -> None:
        """Build real distributions of both packages."""
        self.story.chapter("Build two packages")
        for name, summary in PACKAGES.items():
            folder = self.directory / name
            module = name.replace("-", "_")
            (folder / "src" / module).mkdir(parents=True)
            (folder / "src" / module / "__init__.py").write_text(
                f'def hello() -> str:\n    return "{name} says hello"\n'
            )
            needs = '["hello-mint"]' if name == "hello-mark" else "[]"
            (folder / "pyproject.toml").write_text(
                '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
                f'[project]\nname = "{name}"\nversion = "1.0"\ndescription = "{summary}"\n'
                f'requires-python = ">=3.11"\ndependencies = {needs}\n'
            )
            # The build backend is installed already, from hash-pinned requirements.
            self.run(
                str(BIN / "python"), "-m", "build", "--no-isolation", "--outdir", f"dist/{name}", name,
                shown=["python", "-m", "build", name],
                quiet=True,
            )  # fmt: skip
            self.story.output("\n".join(sorted(path.name for path in (self.directory / "dist" / name).iterdir())))

    def trust(self) -> None:
        """Say who may publish what."""
        self.story.chapter("Say who may publish what")
        self.story.say("No password is handed out: each package names the CI job that may publish it.")
        self.run(
            "mintmark", "publisher", "add", REGISTRY, "hello-mint", "--issuer", "gitlab",
            "project-path=team/hello-mint", "workflow=.gitlab-ci.yml", "project-id=4711",
        )  # fmt: skip
        self.run(
            "mintmark", "publisher", "add", REGISTRY, "hello-mark", "--issuer", "github",
            "repository=team/hello-mark", "workflow=release.yml", "repository-id=4712",
        )  # fmt: skip

    def publish_from_gitlab(self, lab: Lab) -> None:
        """Publish with stock uv, then show that the token is spent."""
        self.story.chapter("A job of the self-hosted GitLab publishes, with stock uv")
        config = {"project-path": "team/hello-mint", "workflow": ".gitlab-ci.yml", "project-id": "4711"}
        job = Remote(lab).job(JobOrder("gitlab", config, (AUDIENCE,))).variables
        self.story.say(f"GitLab gave the job one identity token, in the variable {AUDIENCE.upper()}_ID_TOKEN.")
        self._uv_publish("hello-mint", job)
        self.story.say("uv asked the index for its audience, exchanged the identity token for an upload credential,")
        self.story.say("uploaded both files with it, and burned it.")
        self.story.chapter("Somebody steals that job's identity token and uses it again")
        told = self._uv_publish("hello-mint", job, fails=True)
        self._insist("invalid-reuse-token", told, "Refused: each identity token is exchanged once.")

    def publish_from_github(self, lab: Lab) -> None:
        """The same from GitHub."""
        self.story.chapter("A GitHub workflow publishes, with stock uv")
        config = {"repository": "team/hello-mark", "workflow": "release.yml", "repository-id": "4712"}
        job = Remote(lab).job(JobOrder("github", config, (AUDIENCE,))).variables
        self._uv_publish("hello-mark", job)
        self.story.chapter("Another workflow of that repository tries the same")
        other = Remote(lab).job(JobOrder("github", config | {"workflow": "tests.yml"}, (AUDIENCE,))).variables
        told = self._uv_publish("hello-mark", other, fails=True)
        self._insist("release.yml", told, "Refused, and the answer names the claim that does not match.")

    def _uv_publish(self, name: str, job: Mapping[str, str], *, fails: bool = False) -> str:
        pattern = f"dist/{name}/*"
        files = sorted(str(path.relative_to(self.directory)) for path in (self.directory / "dist" / name).iterdir())
        words = ["uv", "publish", "--trusted-publishing", "always", "--publish-url", self.upload_url]
        return self.run(*words, *files, shown=[*words, pattern], more=job, fails=fails)

    def break_a_wheel(self, lab: Lab) -> None:
        """An upload that is permitted, of a file that nobody should install."""
        self.story.chapter("The GitLab job is allowed to publish, but its wheel was tampered with")
        good = self.directory / "dist" / "hello-mint" / "hello_mint-1.0-py3-none-any.whl"
        broken = self.directory / "broken" / "hello_mint-1.0-1-py3-none-any.whl"
        broken.parent.mkdir()
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(broken, "w") as target:
            for name in source.namelist():
                more = b"import os\n" if name == "hello_mint/__init__.py" else b""
                target.writestr(name, source.read(name) + more)
            target.writestr("../../startup.py", "print('you did not ask for this')\n")
        config = {"project-path": "team/hello-mint", "workflow": ".gitlab-ci.yml", "project-id": "4711"}
        job = Remote(lab).job(JobOrder("gitlab", config, (AUDIENCE,))).variables
        words = ["uv", "publish", "--trusted-publishing", "always", "--publish-url", self.upload_url]
        told = self.run(*words, f"broken/{broken.name}", more=job, fails=True)
        for words_of_it in ("'../../startup.py', which leads out of its directory", "RECORD"):
            self._insist(words_of_it, told)
        self.story.say("Refused, and one answer tells everything that is wrong with it.")

    def burn(self, lab: Lab) -> None:
        """The manual way: mint, burn, and be refused."""
        self.story.chapter("By hand: mint a credential, burn it, and try to use it")
        config = {"project-path": "team/hello-mint", "workflow": ".gitlab-ci.yml", "project-id": "4711"}
        token = Remote(lab).token(JobOrder("gitlab", config, (AUDIENCE,)))
        minted = self._post("mint-token", token)
        secret = re.search(r'"token":"(mintmark_[A-Za-z0-9]+)"', minted)
        if secret is None:
            raise SystemExit(f"The demo failed: no credential in {minted}")
        self._post("burn-token", secret[1])
        words = ["uv", "publish", "--publish-url", self.upload_url, "--token"]
        file = "dist/hello-mint/hello_mint-1.0.tar.gz"
        told = self.run(*words, secret[1], file, shown=[*words, "mintmark_…", file], fails=True)
        self._insist("burned", told, "Refused: a burned credential is worth nothing, wherever it leaked to.")

    def _post(self, route: str, token: str) -> str:
        url = f"{self.base_url}/_/oidc/{route}"
        self.story.command(["curl", "--data", '\'{"token": "…"}\'', url])
        context = ssl.create_default_context(cafile=self.home / "tls" / "ca.pem")
        body = f'{{"token": "{token}"}}'.encode()
        with urllib.request.urlopen(urllib.request.Request(url, body), context=context, timeout=10) as answer:
            text = answer.read().decode()
        self.story.output(re.sub(r"mintmark_[A-Za-z0-9]{50}", "mintmark_…", text))
        return str(text)

    def install(self) -> str:
        """Install from the private registry with pip and uv."""
        self.story.chapter("Install from the private registry, with stock pip and stock uv")
        token = self.run(
            "mintmark", "token", "create", REGISTRY, "laptop", "--read", "--expires", "30d", quiet=True
        ).strip()
        self.story.say(
            "For people and machines without an identity token there are ordinary API tokens; this one reads."
        )
        index = f"https://__token__:{token}@localhost:{self.port}/{REGISTRY}/simple/"
        shown = index.replace(token, "mintmark_…")
        for tool in ("pip", "uv"):
            python = self.directory / f"{tool}-env" / "bin" / "python"
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parent.parent], check=True)
            words = ["pip", "--python", str(python), "--disable-pip-version-check", "install"]
            if tool == "uv":
                words = ["uv", "pip", "install", "--python", str(python)]
            self.run(
                *words, "--index-url", index, "hello-mark",
                shown=[*words[: 1 if tool == "pip" else 2], "install", "--index-url", shown, "hello-mark"],
            )  # fmt: skip
            self.run(
                str(python), "-c", "import hello_mark, hello_mint; print(hello_mark.hello(), '/', hello_mint.hello())",
                shown=["python", "-c", "'import hello_mark, hello_mint; …'"],
            )  # fmt: skip
        return index

    def yank(self, index: str) -> None:
        """A release that nobody should get by chance."""
        self.story.chapter("A release turns out to be bad: yank it, look with stock pip, take it back")
        self.run("mintmark", "project", "yank", REGISTRY, "hello-mint", "1.0", "--reason", "Says hello too loudly.")
        words = ["pip", "--disable-pip-version-check", "download", "--no-deps", "--no-cache-dir", "--dest", "yanked"]
        for wanted in ("hello-mint==1.0", "hello-mint"):
            told = self.run(
                *words, "--index-url", index, wanted, fails=wanted == "hello-mint", both=True,
                shown=["pip", "download", "--no-deps", "--index-url", "…", wanted],
            )  # fmt: skip
            if wanted == "hello-mint":
                self.story.say("Nobody gets it by chance: a yanked release is no answer to an open question.")
            else:
                self._insist("Says hello too loudly.", told)
                self.story.say("Who pins exactly that version still gets it, with a warning and the reason.")
        self.run("mintmark", "project", "unyank", REGISTRY, "hello-mint", "1.0")

    def bring_in(self) -> None:
        """A folder of packages becomes a registry, and everything is checked."""
        self.story.chapter("Bring a folder of packages into another registry, and check everything")
        self.run("mintmark", "registry", "create", "archive", "--title", "What we had before", quiet=True)
        told = self.run("mintmark", "import", "archive", "dist")
        self._insist("imported\t4", told)
        self._insist("No fault was found.", self.run("mintmark", "fsck"))
        self.story.say("Every file has the digest that the ledger says, and every page shows what the ledger says.")

    def audit(self) -> None:
        """Everything that happened is on record."""
        self.story.chapter("What the index remembers")
        text = self.run("mintmark", "audit", REGISTRY, "--limit", "40", quiet=True)
        rows = [line.split("\t") for line in text.splitlines()[1:]]
        self.story.output("\n".join(f"{row[2]:20} {row[3]:20} {row[4][:80]}" for row in reversed(rows)))

    def _insist(self, words: str, told: str, meaning: str = "") -> None:
        if words not in told:
            raise SystemExit(f"The demo failed: expected {words!r} in what was printed.")
        if meaning:
            self.story.say(meaning)


def free_ports() -> int:
    """A port that is free, like the one behind it."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise SystemExit("There are no two free ports side by side.")


FAREWELL = """
That was the main job. To go on by hand:

  . {activate}
  mintmark serve --dev          # prints what to type in a second terminal

README.md continues from there, with twine, curl, and a real set-up.
"""


def main() -> None:
    """Run every step; stop everything whatever happens."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mintmark-demo-") as name:
        demo = Demo(Path(name))
        server = demo.start()
        try:
            demo.build()
            demo.trust()
            lab = read(demo.home)
            assert lab is not None
            demo.publish_from_gitlab(lab)
            demo.publish_from_github(lab)
            demo.break_a_wheel(lab)
            demo.burn(lab)
            index = demo.install()
            demo.yank(index)
            demo.bring_in()
            demo.audit()
        finally:
            server.terminate()
            server.wait(timeout=30)
    print(f"\nDone in {time.monotonic() - began:.0f} seconds; nothing is left behind.")
    print(FAREWELL.format(activate=os.path.relpath(BIN / "activate")))


if __name__ == "__main__":
    main()
