"""What stock pip and uv make of yanked, deleted and quarantined files."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.dev_index import REGISTRY, Dev, Done
from support.dists import wheel


def publish(dev: Dev, directory: Path, name: str, *versions: str, registry: str = REGISTRY) -> str:
    """Publish wheels; a secret that reads them."""
    secret = dev.mintmark("token", "create", registry, "seed", "--upload", "--read")
    url = ("--publish-url", f"{dev.base_url}/{registry}/legacy/")
    for version in versions:
        filename, data = wheel(name, version)
        (directory / filename).write_bytes(data)
        done = dev.run("uv", "publish", *url, "--token", secret, str(directory / filename))
        assert done.code == 0, done.text
    return secret


def clients(dev: Dev, directory: Path, secret: str, wanted: str) -> tuple[Done, Done]:
    """Both clients get a requirement, without a cache."""
    index = ("--index-url", dev.index_url(secret), wanted)
    pip = dev.run("pip", "download", "--no-cache-dir", "--no-deps", "--dest", str(directory / "got"), *index)
    uv = dev.run("uv", "pip", "install", "--no-cache", "--dry-run", "--target", str(directory / "target"), *index)
    return pip, uv


def picked(done: Done) -> set[str]:
    return set(re.findall(r"(?:life-cycle-[a-z]+|life_cycle_[a-z]+)[-=]+([0-9.]+[0-9])", done.text))


def test_a_yanked_version_is_for_who_asks_for_it(dev: Dev, tmp_path: Path) -> None:
    name = "life-cycle-yanked"
    secret = publish(dev, tmp_path, name, "1.0", "2.0")
    dev.mintmark("project", "yank", REGISTRY, name, "2.0", "--reason", "Eats <b>&amp; 'quotes'.")
    for done in clients(dev, tmp_path, secret, name):
        assert (done.code, picked(done)) == (0, {"1.0"}), done.text
    for done in clients(dev, tmp_path, secret, f"{name}==2.0"):
        assert (done.code, picked(done)) == (0, {"2.0"}), done.text
        # The reason as it was written, whatever it holds.
        assert "Eats <b>&amp; 'quotes'." in " ".join(done.text.split())
    dev.mintmark("project", "unyank", REGISTRY, name, "2.0")
    for done in clients(dev, tmp_path, secret, name):
        assert (done.code, picked(done)) == (0, {"2.0"}), done.text


def test_nothing_of_a_quarantined_or_deleted_project_is_installed(dev: Dev, tmp_path: Path) -> None:
    name = "life-cycle-gone"
    secret = publish(dev, tmp_path, name, "1.0")
    for change in (("status", REGISTRY, name, "quarantined"), ("delete", REGISTRY, name, "1.0", "--yes")):
        dev.mintmark("project", *change)
        for done in clients(dev, tmp_path, secret, f"{name}==1.0"):
            assert done.code != 0, done.text
        dev.mintmark("project", "status", REGISTRY, name, "active")


def test_a_project_without_files_still_holds_its_name_for_uv(dev: Dev, tmp_path: Path) -> None:
    """With a 404 instead of an empty page, uv would take the name from the next index."""
    name = "life-cycle-empty"
    secret = publish(dev, tmp_path, name, "1.0")
    dev.mintmark("registry", "create", "elsewhere")
    other = publish(dev, tmp_path, name, "9.0", registry="elsewhere")
    elsewhere = dev.index_url(other).replace(f"/{REGISTRY}/", "/elsewhere/")

    def install(wanted: str) -> Done:
        indexes = ("--index", dev.index_url(secret), "--default-index", elsewhere)
        return dev.run("uv", "pip", "install", "--no-cache", "--dry-run", "--target", str(tmp_path), *indexes, wanted)

    assert picked(install(name)) == {"1.0"}
    dev.mintmark("project", "delete", REGISTRY, name, "1.0", "--yes")
    done = install(name)
    assert (done.code != 0, picked(done)) == (True, set()), done.text
