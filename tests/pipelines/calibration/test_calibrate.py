"""Calibration: finds relations in the scores, invents none, leaks nothing, fails closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_runs import labelled_run, row_of
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from actors.lines import LINES
from pipelines.calibration.fit import folds_of, logistic
from pipelines.calibration.held_out import curves, reliability, routed, shares, with_other_rules
from pipelines.calibration.pages import CONFIDENCE, FEWEST, Report, calibrate, choose
from pipelines.calibration.sample import Sample, Samples, read_samples
from pipelines.config import result_keys
from pipelines.decisions.error_model import FEATURES, Calibration, load_calibration, page_features
from pipelines.decisions.routing import Evidence, RoutingConfig, measured_and_doubted
from pipelines.errors import ConfigError
from pipelines.job import load_job
from pipelines.measures.intervals import Pages
from pipelines.measures.promises import Promise
from pipelines.measures.risk import SHARES, curve, floor_for, share_at
from pipelines.review.importing import REVIEWED
from pipelines.runs.directory import RunDir
from pipelines.truth.page_files import read_truth

TARGET = 0.01


def samples_of(folder: Path, files: int, **kinds: Any) -> Samples:
    run = labelled_run(folder, files, **kinds)
    return read_samples(run, read_truth(folder / "truth"))


def sample_of(folder: Path, files: int, **kinds: Any) -> Sample:
    return samples_of(folder, files, **kinds).by_engine["rapid_ocr"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample_of(tmp_path_factory.mktemp("signal"), 80)


@pytest.fixture(scope="module")
def report(sample: Sample) -> Report:
    return calibrate(sample, TARGET, repeats=2)


@pytest.fixture(scope="module")
def calibration(report: Report) -> Calibration:
    return report.calibration


def page(
    lines: list[tuple[str, float | None]],
    covered: float | None = 0.95,
    outside: float | None = None,
) -> dict[str, Any]:
    """A page as `measured_and_doubted` sees it."""
    row = row_of(1, "x", [(text, score or 0.0) for text, score in lines])
    read = [line | {"score": score} for line, (_, score) in zip(row["lines"], lines, strict=True)]
    return {
        "ocr_lines": read,
        "ocr_engine": "rapid_ocr 3.10",
        "ink_share": 0.1,
        "ink_covered": covered,
        "text_outside": outside,
    }


GOOD = [("a line of some length", 0.995)] * 15


def accepting(calibration: Calibration, floor: float) -> dict[str, Any]:
    """The group `accept` with this floor."""
    promise = Promise(floor=floor, promised_cer=0.1, expected_cer=0.1, share=0.5)
    return {
        "target_cer": 0.1,
        "calibration": [calibration.model_copy(update={"promises": (promise,)})],
    }


def judged(
    calibration: Calibration,
    lines: list[Any],
    floor: float,
    covered: float | None = 0.95,
    outside: float | None = None,
) -> tuple[Evidence, list[str]]:
    accept = accepting(calibration, floor)
    return measured_and_doubted(
        page(lines, covered, outside), RoutingConfig.model_validate({"accept": accept})
    )


@pytest.fixture(scope="module")
def with_missed_text(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of every fourth page a fifth was half seen and not read; its lines are as good as any."""
    sample = sample_of(tmp_path_factory.mktemp("missed"), 60, missed=True)
    return calibrate(sample, 0.05, repeats=1)


def test_text_that_was_not_found_is_weighed(with_missed_text: Report) -> None:
    made = with_missed_text
    calibration = made.calibration
    assert calibration.weighs("text_risk")
    found = [judged(calibration, GOOD, 0.05, outside=share) for share in (0.0, 0.01, 0.1)]
    rates = [evidence.expected_cer for evidence, _ in found]
    assert rates == sorted(rates)
    assert [why for _, why in found] == [[], [], ["expected_cer_above_floor"]]
    for unlike_the_sample in (
        {"outside": 0.9},
        {"outside": None},
        {"outside": 0.03, "covered": 0.3},
    ):
        assert judged(calibration, GOOD, 1.0, **unlike_the_sample)[1] == ["expected_cer_unknown"]
    illustrated = judged(calibration, GOOD, 1.0, outside=0.0, covered=0.3)  # drawings are ink
    assert illustrated[1] == []
    naive = -made.sample.mean_scores
    truth = made.sample.pages.errors / made.sample.pages.characters
    assert spearmanr(made.trial.expected[0], truth)[0] > spearmanr(naive, truth)[0] + 0.2


def test_a_relation_is_found_and_beats_the_mean_score(report: Report) -> None:
    pages = report.sample.pages
    truth = pages.errors / pages.characters
    ours = spearmanr(report.trial.expected[0], truth).statistic
    naive = spearmanr(-report.sample.mean_scores, truth).statistic
    assert ours > 0.8
    assert ours > naive + 0.05
    found = curves(report)
    for escalated in (0.4, 0.5):
        assert found.saved.at(1 - escalated).low > 0
    assert shares(report, TARGET).gained.value > 0
    assert "this calibration gains nothing" not in " ".join(report.warnings)


def test_the_floor_keeps_what_it_promises_on_files_that_it_has_not_seen(
    report: Report, tmp_path: Path
) -> None:
    fresh = sample_of(tmp_path, 60, seed=99)
    made = report.calibration
    assert made.floor is not None
    expected = np.array(
        [
            np.inf if (found := _expected(made, fresh, n)) is None else found
            for n in range(len(fresh))
        ]
    )
    accepted = expected <= made.floor
    cer = fresh.pages.errors[accepted].sum() / fresh.pages.characters[accepted].sum()
    assert made.held_out.cer is not None
    assert cer < 1.5 * TARGET
    assert accepted.mean() == pytest.approx(made.held_out.share_accepted.value, abs=0.2)


def _expected(made: Calibration, sample: Sample, number: int) -> float | None:
    scores, lengths = sample.lines[number]
    lines = [{"text": "x" * n, "score": s} for s, n in zip(scores, lengths, strict=True)]
    return made.expected_cer(sample.evidence[number], lines)


def test_expected_rates_are_near_the_true_ones(report: Report) -> None:
    bins = reliability(report, count=4)
    assert [one.expected for one in bins] == sorted(one.expected for one in bins)
    for one in bins:
        assert one.observed.low * 0.7 <= one.expected <= one.observed.high * 1.3


def test_scores_without_signal_win_nothing(tmp_path: Path) -> None:
    blind = calibrate(sample_of(tmp_path, 60, signal=False), TARGET, repeats=1)
    saved = curves(blind).saved
    for escalated in (0.2, 0.3, 0.4, 0.5):
        assert saved.at(1 - escalated).low < 0.0, "no better than the mean score"
    held = blind.calibration.held_out
    assert held.share_accepted.value < 0.3, "the target is met by few pages, and by luck"


def test_too_few_files_are_refused_and_few_are_called_few(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"5 files with truth .*: too few to cross-validate"):
        calibrate(sample_of(tmp_path / "5", FEWEST - 1), TARGET)
    few = calibrate(sample_of(tmp_path / "8", FEWEST + 2), TARGET, repeats=1)
    assert any("8 files are a small sample" in warning for warning in few.warnings)
    assert few.calibration.files == 8


def test_more_files_make_narrower_intervals(report: Report, tmp_path: Path) -> None:
    small = calibrate(sample_of(tmp_path, 20), 0.05, repeats=1).calibration.held_out.cer_of_all
    large = report.calibration.held_out.cer_of_all
    assert small.low < small.value < small.high
    assert large.high - large.low < small.high - small.low


def test_nothing_of_a_held_out_file_reaches_its_judge(sample: Sample) -> None:
    train, held = next(folds_of(sample.pages.files, 5))
    before = choose(sample, train, TARGET, CONFIDENCE, 0)
    spoiled = _spoiled(sample, held)
    after = choose(spoiled, train, TARGET, CONFIDENCE, 0)
    assert (after.model, after.promises) == (before.model, before.promises)
    assert np.array_equal(after.judge(spoiled, held)[0], before.judge(sample, held)[0])
    everything = np.arange(len(sample))
    every = choose(spoiled, everything, TARGET, CONFIDENCE, 0)
    assert every.model != choose(sample, everything, TARGET, CONFIDENCE, 0).model, "it matters"


def _spoiled(sample: Sample, held: Any) -> Sample:
    """The same, with all truth of some pages turned round."""
    other = replace(sample)
    errors, wrong = sample.pages.errors.copy(), sample.seen.errors.copy()
    errors[held] = sample.pages.characters[held] - errors[held]
    there = np.isin(sample.seen.page, held)
    wrong[there] = sample.seen.characters[there] - wrong[there]
    other.pages = replace(sample.pages, errors=errors)
    other.seen = replace(sample.seen, errors=wrong)
    return other


def test_the_logistic_fit_is_the_one_that_scikit_learn_finds() -> None:
    random = np.random.default_rng(0)
    scaled = random.normal(size=(60, 3))
    wrong = np.clip(1 / (1 + np.exp(4 - scaled @ [1.0, 0.5, 0.0])), 1e-4, 1)
    weight = random.uniform(0.2, 3, 60)
    slopes, intercept = logistic(scaled, wrong, weight)
    reference = LogisticRegression(C=10, tol=1e-10, max_iter=1000).fit(
        np.concatenate([scaled, scaled]),
        np.repeat([1, 0], 60),
        sample_weight=np.concatenate([weight * wrong, weight * (1 - wrong)]),
    )
    assert slopes == pytest.approx(reference.coef_[0], abs=1e-5)
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
def test_the_logistic_fit_ends_on_pages_that_are_all_or_nothing(spread: float) -> None:
    scaled = np.linspace(-spread, spread, 40)[:, None]
    wrong = np.where(scaled[:, 0] > 0, 1 - 1e-4, 1e-4)
    slopes, intercept = logistic(scaled, wrong, np.ones(40))
    assert np.isfinite([*slopes, intercept]).all()
    assert slopes[0] > 0
    assert intercept == pytest.approx(0, abs=1e-6)


def test_pages_of_one_file_stay_on_one_side() -> None:
    files = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 5])
    for train, held in folds_of(files, 0):
        assert not set(files[train]) & set(files[held])
        assert sorted([*train, *held]) == list(range(len(files)))


def test_a_page_worse_than_the_sample_fails_closed(calibration: Calibration) -> None:
    hopeless = [("a line of some length", 0.2)] * 15
    evidence, why = judged(calibration, hopeless, floor=1.0)
    assert evidence.expected_cer is None
    assert why == ["expected_cer_unknown"]
    good, none = judged(calibration, GOOD, floor=0.05)
    assert (none, good.expected_cer is not None) == ([], True)


@pytest.mark.parametrize(
    ("lines", "covered", "reason"),
    [
        ([("a line of some length", None)], 0.95, "no_scores"),
        ([*GOOD, ("unknown", None)], 0.95, "expected_cer_unknown"),
        ([*GOOD, *[("weak line of some length", 0.6)] * 9], 0.95, "expected_cer_above_floor"),
        ([], 0.95, "no_text_found"),
        (GOOD, None, "ink_not_covered"),
        (GOOD, 0.3, "ink_not_covered"),
        ([("T\ufffdT\ufffdL", 0.999)] * 9, 0.95, "garbled_text"),
    ],
)
def test_missing_or_bad_evidence_is_never_accepted(
    calibration: Calibration, lines: list[Any], covered: float | None, reason: str
) -> None:
    assert reason in judged(calibration, lines, 0.02, covered)[1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab ", min_size=1, max_size=30), st.floats(0.3, 1)), min_size=1),
    st.integers(0, 10**6),
    st.floats(0, 0.3),
)
def test_a_weaker_line_never_earns_trust(
    calibration: Calibration, lines: list[tuple[str, float]], which: int, drop: float
) -> None:
    def expected(read: list[tuple[str, float]]) -> float:
        found = judged(calibration, read, 1.0)[0].expected_cer
        return np.inf if found is None else found

    weaker = list(lines)
    text, score = weaker[which % len(lines)]
    weaker[which % len(lines)] = (text, score - drop)
    assert expected(weaker) >= expected(lines) - 1e-9


def test_useless_features_are_guards_only(tmp_path: Path) -> None:
    """Good pages only, none of whose scores say anything: the mean meets any target."""
    sample = sample_of(tmp_path, 40, signal=False)
    sample.pages = replace(sample.pages, errors=np.ones(len(sample)))
    made = calibrate(sample, 0.05, repeats=1).calibration
    assert made.floor is not None
    terrible = judged(made, [("a line of some length", 0.1)] * 15, floor=made.floor)
    assert terrible[1] == ["expected_cer_unknown"], "whatever the model has learnt"


def test_with_few_lines_the_mean_score_is_left(tmp_path: Path) -> None:
    sample = sample_of(tmp_path, 12)
    first = np.flatnonzero(sample.seen.page == 0)
    sample.seen = sample.seen.on(np.array([0]))
    made = calibrate(sample, 0.05, repeats=1).calibration
    assert (made.lines, made.sample_lines) == (None, len(first))
    assert "line_risk" not in made.features


@pytest.mark.parametrize("files", [6, 7])
def test_line_models_that_only_some_folds_can_fit_do_not_compete(
    tmp_path: Path, files: int
) -> None:
    """About 100 lines in all: some folds have enough to fit them, some have not."""
    sample = sample_of(tmp_path, files)
    kept = np.arange(len(sample.seen.scores)) % 20 < 20 * 105 // len(sample.seen.scores)
    sample.seen = type(sample.seen)(*(column[kept] for column in vars(sample.seen).values()))
    made = calibrate(sample, 0.05, repeats=1).calibration
    assert not made.weighs("line_risk")


def test_json_goes_out_and_comes_back(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "rapid_ocr.json"
    path.write_text(calibration.model_dump_json(indent=1))
    assert load_calibration(path) == calibration
    assert path.stat().st_size < 25_000


def _set(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda made: made | changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: [made], "it has no key version"),
        (lambda made: {k: v for k, v in made.items() if k != "version"}, "it has no key version"),
        (
            _set(version=1),
            "has format version 1, this Nightjar reads 2: run nightjar calibrate again",
        ),
        (_set(coefficients=[-1.0] * 9), "must have one number for each"),
        (lambda made: made | {"coefficients": [-1.0] * len(made["features"])}, "not be negative"),
        (lambda made: made | {"worst": [float("inf")] * len(made["features"])}, "finite number"),
        (lambda made: made | {"features": ["x"] * len(made["features"])}, "unknown features"),
        (_set(extra=1), "extra Extra inputs are not permitted"),
        (_set(lines=None), "line_risk needs the line model"),
    ],
)
def test_a_file_that_is_no_calibration_says_why(
    calibration: Calibration, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(change(json.loads(calibration.model_dump_json()))))
    with pytest.raises(ValueError, match=message):
        load_calibration(path)


def test_a_config_names_the_file_and_holds_what_is_in_it(
    calibration: Calibration, tmp_path: Path
) -> None:
    (tmp_path / "c.json").write_text(calibration.model_dump_json())
    accept: dict[str, Any] = {"target_cer": 0.02, "calibration": str(tmp_path / "c.json")}
    raw = {"job": "ocr_backfill", "run_dir": "r", "source": {"path": "p"}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw | {"routing": {"accept": accept}}))
    _, config = load_job(path, [])
    routing: RoutingConfig = config.routing  # type: ignore[attr-defined]
    assert routing.accept is not None
    assert routing.accept.calibration == (calibration,)
    guarded = json.dumps(result_keys(config))
    assert str(calibration.intercept) in guarded, "another calibration is another run"
    again = type(config).model_validate_json(config.model_dump_json())
    assert again == config, "run.json needs no file"
    path.write_text(yaml.safe_dump(raw | {"routing": {"accept": accept | {"calibration": "no"}}}))
    with pytest.raises(
        ConfigError, match="no calibration file no: make one with nightjar calibrate"
    ):
        load_job(path, [])
    accept["calibration"] = [accept["calibration"]] * 2
    path.write_text(yaml.safe_dump(raw | {"routing": {"accept": accept}}))
    with pytest.raises(ConfigError, match="one file for each engine"):
        load_job(path, [])


def test_an_engine_without_a_calibration_keeps_its_floors(calibration: Calibration) -> None:
    config = RoutingConfig.model_validate({"accept": accepting(calibration, 1.0)})
    weak = page([("a line of some length", 0.5)] * 9) | {"ocr_engine": "paddle_ocr 3"}
    evidence, why = measured_and_doubted(weak, config)
    assert evidence.expected_cer is None
    assert "mean_score_below_floor" in why


def test_pages_without_a_reading_are_counted_and_left_out(tmp_path: Path) -> None:
    run = labelled_run(tmp_path, 12)
    changes: dict[int, dict[str, Any]] = {
        0: {"outcome": "failed", "text_source": None, "lines": None, "evidence": None},
        1: {"text_source": "native", "lines_source": "native", "evidence": None},
        2: {"evidence": row_of(2, "2", [("", 0.9)])["evidence"], "lines": []},
        3: {"text_source": "vlm small-vl", "outcome": "vlm"},
    }
    rows = [row for path in run.shard_files() for row in pq.read_table(path).to_pylist()]
    _rewrite(run, [row | changes.get(row["row_id"], {}) for row in rows])
    found = read_samples(run, read_truth(tmp_path / "truth"))
    assert dict(found.left_out) == {
        "failed": 1,
        "not read by OCR": 1,
        "without text or scores": 1,
    }
    assert {engine: len(of) for engine, of in found.by_engine.items()} == {"rapid_ocr": 9}
    assert "vlm" in found.by_engine["rapid_ocr"].outcomes, "its lines are of the first reader"


def _rewrite(run: RunDir, rows: list[dict[str, Any]]) -> None:
    first, *others = run.shard_files()
    schema = pq.read_schema(first)
    pq.write_table(pa.Table.from_pylist(rows, schema), first)
    for path in others:
        path.unlink()


def test_answers_of_a_review_are_truth_and_their_bias_is_told(tmp_path: Path) -> None:
    run = labelled_run(tmp_path, 10)
    truths = {truth.name: truth for truth in read_truth(tmp_path / "truth")}
    texts = ["\n".join(x.text for x in truths[f"{n:03d}"].lines) for n in range(10)]
    answers = [
        {
            "row_id": number,
            "verdict": "reject" if number == 3 else "correct",
            "text": None
            if number == 3
            else "\n".join(x.text for x in truths[f"{number:03d}"].lines),
            "reviewed_at": "2026-11-21",
        }
        for number, text in enumerate(texts)
    ]
    (run.path / "reviewed").mkdir()
    pq.write_table(
        pa.Table.from_pylist(answers, REVIEWED), run.path / "reviewed" / "review-1.parquet"
    )
    found = read_samples(run, read_truth(run.path))
    assert dict(found.left_out) == {"rejected in review": 1}
    by_name = read_samples(run, [t for name, t in truths.items() if name != "003"])
    one, other = found.by_engine["rapid_ocr"], by_name.by_engine["rapid_ocr"]
    assert one.pages.errors == pytest.approx(other.pages.errors, abs=3), "with and without boxes"
    bias = "all truth comes from the review queue"
    assert not any(bias in warning for warning in calibrate(one, 0.05, repeats=1).warnings)
    one.outcomes = ["review"] * len(one)
    assert any(bias in warning for warning in calibrate(one, 0.05, repeats=1).warnings)


def test_a_run_of_another_job_or_without_pages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "a.txt").write_text("x")
    truth = read_truth(tmp_path / "truth")
    run = RunDir(tmp_path / "run")
    run.create()
    with pytest.raises(ConfigError, match="holds no finished page"):
        read_samples(run, truth)
    shard = {"row_id": [1], "uri": ["a"], "outcome": ["ocr"], "reasons": [["x"]]}
    pq.write_table(pa.table(shard), run.shards / "part-0.parquet")
    with pytest.raises(ConfigError, match=r"holds no readings: it lacks the columns .*lines"):
        read_samples(run, truth)


def test_curves_of_a_sample_that_can_be_worked_out_by_hand() -> None:
    pages = Pages(
        errors=np.array([0.0, 1, 2, 5, 12]),
        characters=np.full(5, 100.0),
        files=np.arange(5),
    )
    ranks = np.arange(5.0)
    assert floor_for(ranks, pages, 0.01) == 2, "0 + 1 + 2 of 300"
    assert floor_for(ranks, pages, 0.02) == 3
    assert floor_for(np.zeros(5), pages, 0.02) is None, "ties stand or fall together"
    once = np.ones((1, 5))
    assert share_at(ranks[None], pages, once, 0.02)[0] == pytest.approx(0.8)
    drawn = curve(ranks[None], pages, once)[0]
    assert drawn[[0, 4, 12, 16]] == pytest.approx([0, 0.005, 0.02, 0.04], abs=1e-9)
    assert SHARES[[0, 4, 12, 16]] == pytest.approx([0.2, 0.4, 0.8, 1.0])
    weights = pages.draws(0)
    assert weights.sum(axis=1) == pytest.approx(np.full(1000, 5))


def test_features_of_many_pages_are_those_of_each(with_missed_text: Report) -> None:
    sample, lines = with_missed_text.sample, with_missed_text.calibration.lines
    pages = np.array([7, 3, 20])
    found = sample.features(lines, pages)
    for row, page in zip(found, pages, strict=True):
        named = page_features(sample.evidence[page], *sample.lines[page], lines)
        assert row == pytest.approx([named[name] for name in FEATURES])
    without = sample.features(None, pages)
    assert np.isnan(without[:, FEATURES.index("line_risk")]).all()


def test_decisions_have_a_share_and_a_rate(sample: Sample) -> None:
    everything = routed(sample, np.ones(len(sample), bool), 0)
    assert (everything.share.value, everything.share.low) == (1.0, 1.0)
    assert everything.cer is not None
    assert everything.cer.value == pytest.approx(
        sample.pages.errors.sum() / sample.pages.characters.sum()
    )
    assert routed(sample, np.zeros(len(sample), bool), 0).cer is None


def test_rules_that_stay_take_their_share(report: Report) -> None:
    held = report.calibration.held_out
    free = with_other_rules(report)
    assert free.share == held.share_accepted, "this run has no other doubts"
    doubted = replace(report.sample)
    doubted.pages, doubted.seen = report.sample.pages, report.sample.seen
    doubted.reasons = [["ink_not_covered"] if n % 2 else [] for n in range(len(doubted))]
    fewer = with_other_rules(replace(report, sample=doubted)).share.value
    assert fewer == pytest.approx(held.share_accepted.value / 2, abs=0.1)


def test_lines_are_compared_one_by_one(sample: Sample) -> None:
    seen = sample.seen
    good = seen.scores > 0.84
    assert seen.errors[good].sum() / seen.characters[good].sum() < 0.01
    assert seen.errors[~good].sum() / seen.characters[~good].sum() == pytest.approx(0.15, abs=0.03)
    assert LINES.value_type.field("score").type == pa.float32()
