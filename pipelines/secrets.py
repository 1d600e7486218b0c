"""What looks like a secret, and how it is hidden. One rule for the report, run.json, messages and
the package of `nightjar submit`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

HIDDEN = "(hidden)"
_SEALED = re.compile(r"\(hidden:[0-9a-f]+\)")

#: Ends of names: `api_key`, `X-Auth-Token`; not `api_key_env`, which names a variable.
_KEY = re.compile(
    r"(?:secret|passw(?:or)?d|passphrase|token|credential|authorization|cookie|signature"
    r"|(?:^|[-_]|api|access|private|account)key)s?$",
    re.IGNORECASE,
)
#: The names below this key are object classes, which a user chooses: `cookie`, `signature`, `key`.
_NOT_KEYS = frozenset({"classes"})

#: What it is -> its pattern.
_TEXTS = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "an AWS secret key": r"(?i:aws_secret_access_key|aws_session_token)[\"']?\s*[:=]\s*[\"']?"
    r"[A-Za-z0-9/+=]{40,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an API key (sk-...)": r"\bsk-[A-Za-z0-9_-]{32,}",
    "a Google API key": r"\bAIza[\w-]{35}\b",
    "a Slack token": r"\bxox[abeprs]-[0-9A-Za-z-]{10,}",
    "a PyPI or npm token": r"\b(?:pypi-[\w-]{50,}|npm_[A-Za-z0-9]{36}\b)",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "an Authorization header": r"(?i:\b(?:bearer|authorization[\"']?\s*[:=]\s*[\"']?basic)\s+)"
    r"[A-Za-z0-9._~+/=-]{20,}",
    "an Azure account key": r"\bAccountKey=[A-Za-z0-9+/]{80,}=*",
    "a signed URL": r"[?&](?i:sig|x-amz-signature|x-goog-signature)=[\w%+/=-]{32,}",
}
_NAMED = [(what, re.compile(pattern)) for what, pattern in _TEXTS.items()]
_ANY = re.compile("|".join(_TEXTS.values()))

#: User and password of a URL. `abfss://container@account` has neither.
_IN_URL = re.compile(r"(?<=://)[^/@\s:]*:[^/@\s]*@|(?<=http://)[^/@\s]+@|(?<=https://)[^/@\s]+@")


class Found(NamedTuple):
    """A secret in a text. `what`: what it looks like. `line`: from 1."""

    what: str
    line: int


def secret_in(text: str) -> Found | None:
    """The first secret in a text, by its form; None if there is none."""
    if not _ANY.search(text):
        return None
    found = [(match.start(), what) for what, one in _NAMED if (match := one.search(text))]
    start, what = min(found)
    return Found(what, text.count("\n", 0, start) + 1)


def masked(value: Any, key: str = "") -> Any:
    """A config, or a part of it, with `(hidden)` in place of each secret, sealed or not.

    Hidden are texts below a key that is named like a secret, user and password in URLs, and texts
    that have the form of a known secret. `key`: the name of the value itself.
    """
    return _walked(value, _hidden_key(key), _hide)


def sealed(value: Any, salt: str, key: str = "") -> Any:
    """The same with `(hidden:DIGEST)`: equal secrets have equal digests for one salt.

    Sealing twice changes nothing. A tuple becomes a list, as in JSON. scrypt makes guesses of a
    short password slow: 16 MiB and 50 ms each.
    """

    def seal(secret: str) -> str:
        if _SEALED.fullmatch(secret):
            return secret
        plain = secret.encode("utf-8", "surrogatepass")
        digest = hashlib.scrypt(plain, salt=salt.encode(), n=1 << 14, r=8, p=1, dklen=12)
        return f"(hidden:{digest.hex()})"

    return _walked(value, _hidden_key(key), seal)


def secret_keys(value: Any) -> list[str]:
    """Dotted keys of the secrets in a config."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = dict(enumerate(value)).items()
    else:
        return []
    found = []
    for name, part in parts:
        if _walked({name: part}, False, _hide) == {name: part}:
            continue
        below = secret_keys(part)
        found += [f"{name}.{one}" for one in below] or [str(name)]
    return found


def _hide(secret: str) -> str:
    return HIDDEN


def _hidden_key(name: str) -> bool:
    return bool(_KEY.search(name))


def _walked(value: Any, hide: bool, change: Callable[[str], str], free: bool = False) -> Any:
    """`value` with each secret changed. `hide`: all texts are secrets. `free`: keys are no keys."""
    if isinstance(value, Mapping):
        return {
            name: _walked(
                part,
                hide or (not free and _hidden_key(str(name))),
                change,
                free or str(name).rpartition(".")[2] in _NOT_KEYS,
            )
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_walked(part, hide, change, free) for part in value]
    if not isinstance(value, str) or not value:
        return value
    if hide:
        return change(value)
    plain = _IN_URL.sub(lambda match: change(match[0][:-1]) + "@", value)
    plain = _ANY.sub(lambda match: change(match[0]), plain)
    return _SEALED.sub(lambda match: change(match[0]), plain)
