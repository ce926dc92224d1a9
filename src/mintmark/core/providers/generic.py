"""Any issuer that no other table describes, with rules of the operator's own.

Every rule must hold, and one of them must say with `equals` which text a claim is: by that the publisher is found. The
operator also says which claim holds an id that is never given away, or that there is none: nobody else can know.
"""

import hashlib
import json
import re
from collections import deque
from typing import Any

from mintmark.core.errors import Rejected
from mintmark.core.providers.model import ClaimPath, Claims, Config, Field, IssuerShape, Lookup, Provider
from mintmark.core.rules import CHECKED_ANYWAY, EQUALS, PATH_MAX_KEYS, ClaimRule, canonical, parse_path, rules_of

RULES, IMMUTABLE, NO_IMMUTABLE = "rules", "immutable-id", "no-immutable-id"
# Of one token. A token of 16 KiB has room for more; a publisher's claim is not found behind as many others.
KEYS_MAX = 200
KEY_MAX_CHARACTERS = 255
_SUBJECT = ("sub",)


def _read_path(given: Any) -> str:
    """A name, or a list of keys as JSON."""
    path = parse_path(_unquoted(given), IMMUTABLE)
    if path[0] in CHECKED_ANYWAY:
        raise Rejected(
            "invalid-trust",
            f"{IMMUTABLE} cannot be {path[0]!r}.",
            hint="Name a claim that says who a job is, such as sub.",
        )
    return path[0] if len(path) == 1 and path[0][0] not in '"[' else json.dumps(path)


def _unquoted(given: Any) -> Any:
    if not isinstance(given, str) or given[0] not in '"[':
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        # No address of a claim, which is said by whoever reads it.
        return None


def _read_flag(given: Any) -> str:
    if not isinstance(given, bool) and given not in ("true", "false"):
        raise Rejected(
            "invalid-trust",
            f"{NO_IMMUTABLE} is neither true nor false.",
            hint=f"Write {NO_IMMUTABLE} = true where no claim holds an id that is never given away.",
        )
    return "true" if given is True or given == "true" else ""


def _check(config: Config) -> None:
    if IMMUTABLE in config and NO_IMMUTABLE in config:
        raise Rejected(
            "invalid-trust",
            f"Both {IMMUTABLE} and {NO_IMMUTABLE} are given.",
            hint=f"Leave {NO_IMMUTABLE} out where a claim holds an id that is never given away.",
        )
    _found_by(config)


def _found_by(config: Config) -> ClaimRule:
    """The rule by which a publisher is found: that of its immutable id, else of `sub`, else the one with most to say.

    Whoever has its claim is told what else does not match, so that it must not be one like `environment`.
    """
    rules = [each for each in rules_of(config[RULES]) if each.operator == EQUALS and isinstance(each.values[0], str)]
    if not rules:
        raise Rejected(
            "invalid-trust",
            "No rule says with equals which text a claim is, so the publisher would match many identities.",
            hint='Add one, for example claim = "sub" and equals = "team/widget".',
        )
    wanted = (*_pins(config), _SUBJECT)
    return min(
        rules,
        key=lambda each: (wanted.index(each.claim) if each.claim in wanted else len(wanted), -len(str(each.values[0]))),
    )


def _pins(config: Config) -> tuple[ClaimPath, ...]:
    given = config.get(IMMUTABLE)
    return (parse_path(_unquoted(given), IMMUTABLE),) if given else ()


def _key(path: ClaimPath, value: str) -> str:
    """For people, as far as it is short. That two claims may have one key does no harm: all rules are applied."""
    text = f"{'/'.join(path)}={value}"
    if len(text) <= KEY_MAX_CHARACTERS:
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _key_of_config(config: Config) -> str:
    rule = _found_by(config)
    return _key(rule.claim, str(rule.values[0]))


def _keys_of_config(config: Config) -> frozenset[str]:
    """Those of all the rules by which it could be found: another rule beside them may change which one it is."""
    return frozenset(
        _key(rule.claim, str(rule.values[0]))
        for rule in rules_of(config[RULES])
        if rule.operator == EQUALS and isinstance(rule.values[0], str)
    )


def _keys_of_claims(claims: Claims) -> tuple[str, ...]:
    """One for each string: `sub`, then those of the upper levels first, in the token's order."""
    found: dict[str, None] = {}
    # Not in the order of a set, which is another one in each process.
    names = sorted(claims, key=lambda name: name != _SUBJECT[0])
    waiting: deque[tuple[ClaimPath, Any]] = deque(
        ((name,), claims[name]) for name in names if name not in CHECKED_ANYWAY
    )
    while waiting and len(found) < KEYS_MAX:
        path, value = waiting.popleft()
        if isinstance(value, str) and value:
            found[_key(path, value)] = None
        elif isinstance(value, dict) and len(path) < PATH_MAX_KEYS:
            waiting.extend(((*path, name), inner) for name, inner in value.items())
    return tuple(sorted(found))


GENERIC = Provider(
    slug="generic",
    title="Any other issuer",
    docs_url="https://openid.net/specs/openid-connect-core-1_0.html#IDToken",
    checked="2026-11-20",
    issuer=IssuerShape(
        pattern=re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*/?"),
        examples=("https://ci.acme.example", "https://acme.example:8443/oidc/"),
        explanation="Whatever its tokens have as `iss`, with a slash at its end if there is one.",
    ),
    fields=(
        Field(
            RULES,
            "Rules",
            re.compile(r"\[.+\]"),
            '[{"claim":"sub","equals":"team/widget"}]',
            "What the claims must be: tables with `claim` and one of `equals`, `not-equals`, `in` and `matches`. All "
            "must hold, and one must be `equals` with a text.",
            required=True,
            key="rule",
            read=canonical,
        ),
        Field(
            IMMUTABLE,
            "Immutable id",
            re.compile(r".+"),
            "sub",
            "The claim with an id that nobody else ever gets, such as the number of a repository. Its value is learned "
            f"at the first use. Where there is no such claim, say `{NO_IMMUTABLE}` instead.",
            required=True,
            unless=NO_IMMUTABLE,
            immutable_id=True,
            read=_read_path,
        ),
        Field(
            NO_IMMUTABLE,
            "No immutable id",
            re.compile("true"),
            "true",
            f"Said instead of `{IMMUTABLE}` where no claim holds such an id: whoever gets a name that was given up can "
            "publish.",
            read=_read_flag,
        ),
    ),
    rules=(),
    rules_field=RULES,
    check=_check,
    lookup=Lookup(_SUBJECT, RULES),
    key_of_config=_key_of_config,
    keys_of_config=_keys_of_config,
    keys_of_claims=_keys_of_claims,
    known=frozenset([*CHECKED_ANYWAY, "sub"]),
    # Publishers differ in them.
    pins=(),
    pins_of_config=_pins,
    ref=None,
    protected_ref=None,
    max_lifetime_seconds=3600,
    requires_jti=False,
    job_language="sh",
    job="""\
# In any job that can get an identity token with the audience AUDIENCE
uv build
# uv does not know such an issuer, but takes the token from this variable as in GitLab CI.
export GITLAB_CI=true VARIABLE="$ID_TOKEN"
uv publish --publish-url https://HOST/acme/legacy/
""",
)
