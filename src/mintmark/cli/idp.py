"""`mintmark idp`: an identity provider of one's own, for an organisation whose CI system is none."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from time import time

import click

from mintmark.cli.session import parse_duration, when
from mintmark.core.errors import Rejected
from mintmark.idp import folder as folder_module
from mintmark.idp.claims import claims_of, parse_claims
from mintmark.idp.folder import NewKey
from mintmark.idp.profile import ALGORITHMS, Hardware, Profile, parse_issuer, parse_label
from mintmark.idp.signing_key import sign_token

PIN_VARIABLE = "MINTMARK_PKCS11_PIN"
KEEP_MAX_SECONDS = 90 * 86_400
FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_PIN_HELP = f"The token's PIN comes from {PIN_VARIABLE}, or is asked for."


@click.group()
def idp() -> None:
    """Sign identity tokens yourself, where no CI system does it.

    An organisation without an identity provider signs short-lived identity tokens with a key of its own.
    An index trusts it by its published key set, which is a file: nothing has to answer anywhere.
    See docs/idp.md for who should hold the key.
    """


@idp.command(
    epilog="\b\nExamples:\n  mintmark idp init release-idp --issuer https://identity.acme.example\n"
    "  mintmark idp init release-idp --issuer https://identity.acme.example \\\n"
    "      --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token-label release --key-label 2026"
)
@FOLDER
@click.option("--issuer", required=True, metavar="URL", help="Its name: a URL of a name that is yours.")
@click.option(
    "--algorithm", type=click.Choice(ALGORITHMS), default="ES256", help="How it signs. Default: ES256.", metavar="NAME"
)
@click.option("--pkcs11", "module", metavar="MODULE", help=f"Keep the key in hardware, by this library. {_PIN_HELP}")
@click.option("--token-label", metavar="TEXT", help="With --pkcs11: the token's label.")
@click.option("--key-label", metavar="TEXT", help="With --pkcs11: the key's label. It is made if there is none.")
def init(
    folder: Path, issuer: str, algorithm: str, module: str | None, token_label: str | None, key_label: str | None
) -> None:
    """Make an identity provider in the new folder DIR: a private key, jwks.json and idp.toml.

    The folder and the private key are readable for you only. Nothing that exists is replaced.
    """
    hardware, label = None, ""
    if module:
        token = parse_label("label of a token", token_label or "")
        hardware = Hardware(parse_label("path of a module", module), token)
        label = parse_label("label of a key", key_label or "")
    elif token_label or key_label:
        raise Rejected("invalid-identity", "Labels belong to keys in hardware.", hint="Add --pkcs11 MODULE.")
    made = folder_module.create(folder, parse_issuer(issuer), algorithm, hardware, NewKey(_pin, label), time())
    click.echo(f"{folder} signs as {made.issuer} with {made.algorithm}, key {made.keys[-1].kid}.")
    click.echo(f"\nCopy {folder / folder_module.KEY_SET} beside the trust file of the index, and write into that:\n")
    click.echo(_trust(made))
    click.echo(f"\nThen: mintmark idp sign {folder} --subject release:acme-widget --audience AUDIENCE")
    click.echo("AUDIENCE is what `mintmark issuer guide` prints there.")


def _trust(profile: Profile) -> str:
    """What an operator writes into the trust file."""
    return "\n".join(
        (
            "[registry.acme.issuer.own]",
            'provider = "generic"',
            f'url = "{profile.issuer}"',
            f'algorithms = ["{profile.algorithm}"]',
            f"max-token-lifetime-seconds = {profile.max_lifetime_seconds}",
            'jwks-file = "jwks.json"',
            'projects = ["acme-*"]',
            "",
            "[[registry.acme.publisher]]",
            'project = "acme-widget"',
            'issuer = "own"',
            'immutable-id = "sub"    # never use a subject for something else later',
            "",
            "[[registry.acme.publisher.rule]]",
            'claim = "sub"',
            'equals = "release:acme-widget"',
        )
    )


@idp.command(
    epilog="\b\nExamples:\n  mintmark idp sign release-idp --subject release:acme-widget \\\n"
    "      --audience mintmark_pkgs_example_com --claim environment=release \\\n"
    "      --claim run:=17 >token\n"
)
@FOLDER
@click.option("--subject", required=True, metavar="TEXT", help="Who publishes: the claim sub.")
@click.option("--audience", required=True, metavar="TEXT", help="For which index: the claim aud.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=TEXT",
    help="Another claim; NAME:=JSON for what is no text. Repeatable.",
)
@click.option("--lifetime", default="5m", metavar="TIME", help="Life of the token, 1m to 1h. Default: 5m.")
@click.option("--show", is_flag=True, help="Print the token even into a terminal.")
def sign(folder: Path, subject: str, audience: str, claims: tuple[str, ...], lifetime: str, show: bool) -> None:
    """Print an identity token, alone on standard output."""
    if sys.stdout.isatty() and not show:
        raise Rejected(
            "invalid-identity",
            "The token would stay in this terminal.",
            hint="Send it into a file or a variable: TOKEN=$(mintmark idp sign …), or add --show.",
        )
    now = time()
    profile = folder_module.load(folder)
    wanted = claims_of(
        profile,
        parse_claims(claims),
        subject=subject,
        audience=audience,
        lifetime_seconds=parse_duration(lifetime),
        now=now,
        jti=secrets.token_urlsafe(16),
    )
    with folder_module.signing_key(folder, profile, _pin, now) as key:
        token = sign_token(profile, key, wanted, now)
    click.echo(token)


@idp.command(
    epilog="\b\nExamples:\n  mintmark idp rotate release-idp --begin 1d\n"
    "  mintmark idp rotate release-idp --keep none     # the old key may be in wrong hands"
)
@FOLDER
@click.option("--begin", metavar="TIME", help="Sign with it only after this time, so that indexes learn it first.")
@click.option(
    "--keep",
    default="2h",
    metavar="TIME",
    help="How long the old key stays published after that, or `none`. Default: 2h.",
)
@click.option("--key-label", metavar="TEXT", help="Where keys are in hardware: the new key's label.")
def rotate(folder: Path, begin: str | None, keep: str, key_label: str | None) -> None:
    """Make a new key; the old one stays published for tokens that are on their way.

    An index that trusts this one by a file learns of it when that file is applied again.
    """
    now = time()
    profile = folder_module.load(folder)
    if (profile.hardware is None) == bool(key_label):
        raise Rejected(
            "invalid-identity",
            "A key in hardware needs a label, and one in a file has none.",
            hint="Add --key-label." if profile.hardware else "Leave --key-label out.",
        )
    label = parse_label("label of a key", key_label) if key_label else ""
    begins = int(now) + (_bounded(begin) if begin else 0)
    keep_seconds = 0 if keep == "none" else _bounded(keep)
    made = folder_module.rotate(folder, NewKey(_pin, label), begins=begins, keep_seconds=keep_seconds, now=now)
    click.echo(f"The new key is {made.keys[-1].kid}. It signs {'from ' + when(begins) + ' on' if begin else 'now'}.")
    click.echo(
        f"Now: mintmark idp keys {folder} >jwks.json, and `mintmark apply` with it, wherever this one is trusted."
    )
    if keep_seconds:
        click.echo(f"The same once more after {when(begins + keep_seconds)}, when the old key is no longer published.")


def _bounded(text: str) -> int:
    seconds = parse_duration(text)
    if seconds > KEEP_MAX_SECONDS:
        raise Rejected("invalid-identity", f"{text!r} is too long.", hint=f"At most {KEEP_MAX_SECONDS // 86_400}d.")
    return seconds


@idp.command(epilog="\b\nExample:\n  mintmark idp keys release-idp >jwks.json")
@FOLDER
def keys(folder: Path) -> None:
    """Print the JWK set: the public keys that are published at this moment."""
    click.echo(folder_module.load(folder).key_set(time()), nl=False)


def _pin() -> str:
    """A hardware token's PIN: never an argument, which every process of a machine can read."""
    pin = os.environ.get(PIN_VARIABLE)
    if pin is None:
        pin = str(click.prompt("PIN", hide_input=True, err=True))
    return pin
