"""A night from Azure's bucket to Google's, with an outage of the source in its middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from any_bucket import AnyBucket, through
from bad_files import many_pages
from conftest import Ended, write_config
from doubles.troubled_s3 import troubled_s3

from pipelines.runs.directory import RunDir
from pipelines.storage.paths import STORAGE_ENV

pytest_plugins = ["any_bucket"]


@pytest.mark.long
def test_a_night_goes_on_after_its_source_was_down(
    azure_bucket: AnyBucket,
    google_bucket: AnyBucket,
    tmp_path: Path,
    nightjar: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for page in many_pages(tmp_path, 16):
        azure_bucket.put(f"pages/{page.name}", page.read_bytes())
    endpoint = azure_bucket.settings.endpoint_url
    assert endpoint
    with troubled_s3(endpoint, azure_bucket.codes) as proxy:
        source = through(proxy, azure_bucket).model_dump(exclude_unset=True)
        config = write_config(
            tmp_path,
            f"{azure_bucket.uri}/pages",
            run_dir=f"{google_bucket.uri}/nights/one",
            storage=google_bucket.settings.model_dump(exclude_unset=True),
            fetch={"storage": source, "outage_s": 1.0, "threads": 1},
            fetch_pool={"num_cpus": 0.25, "batch_size": 4},
            sink={"rows_per_shard": 4, "flush_seconds": 0.5},
        )
        planned = nightjar("plan", config)
        assert planned.code == 0, planned.err
        proxy.down_after(f"GET /devstoreaccount1/{azure_bucket.name}/pages/", 6)
        stopped = nightjar("run", config)
        assert stopped.code == 3, stopped.err
        assert "of the source has not answered for" in stopped.err
        proxy.up()
        finished = nightjar("run", config)
    assert finished.code == 0, finished.err
    run = RunDir(f"{google_bucket.uri}/nights/one", google_bucket.settings)
    rows = [row for path in run.shard_files() for row in pq.read_table(path.open()).to_pylist()]
    assert Counter(Counter(row["row_id"] for row in rows).values()) == {1: 16}
    assert not [row for row in rows if row["fetch_failure"]]
    monkeypatch.setenv(STORAGE_ENV, google_bucket.settings.model_dump_json(exclude_unset=True))
    shown = nightjar("show", f"{google_bucket.uri}/nights/one")
    assert shown.code == 0, shown.err
    assert "16 of 16 pages" in shown.out
