"""Names for the faults of obstore.

obstore has one exception for all faults without a class of their own, among them every fault of a
listing. The status and the service's error code are only in its text, in this form:
``Server returned non-2xx status code: 404 Not Found: <?xml ...><Error><Code>NoSuchBucket</Code>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, InvalidPathError, UnauthenticatedError

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import (
    BucketMissing,
    Conflict,
    CredentialsRefused,
    TransientFailure,
)

_STATUS = re.compile(r"status code: (\d{3})|\(code: (\d{3})\)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_BODY = re.compile(r"<(?:\?xml|Error).*</Error>", re.DOTALL)
_WORDS = re.compile(r"<Message>([^<\n]*)")
#: Beginning of a second text that repeats the first with Rust's names.
_DEBUG = "\n\nDebug source:"

#: No token by any of Azure's ways, or no account. Google's faults are an UnauthenticatedError.
_NO_TOKEN = re.compile(
    r"Generic MicrosoftAzure error: (?:Error performing token request|Error getting token response"
    r"|Error reading federated token|'az account|Failed to parse azure cli|Invalid Access Key"
    r"|Account must be specified)"
)
#: Errors about who asks, not about what is asked for.
_CREDENTIAL_CODES = {
    *("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
    *("AccountIsDisabled", "KeyBasedAuthenticationNotPermitted"),
    "AuthorizationFailure",  # Azure: a firewall; Azurite: a wrong key
    *("ExpiredToken", "InvalidSecurity", "AuthenticationRequired"),
    *("AccountProblem", "UserProjectAccountProblem", "SignatureDoesNotMatch"),  # Google
}
_BUCKET_CODES = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_CONFLICT_CODES = {"BlobAlreadyExists", "ConditionNotMet", "PreconditionFailed"}
_ARCHIVED = {"BlobArchived", "BlobBeingRehydrated"}


@contextmanager
def failures_of(uri: str) -> Iterator[None]:
    """Turn obstore's exceptions into ItemFailure with the right kind."""
    try:
        yield
    except FileNotFoundError as error:  # obstore's exception for a 404
        raise _named(uri, error) from error
    except (InvalidPathError, ValueError) as error:  # keys such as a//b and a/../b
        text = str(error).partition(_DEBUG)[0]
        message = f"{uri}: {text}. Such keys cannot be read; rename the object or move it away"
        raise ItemFailure(FailureKind.STORAGE_ERROR, message) from error
    except BaseError as error:
        raise _named(uri, error) from error


def _named(uri: str, error: Exception) -> ItemFailure:
    whole = str(error)
    text = whole.partition(_DEBUG)[0].strip()
    found = _STATUS.search(text)
    status = int(found[1] or found[2]) if found else 0
    code = _CODE.search(text)
    message = f"{uri}: {_BODY.sub(_said, text)}"
    if isinstance(error, UnauthenticatedError) or _NO_TOKEN.match(text):
        return CredentialsRefused(message)
    if status == 0:
        if "HTTP error" not in text and "body" not in text:
            return ItemFailure(FailureKind.STORAGE_ERROR, message)  # a wrong setting, a wrong key
        if "certificate" in whole.lower():  # a retry cannot fix it
            return ItemFailure(FailureKind.STORAGE_ERROR, f"{message}: certificate")
        return TransientFailure(message)
    return _refused(status, code[1] if code else "", message)


def _said(body: re.Match[str]) -> str:
    """Code and message of an error reply."""
    found = [one[1] for one in (_CODE.search(body[0]), _WORDS.search(body[0])) if one]
    return ": ".join(found)


def _refused(status: int, code: str, message: str) -> ItemFailure:
    """The failure for an error reply of the service."""
    if status == 401 or code in _CREDENTIAL_CODES:
        return CredentialsRefused(message)
    if code in _BUCKET_CODES:
        return BucketMissing(message)
    if status == 412 or code in _CONFLICT_CODES:
        return Conflict(message)
    if code in _ARCHIVED or status == 501:
        return ItemFailure(FailureKind.STORAGE_ERROR, message)
    if status >= 500 or status in (408, 409, 429):
        return TransientFailure(message)
    kind = {
        403: FailureKind.PERMISSION_DENIED,
        404: FailureKind.OBJECT_MISSING,
        416: FailureKind.EMPTY_FILE,  # a range that starts at 0 fails only for an empty object
    }.get(status, FailureKind.STORAGE_ERROR)
    return ItemFailure(kind, message)
