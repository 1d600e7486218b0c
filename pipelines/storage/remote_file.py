"""An object as a seekable file, to read zip archives and Parquet shards in place."""

from __future__ import annotations

import io

from pipelines.storage.bucket import Bucket
from pipelines.storage.objects import Entry


class RemoteFile(io.RawIOBase):
    """Each read is one range request for the same version of the object. Raises ItemFailure."""

    def __init__(self, bucket: Bucket, entry: Entry) -> None:
        self._bucket = bucket
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (0, self._at, self._entry.bytes)[whence]
        if origin + offset < 0:
            raise ValueError("a seek before the start of the file")
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io says Buffer
        end = min(self._at + len(buffer), self._entry.bytes)
        if end <= self._at:
            return 0
        data = self._bucket.get(
            self._entry.uri,
            max_bytes=len(buffer),
            etag=self._entry.etag,
            span=(self._at, end),
        )
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
