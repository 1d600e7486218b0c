"""Models and calibrations on s3:// become local files, once per machine, complete or absent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import write_config
from doubles.counting_reader import CountingReader
from doubles.troubled_s3 import TroubledS3
from PIL import Image

from actors.contract import Pool, Settings
from actors.failures import SetupError
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.errors import ConfigError
from pipelines.flow import Stage
from pipelines.job import load_job
from pipelines.storage.local_copies import local_copy, localized

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


class Inner(Settings):
    weights: Path


class Outer(Settings):
    model: str
    inner: Inner
    words: int = 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTJAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_below(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_settings_at_any_depth_are_given_local_files_and_known_by_their_uri(
    bucket: Bucket,
) -> None:
    bucket.put("models/dino/config.json", b"{}")
    bucket.put("models/dino/parts/model.safetensors", b"weights")
    weights = bucket.put("det.onnx", b"onnx")
    folder = f"s3://{bucket.name}/models/dino"
    outer = Outer(model=folder, inner=Inner(weights=Path(weights)))
    here = localized(outer, bucket.settings)
    assert files_below(Path(here.settings.model)) == {
        "config.json": b"{}",
        "parts/model.safetensors": b"weights",
    }
    assert here.settings.inner.weights.read_bytes() == b"onnx"
    assert here.settings.inner.weights.suffix == ".onnx"
    assert here.settings.words == 3
    assert here.named(f"loaded from {here.settings.model}") == f"loaded from {folder}"


def test_workers_that_start_together_download_once(bucket: Bucket, trouble: TroubledS3) -> None:
    uri = bucket.put("model.bin", b"x" * 100_000)
    settings = bucket.settings.model_copy(update={"endpoint_url": trouble.url})
    with ThreadPoolExecutor(4) as workers:
        copies = set(workers.map(lambda _: local_copy(uri, settings), range(4)))
    assert len(copies) == 1
    assert sum(line.startswith("GET") and "list-type" not in line for line in trouble.requests) == 1


def test_another_version_is_another_copy(bucket: Bucket, cache: Path) -> None:
    uri = bucket.put("m/a", b"one")
    first = local_copy(f"s3://{bucket.name}/m", bucket.settings)
    bucket.put("m/a", b"two")
    second = local_copy(f"s3://{bucket.name}/m/", bucket.settings)
    assert (first / "a").read_bytes() == b"one", "a worker may still read it"
    assert (second / "a").read_bytes() == b"two"
    assert local_copy(uri, bucket.settings).read_bytes() == b"two"
    assert not list(cache.rglob("*.part"))


def test_half_a_download_is_no_copy(bucket: Bucket, trouble: TroubledS3, cache: Path) -> None:
    bucket.put("m/a", b"one")
    bucket.put("m/b", b"two")
    changes = {"endpoint_url": trouble.url, "max_attempts": 1}
    settings = bucket.settings.model_copy(update=changes)
    trouble.plan(f"GET /{bucket.name}/m/b", "cut")
    with pytest.raises(SetupError, match="cannot download s3://") as caught:
        local_copy(f"s3://{bucket.name}/m", settings)
    assert "endpoint" in caught.value.remedy
    unfinished = [path.suffix for path in (cache / "copies").iterdir() if path.is_dir()]
    assert unfinished == [".part"]
    copy = local_copy(f"s3://{bucket.name}/m", settings)
    assert files_below(copy) == {"a": b"one", "b": b"two"}


def test_missing_objects_and_names_that_leave_the_folder_are_refused(
    bucket: Bucket, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="no object at"):
        local_copy(f"s3://{bucket.name}/nothing", bucket.settings)
    bucket.put("m/../../../escaped", b"x")
    with pytest.raises(SetupError, match="has a name that leaves its folder"):
        local_copy(f"s3://{bucket.name}/m", bucket.settings)
    assert not (tmp_path / "escaped").exists()


def test_settings_without_a_bucket_are_left_as_they_are() -> None:
    stage = Stage(CountingReader, Inner(weights=Path("a")), Pool())
    assert stage.here().settings is stage.config


def test_a_reader_loads_its_network_from_a_bucket(bucket: Bucket) -> None:
    import rapidocr

    (network,) = Path(rapidocr.__file__).parent.glob("models/*det*.onnx")
    uri = bucket.put("nets/det.onnx", network.read_bytes())
    stage = Stage(RapidOcr, RapidOcrConfig(det_model=Path(uri)), Pool(), storage=bucket.settings)
    here = stage.here()
    reader = stage.actor(here.settings)
    provenance = {name: here.named(text) for name, text in reader.provenance().items()}
    assert str(here.settings.det_model) not in str(provenance)
    picture = np.full((64, 200), 255, np.uint8)
    file = pa.BufferOutputStream()
    Image.fromarray(picture).save(file, "PNG")
    columns: dict[str, Any] = {"row_id": [1], "image": [file.getvalue().to_pybytes()]}
    for column in reader.reads:
        columns.setdefault(column.name, [None])
    schema = pa.schema([("row_id", pa.int64()), *reader.reads])
    out = reader(pa.table(columns, schema=schema))
    assert out["ocr_failure"].to_pylist() == [None]


def test_a_calibration_is_read_from_a_bucket_by_the_storage_of_its_config(
    bucket: Bucket, tmp_path: Path
) -> None:
    uri = bucket.put("calibration/rapid.json", b'{"version": 99}')
    storage = {"endpoint_url": bucket.settings.endpoint_url, "addressing": "path"}
    accept = {"target_cer": 0.02, "calibration": uri}
    path = write_config(tmp_path, tmp_path, storage=storage, routing={"accept": accept})
    with pytest.raises(ConfigError, match="has format version 99"):
        load_job(path)
    accept["calibration"] = f"{uri}.bak"
    path = write_config(tmp_path, tmp_path, storage=storage, routing={"accept": accept})
    with pytest.raises(ConfigError, match="no calibration file s3://"):
        load_job(path)
