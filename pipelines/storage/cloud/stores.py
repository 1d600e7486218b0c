"""obstore's stores with our settings, and where credentials come from.

Google: google.auth's chain, because it also knows workload identity federation. Azure: obstore's
own chain.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore

from pipelines.storage.objects import StorageSettings

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSCredential, RetryConfig

Store = GCSStore | AzureStore

#: Our own timeouts and retries apply: obstore's limit is 30 s for a whole request.
_WHOLE_REQUEST = timedelta(days=1)
_ONE_TRY: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(0)}
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


def _options(settings: StorageSettings) -> ClientConfig:
    return {
        "allow_http": (settings.endpoint_url or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        "read_timeout": timedelta(seconds=settings.read_timeout_s),
        "timeout": _WHOLE_REQUEST,
    }


def google_store(bucket: str, settings: StorageSettings) -> GCSStore:
    """A bucket of Google. Raises obstore's exceptions."""
    place: dict[str, Any] = {"base_url": settings.endpoint_url} if settings.endpoint_url else {}
    return GCSStore(
        bucket,
        **place,
        skip_signature=settings.anonymous,
        credential_provider=_no_token if settings.anonymous else _GoogleTokens(),
        client_options=_options(settings),
        retry_config=_ONE_TRY,
    )


def _no_token() -> GCSCredential:
    """For writes to an emulator: obstore asks for a token there, also if it signs nothing."""
    return {"token": "anonymous", "expires_at": None}


class _GoogleTokens:
    """Tokens of google.auth's default chain; obstore asks for one when the last has expired."""

    def __init__(self) -> None:
        self._credentials: Any = None

    def __call__(self) -> GCSCredential:
        # Imported late: 0.3 s, which readers of other stores need not wait for.
        import google.auth
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=[_SCOPE])
        self._credentials.refresh(Request())
        expiry = self._credentials.expiry
        return {
            "token": self._credentials.token,
            "expires_at": expiry.replace(tzinfo=UTC) if expiry else None,
        }


def azure_store(bucket: str, settings: StorageSettings) -> AzureStore:
    """A container of Azure. Raises obstore's exceptions."""
    place: AzureConfig = {}
    if settings.endpoint_url:
        place = {"endpoint": settings.endpoint_url}
        if account := account_of(settings.endpoint_url):
            place["account_name"] = account
    if settings.anonymous:
        place["skip_signature"] = True
    return AzureStore(
        bucket, config=place, client_options=_options(settings), retry_config=_ONE_TRY
    )


def account_of(endpoint: str) -> str:
    """The account in ``https://ACCOUNT.blob.core.windows.net`` or ``http://emulator/ACCOUNT``."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    return host.partition(".")[0] if ".blob." in host else parts.path.strip("/")
