"""`mintmark issuer`: whose identity tokens a registry trusts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import time

import click

from mintmark.cli.issuer_check import check
from mintmark.cli.session import as_json, host_of, print_json, print_table, read_text, settings_of, with_index
from mintmark.core.names import gitlab_variable
from mintmark.core.providers import PROVIDERS
from mintmark.core.records import OPERATOR, Issuer
from mintmark.core.trust import parse_issuer
from mintmark.core.trust_warnings import issuer_warnings
from mintmark.service.trust import requires_fields


@click.group()
def issuer() -> None:
    """Trust identity providers."""


issuer.add_command(check)


@issuer.command(
    epilog="\b\nExamples:\n  mintmark issuer add acme gitlab --provider gitlab \\\n"
    "      --url https://gitlab.example.com --projects 'acme-*'\n"
    "  mintmark issuer add acme github --provider github \\\n"
    "      --url https://token.actions.githubusercontent.com --projects '*'"
)
@click.argument("registry")
@click.argument("name")
@click.option(
    "--provider", required=True, type=click.Choice([p.slug for p in PROVIDERS]), help="The kind of CI system."
)
@click.option("--url", required=True, help="The issuer, exactly as its tokens' iss spells it.")
@click.option("--projects", multiple=True, required=True, help="Pattern of the projects it may publish; '*' for all.")
@click.option("--server", help="Host of the CI server, where its issuer is configured apart from it.")
@click.option("--algorithm", "algorithms", multiple=True, help="Allowed signature algorithm. Default: RS256.")
@click.option("--network", "networks", multiple=True, help="Private network where its documents may be fetched.")
@click.option("--allow-http", is_flag=True, help="Fetch its documents without TLS.")
@click.option("--ca-file", help="Certificates to trust for it instead of the system's (PEM).")
@click.option("--jwks-file", help="A static key set; nothing is fetched then.")
@click.option("--audience", help="The audience its tokens have, where no job can ask for this index's.")
@click.option("--remint", is_flag=True, help="A job may exchange the same identity token again.")
@click.pass_context
def add(ctx: click.Context, /, registry: str, name: str, **options: object) -> None:
    """Trust the issuer at --url in REGISTRY, under the name NAME."""
    wanted = {key.replace("_", "-"): value for key, value in options.items() if value}
    wanted |= {key: list(value) for key, value in wanted.items() if isinstance(value, tuple)}
    parsed = parse_issuer(name, wanted, host_of(settings_of(ctx)), read_text(Path.cwd()))
    with_index(ctx, lambda index: index.trust.add_issuer(registry, parsed, OPERATOR))
    click.echo(f"{registry} now trusts {parsed.url} for {', '.join(parsed.projects)}.")
    for warning in issuer_warnings(parsed):
        click.echo(f"Note: {warning}", err=True)
    click.echo(f"Next: mintmark publisher add {registry} PROJECT --issuer {name} FIELD=VALUE …")
    click.echo(f"Fields: {requires_fields(parsed.provider)}.")


@issuer.command("list", epilog="\b\nExample:\n  mintmark issuer list acme")
@click.argument("registry", required=False)
@as_json
@click.pass_context
def list_(ctx: click.Context, registry: str | None, as_json: bool) -> None:
    """List the trusted issuers, of one REGISTRY or all."""
    found = with_index(ctx, lambda index: index.trust.overview(registry))
    rows = [(home, each) for home, issuers, _ in found for each in issuers]
    if as_json:
        print_json(
            [
                {
                    "registry": home.slug,
                    "name": i.name,
                    "provider": i.provider,
                    "url": i.url,
                    "projects": i.projects,
                    "enabled": i.enabled,
                    "audience": i.audience,
                    "remint": i.remint,
                }
                for home, i in rows
            ]
        )
        return
    print_table(
        ("REGISTRY", "NAME", "PROVIDER", "URL", "PROJECTS", "STATE"),
        [(r.slug, i.name, i.provider, i.url, ", ".join(i.projects), "on" if i.enabled else "off") for r, i in rows],
        "No issuer is trusted yet. Add one with `mintmark issuer add`.",
    )


@issuer.command(epilog="\b\nExample:\n  mintmark issuer remove acme gitlab")
@click.argument("registry")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, registry: str, name: str) -> None:
    """Stop trusting an issuer; its publishers go too.

    Credentials minted through it end at once.
    """
    with_index(ctx, lambda index: index.trust.remove_issuer(registry, name, OPERATOR))
    click.echo(f"{registry} no longer trusts {name}.")


def _changing(name: str, text: str, change: Callable[[Issuer], Issuer], done: str) -> click.Command:
    """A command that changes one trust entry."""

    @issuer.command(name, help=text, epilog=f"\b\nExample:\n  mintmark issuer {name} acme gitlab")
    @click.argument("registry")
    @click.argument("issuer_name", metavar="NAME")
    @click.pass_context
    def command(ctx: click.Context, registry: str, issuer_name: str) -> None:
        with_index(ctx, lambda index: index.trust.change_issuer(registry, issuer_name, change, OPERATOR))
        click.echo(done.format(registry=registry, name=issuer_name))

    return command


def _next_epoch(former: int) -> int:
    # Entries with equal sources share a cache, which compares epochs: two entries must never count alike.
    return max(former + 1, int(time()))


enable = _changing("enable", "Trust it again.", lambda i: replace(i, enabled=True), "{registry} trusts {name} again.")
disable = _changing(
    "disable",
    "Refuse its tokens; credentials minted from them end at once.",
    lambda i: replace(i, enabled=False),
    "{registry} refuses tokens of {name} from now on.",
)
refresh = _changing(
    "refresh",
    "Fetch its keys anew, in every process.",
    lambda i: replace(i, keys_epoch=_next_epoch(i.keys_epoch)),
    "The keys of {name} are fetched anew.",
)
purge_keys = _changing(
    "purge-keys",
    "Forget its keys at once, as after a leak; fetch them anew.",
    lambda i: replace(i, purge_epoch=_next_epoch(i.purge_epoch)),
    "The keys of {name} are forgotten.",
)


@issuer.command(epilog="\b\nExample:\n  mintmark issuer guide")
@click.pass_context
def guide(ctx: click.Context) -> None:
    """Print what a CI job of each kind needs to publish."""
    settings = settings_of(ctx)
    audience = settings.host_audience
    click.echo(f"uv, pdm and maturin ask {settings.base_url} for the audience {audience}.\n")
    click.echo("GitLab (.gitlab-ci.yml), in the job that publishes:\n")
    click.echo(f"  id_tokens:\n    {gitlab_variable(audience)}:\n      aud: {audience}\n")
    click.echo("GitHub Actions, in the job that publishes:\n")
    click.echo("  permissions:\n    id-token: write\n")
    click.echo("Buildkite, in the step that publishes, if its publisher has ids:\n")
    click.echo("  env:\n    BUILDKITE_OIDC_TOKEN_CLAIMS: organization_id,pipeline_id\n")
    click.echo("CircleCI: nothing. uv asks the `circleci` command that every job has.\n")
    click.echo("Forgejo Actions, in the job that publishes:\n")
    click.echo("  enable-openid-connect: true\n")
    _guide_unknown(audience)
    click.echo(f"Then: uv publish --publish-url {settings.base_url}/REGISTRY/legacy/")


def _guide_unknown(audience: str) -> None:
    """CI systems that uv does not look for, and what makes it find the token all the same."""
    for title, what, token in (
        ("Bitbucket Pipelines", f"in the step: oidc: {{audiences: [{audience}]}}", "$BITBUCKET_STEP_OIDC_TOKEN"),
        ("Jenkins", f"a credential of the kind OpenID Connect id token with the audience {audience}", "$ID_TOKEN"),
        ("Codefresh", f"the step obtain-oidc-id-token with the argument AUDIENCE: {audience}", "$ID_TOKEN"),
        ("Kubernetes", f"a projected serviceAccountToken with audience: {audience}", '$(cat "$ID_TOKEN_FILE")'),
    ):
        click.echo(f"{title}, {what}; in the shell before uv:\n")
        click.echo(f'  export GITLAB_CI=true {gitlab_variable(audience)}="{token}"\n')
