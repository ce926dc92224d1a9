"""The README's commands, run as they are written, against the index that the README starts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from e2e.dev_index import Dev, running_dev

README = Path(__file__).resolve().parents[2] / "README.md"
DEFAULT_PORT = "localhost:8443"
MARK = "@@@ "

_BLOCK = re.compile(
    r"<!-- test:begin (?P<name>[a-z]+)(?P<fails> fails)? -->\n```sh\n(?P<body>.*?)```\n<!-- test:end -->", re.DOTALL
)


def blocks() -> dict[str, tuple[str, bool]]:
    """The marked shell blocks in their order: the text, and whether it must fail."""
    found = _BLOCK.findall(README.read_text(encoding="utf-8"))
    return {name: (body, bool(fails)) for name, fails, body in found}


def script(names: list[str]) -> str:
    """The blocks as one script, since later ones use variables of earlier ones."""
    lines = ["set -euo pipefail"]
    for name in names:
        body, fails = blocks()[name]
        lines.append(f"echo '{MARK}{name}'")
        lines.append(f"if (\n{body}\n); then echo 'this must fail'; exit 9; fi" if fails else body)
    return "\n".join(lines)


def play(dev: Dev, *names: str) -> dict[str, str]:
    """Run blocks and return what each printed."""
    text = script(list(names))
    assert DEFAULT_PORT in text
    text = text.replace(DEFAULT_PORT, f"localhost:{dev.port}")
    done = dev.run("bash", "-c", f"exec 2>&1\n{text}")
    assert done.code == 0, done.text
    parts = done.text.split(MARK)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_every_block_is_played() -> None:
    played = {"setup", "build", "gitlab", "github", "stranger", "token", "install", "mint", "upload", "burn"}
    assert blocks().keys() == played
    assert README.read_text(encoding="utf-8").count("<!-- test:begin") == len(played)


def test_publish_and_install_by_hand(tmp_path: Path) -> None:
    with running_dev(tmp_path) as dev:
        said = play(dev, "setup", "build", "gitlab", "github", "stranger", "token", "install")
        assert "Registered publisher 1: hello from gitlab" in said["gitlab"]
        assert "Uploading hello-1.0.tar.gz" in said["gitlab"]
        assert "Uploading hello-1.1" in said["github"]
        assert "No publisher of the issuer 'github' is registered for repository 'somebody/else'" in said["stranger"]
        assert "Uploading hello-1.2" in said["token"]
        assert "Successfully installed hello-1.2" in said["install"]
        assert "+ hello==1.2" in said["install"]
        for folder in ("with-pip", "with-uv"):
            assert (tmp_path / folder / "hello" / "__init__.py").exists()
        log = dev.mintmark("audit")
        assert "invalid-publisher" in log
        assert "minted" in log


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_manual_way(tmp_path: Path) -> None:
    with running_dev(tmp_path) as dev:
        said = play(dev, "setup", "build", "gitlab", "mint", "upload", "burn")
        assert said["mint"].startswith('{"audience":"mintmark_localhost_demo"}')
        assert '"success":true' in said["mint"]
        assert '"projects":["hello"]' in said["mint"]
        assert said["upload"] == "200\n"
        assert '{"message":"Accepted"}' in said["burn"]
        assert "was burned" in said["burn"]
        assert "invalid-reuse-token" in said["burn"]
