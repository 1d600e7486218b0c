"""Fixtures: a bucket of S3, Google Cloud Storage or Azure, each on a real server of its own.

A test module gets them by ``pytest_plugins = ["any_bucket"]``. ``any_bucket`` is on S3; a test for
all stores is marked ``@on_every_store``, a test for the others ``@on_clouds``.

S3 is moto's server, Azure is Azurite from npm (`make azurite`). Google's is fake-gcs-server behind
`doubles.lacks_xml_uploads`, which adds what obstore needs and that server lacks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

import pytest
from doubles.troubled_s3 import AZURE_CODES, GOOGLE_CODES, TroubledS3, troubled_s3
from gcs_server import GcsServer, running_gcs
from s3_server import Bucket, free_port, serving

from pipelines.storage.objects import StorageSettings

pytest_plugins = ["s3_server"]

on_every_store = pytest.mark.parametrize("any_bucket", ["s3", "gs", "az"], indirect=True)
on_clouds = pytest.mark.parametrize("any_bucket", ["gs", "az"], indirect=True)

_FIXTURES = {"s3": "amazon_bucket", "gs": "google_bucket", "az": "azure_bucket"}

ACCOUNT = "devstoreaccount1"
#: Azurite's well-known key, which its documentation prints.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AZURITE = Path(__file__).parents[2] / ".venvs/azurite/node_modules/azurite/dist/src/blob/main.js"


@dataclass
class AnyBucket:
    """A bucket of one test. `write` stores an object by other means than our own client."""

    scheme: str
    name: str
    settings: StorageSettings
    write: Callable[[str, bytes], None]
    codes: dict[str, tuple[int, str]] | None = None  #: error replies of this store, for a proxy

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.name}"

    def put(self, key: str, data: bytes) -> str:
        """Store an object; returns its URI."""
        self.write(key, data)
        return f"{self.uri}/{key}"


@pytest.fixture
def any_bucket(request: pytest.FixtureRequest) -> AnyBucket:
    """A fresh bucket of the store that the test's mark names."""
    scheme = getattr(request, "param", "s3")
    made: AnyBucket = request.getfixturevalue(_FIXTURES[scheme])
    return made


@pytest.fixture
def proxy(any_bucket: AnyBucket) -> Iterator[TroubledS3]:
    """The store of `any_bucket` behind a proxy that gets in the way as it is told."""
    assert any_bucket.settings.endpoint_url
    with troubled_s3(any_bucket.settings.endpoint_url, any_bucket.codes) as server:
        yield server


def through(proxy: TroubledS3, bucket: AnyBucket, attempts: int = 2) -> StorageSettings:
    """Settings that reach `bucket` by way of the proxy."""
    path = f"/{ACCOUNT}" if bucket.scheme == "az" else ""
    changes = {"endpoint_url": proxy.url + path, "max_attempts": attempts, "read_timeout_s": 1.0}
    return bucket.settings.model_copy(update=changes)


@pytest.fixture
def amazon_bucket(bucket: Bucket) -> AnyBucket:
    def write(key: str, data: bytes) -> None:
        bucket.put(key, data)

    return AnyBucket("s3", bucket.name, bucket.settings, write)


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    """A Google Cloud Storage server, with the metadata server that gives its tokens."""
    with running_gcs() as server:
        yield server


@pytest.fixture
def google_bucket(
    gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AnyBucket:
    """Its credentials come from a metadata server, as those of a workload identity in GKE."""
    for name, value in gcs_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-gcloud"))
    name = f"scans-{uuid.uuid4().hex[:12]}"
    gcs_server.make_bucket(name)
    settings = StorageSettings(endpoint_url=gcs_server.url, max_attempts=2)
    return AnyBucket(
        "gs", name, settings, lambda key, data: gcs_server.write(name, key, data), GOOGLE_CODES
    )


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The address of an Azure Blob Storage server."""
    node = shutil.which("node")
    if node is None or not _AZURITE.is_file():
        pytest.skip("no Azurite: `make azurite` installs it from npm (needs Node.js)")
    port = free_port()
    command = [node, str(_AZURITE), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck"]
    with serving(command, port):
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"


@pytest.fixture
def azure_bucket(azurite: str, monkeypatch: pytest.MonkeyPatch) -> AnyBucket:
    """Its credentials come from the environment; the account is in the address of the store."""
    for name in [one for one in os.environ if one.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    name = f"scans-{uuid.uuid4().hex[:12]}"
    _azure_put(azurite, f"/{name}", "restype=container", b"")

    def write(key: str, data: bytes) -> None:
        _azure_put(azurite, f"/{name}/{quote(key)}", "", data)

    settings = StorageSettings(endpoint_url=azurite, max_attempts=2)
    return AnyBucket("az", name, settings, write, AZURE_CODES)


def _azure_put(endpoint: str, path: str, query: str, body: bytes) -> None:
    """A signed PUT of a container or of a blob."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    headers |= {} if query else {"x-ms-blob-type": "BlockBlob"}
    named = "\n".join(f"{name}:{headers[name]}" for name in sorted(headers))
    length, kind = str(len(body)) if body else "", "application/octet-stream"
    what = f"/{ACCOUNT}/{ACCOUNT}{path}" + (f"\n{query.replace('=', ':')}" if query else "")
    text = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\n{named}\n{what}"
    signature = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    headers["Content-Type"] = kind
    url = f"{endpoint}{path}" + (f"?{query}" if query else "")
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")
    urllib.request.urlopen(request).close()
