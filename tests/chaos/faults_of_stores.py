"""An S3 store that is down, refuses a key, or loses requests and answers."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from doubles.troubled_s3 import troubled_s3

from chaos.door import Door
from chaos.fault import Fault, Record, failures
from chaos.store import KEYS, make_bucket, moto_server


class InBucket(Fault):
    """A run whose source is a bucket."""

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        self.environment = dict(KEYS)
        with (
            moto_server() as self.endpoint,
            self.way(self.endpoint) as url,
            super().world() as changes,
        ):
            make_bucket(self.endpoint, "scans", [*Path(changes["source"]["path"]).iterdir()])
            # Slowly, one after the other: the fault has to meet documents still to come.
            storage = {"endpoint_url": url, "addressing": "path"}
            fetch = {"storage": storage, "threads": 1, "read_ahead_mb": 1}
            yield changes | {"source": {"path": "s3://scans"}, "fetch": fetch}

    @contextlib.contextmanager
    def way(self, endpoint: str) -> Iterator[str]:
        """What stands between the run and the server at `endpoint`; yields its URL."""
        yield endpoint


class StoreDown(InBucket):
    """S3 gives no connection for 30 seconds: what is under way breaks, new ones are refused."""

    name, strikes = "S3 down", 1
    down_s = 30.0

    @contextlib.contextmanager
    def way(self, endpoint: str) -> Iterator[str]:
        self.door = Door(urlsplit(endpoint).port or 0, pace_s=0.2)
        yield f"http://127.0.0.1:{self.door.port}"

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.door.close()
        time.sleep(self.down_s)
        self.door.open()
        return True

    def told(self, record: Record) -> bool:
        """No page failed, and the fetcher says where the time went."""
        (session,) = record["sessions"]
        waited = session["stages"]["page_fetcher"]["seconds"]["fetch"]
        return record["codes"] == [0] and not failures(record) and waited > self.down_s


class KeyRevoked(InBucket):
    """S3 refuses every request for 10 seconds: a key that was revoked, rotated or expired."""

    name, strikes = "S3 refuses every key", 2
    down_s = 10.0

    @contextlib.contextmanager
    def way(self, endpoint: str) -> Iterator[str]:
        with troubled_s3(endpoint) as self.proxy:
            self.proxy.pace_s = 0.2
            yield self.proxy.url

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.proxy.everybody = chance.choice(
            ("denied", "expired", "invalid key", "bad signature", "all access disabled")
        )
        time.sleep(self.down_s)
        self.proxy.everybody = ""
        return True

    def told(self, record: Record) -> bool:
        return record["codes"] == [0] and not failures(record)


class UnreliableStore(InBucket):
    """S3 fails a quarter of all requests, for the source and for the run directory.

    Errors 500 and 503, connections that break before or after the request is done, half bodies.
    """

    name = "S3 requests that fail"
    share = 0.25

    @contextlib.contextmanager
    def way(self, endpoint: str) -> Iterator[str]:
        with troubled_s3(endpoint) as self.proxy:
            self.proxy.chance = random.Random(str(self.folder.parent))
            self.proxy.share = self.share
            yield self.proxy.url

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        with super().world() as changes:
            make_bucket(self.endpoint, "results")
            yield changes | {"run_dir": "s3://results/run"}

    def struck_besides(self) -> int:
        return self.proxy.met.total()

    def told(self, record: Record) -> bool:
        return record["codes"] == [0] and not failures(record)
