#!/bin/sh
# Writes the hash-pinned requirement files anew. Needs uv on PATH (or in $UV). No index URL is written.
set -eu
cd "$(dirname "$0")/.."
pin() {
    out=$1
    shift
    "${UV:-uv}" pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate --quiet "$@" -o "$out"
}
compile() {
    out=$1
    shift
    pin "$out" --extra server --extra lab --extra fast "$@"
}
compile requirements/demo.txt pyproject.toml requirements/demo.in
compile requirements/test.txt pyproject.toml requirements/demo.in requirements/test.in -c requirements/demo.txt
compile requirements/real.txt pyproject.toml requirements/demo.in requirements/test.in requirements/real.in \
    -c requirements/test.txt
pin requirements/peers.txt requirements/peers.in
pin requirements/uploaders.txt requirements/uploaders.in
