"""Faults of a config in the words of its file, and keys that stand twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from pipelines.config_files import read_yaml
from pipelines.errors import ConfigError
from pipelines.job import load_job

QUICKSTART = REPOSITORY / "configs/autolabel/quickstart.yaml"
CLASSES = "detector.ontology.classes"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (f"{CLASSES}.cat={{prompts: cat}}", f"{CLASSES}.cat.prompts: must be a list: [cat]"),
        (
            f"{CLASSES}.cat={{prompts: 'cat, big cat'}}",
            f"{CLASSES}.cat.prompts: must be a list: [cat, big cat] (got 'cat, big cat')",
        ),
        (f"{CLASSES}.cat={{prompts: }}", f"{CLASSES}.cat.prompts: must be a list, such as [cat,"),
        (f"{CLASSES}.cat={{prompts: {{cat: }}}}", f"{CLASSES}.cat.prompts: must be a list: [cat]"),
        (
            f"{CLASSES}.cat={{prompts: [no]}}",
            f"{CLASSES}.cat.prompts.0: must be text: quote it: 'no'",
        ),
        (
            f"{CLASSES}.cat={{prompts: [on]}}",
            f"{CLASSES}.cat.prompts.0: must be text: quote it: 'yes'",
        ),
        (
            f"{CLASSES}.cat={{prompts: [7]}}",
            f"{CLASSES}.cat.prompts.0: must be text: quote it: '7'",
        ),
        (
            f"{CLASSES}.cat={{prompts: [2026-12-01]}}",
            f"{CLASSES}.cat.prompts.0: must be text: quote it: '2026-12-01'",
        ),
        (
            f"{CLASSES}=[cat, big dog]",
            f"{CLASSES}: must be a group of keys: {{cat: {{}}, big dog: {{}}}}",
        ),
        (f"{CLASSES}=", f"{CLASSES}: must be a group of keys (got nothing)"),
        (
            f"{CLASSES}.cat=[kitten]",
            f"{CLASSES}.cat: must be a group of keys (prompts, threshold, min_size)",
        ),
        (
            f"{CLASSES}.cat={{threshold: '0,3'}}",
            f"{CLASSES}.cat.threshold: must be a number, with a point: 0.3 (got '0,3')",
        ),
        (f"{CLASSES}.cat={{threshold: 30}}", f"{CLASSES}.cat.threshold: must be below 1 (got 30)"),
        (
            f"{CLASSES}.cat={{prompt: [a]}}",
            f"{CLASSES}.cat.prompt: unknown key; did you mean 'prompts'?",
        ),
        (
            "detector.ontology.exclusive=[red star, blue star]",
            "detector.ontology.exclusive: must be a list of lists: [[red star, blue star]]",
        ),
        (
            "detector.ontology.exclusive=red star",
            "detector.ontology.exclusive: must be a list: [red",
        ),
        # a key of two types is one fault
        (
            "detector_pool.num_gpus=often",
            "detector_pool.num_gpus: must be a number or 'auto' (got 'often')",
        ),
        (
            "detector.dtype=fp16",
            "detector.dtype: must be 'auto', 'float32', 'bfloat16' or 'float16'",
        ),
        ("detector.tiles=640", "detector.tiles: must be a group of keys (size, overlap) (got 640)"),
        ("ray.num_cpus=1.5", "ray.num_cpus: must be a whole number (got 1.5)"),
        ("ray.num_cpus=0", "ray.num_cpus: must be at least 1 (got 0)"),
        ("source=photos", "source: must be a group of keys (path, "),
        ("source.path=", "source.path: must be text (got nothing)"),
        ("source.recursive=perhaps", "source.recursive: must be true or false (got 'perhaps')"),
        ("source.exclude=truth.json", "source.exclude: must be a list: [truth.json]"),
        ("detector_pool.batch_size=no", "detector_pool.batch_size: must be at least 1 (got false)"),
    ],
)
def test_a_fault_says_what_the_file_must_have(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(QUICKSTART, [override])
    _, *faults = caught.value.message.splitlines()
    assert len(faults) == 1, faults
    assert faults[0].startswith(f"  {line}"), faults[0]


def read(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3", ["the key 'a' stands twice, in lines 1 and 3: remove one"]),
        (
            "classes:\n  cat: {threshold: 0.4}\n  dog:\n  # again\n  'cat':\n",
            ["classes: the key 'cat' stands twice, in lines 2 and 5: remove one"],
        ),
        ("a: {k: 1, k: 2}", ["a: the key 'k' stands twice, in line 1: remove one"]),
        ("a:\n- {k: 1,\n   k: 2}", ["a.0: the key 'k' stands twice, in lines 2 and 3"]),
        ("a: &x {k: 1, k: 2}\nb: *x", ["a: the key 'k' stands twice, in line 1: remove one"]),
        (
            "a: 1\nb: {k: , k: }\na: 2",
            ["b: the key 'k' stands twice", "the key 'a' stands twice, in lines 1 and 3"],
        ),
        (
            "classes:\n  no:\n",
            ["classes: the key no in line 2 is a truth value in YAML: quote it: 'no'"],
        ),
        ("{on: 1}", ["the key on in line 1 is a truth value in YAML: quote it: 'on'"]),
        ("classes: {1: , 2.50: }", ["quote it: '1'", "quote it: '2.50'"]),
        ("classes: {012: }", ["the key 012 in line 1 is a number in YAML: quote it: '012'"]),
        ("classes: {null: }", ["the key null in line 1 is nothing in YAML: quote it: 'null'"]),
        (
            "2026-12-01: x",
            ["the key 2026-12-01 in line 1 is a date in YAML: quote it: '2026-12-01'"],
        ),
        ("? [a, b]\n: 1", ["a key in line 1 is a list or a group: a key must be a word"]),
    ],
)
def test_keys_that_yaml_would_lose_are_refused(tmp_path: Path, text: str, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    _, *faults = caught.value.message.splitlines()
    assert len(faults) == len(lines), faults
    assert all(line in fault for line, fault in zip(lines, faults, strict=True)), faults


def test_quoted_words_and_merged_groups_are_read_as_ever(tmp_path: Path) -> None:
    text = "base: &b {k: 1, 'no': 2}\nown: {<<: *b, k: 3}\nagain: *b\nlists: [*b, *b]"
    assert read(tmp_path, text) == {
        "base": {"k": 1, "no": 2},
        "own": {"k": 3, "no": 2},
        "again": {"k": 1, "no": 2},
        "lists": [{"k": 1, "no": 2}] * 2,
    }


@pytest.mark.parametrize("value", ["[", "{a: 1, a: 2}", "{no: 1}", "a: b: c"])
def test_an_override_is_read_as_strictly(value: str) -> None:
    with pytest.raises(ConfigError, match=r"--set fetch\.dpi=.*not valid YAML"):
        load_job(QUICKSTART, [f"fetch.dpi={value}"])
