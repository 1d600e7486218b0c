"""What a person's look at an item is worth: the order of the review queue. Pure functions.

Pages and images are never in one queue, so their units differ: wrong characters of a page, doubtful
labels of an image. Only the order counts; no figure here decides what is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.failures import FailureValue
from actors.ontology import Ontology
from pipelines.decisions.evidence import EvidenceValue
from pipelines.decisions.triage import Label, Reason, TriageConfig

#: A page that shows ink and of which nothing was read: the median of the 63 receipts of SROIE is
#: 594 characters (375 to 953).
UNREAD_CHARACTERS = 600.0

#: Ink that no line explains counts at most this many times the characters that were read.
_MOST_MISSED = 9.0


def page_gain(
    evidence: EvidenceValue | None, reasons: Sequence[str], fetch_failure: FailureValue | None
) -> float:
    """Characters of a page that are expected to be wrong or missing.

    * ``evidence.expected_cer`` is there (the run was calibrated): characters x expected_cer.
    * else: characters x (1 - mean line score weighted by length), no score counting as 0, and the
      characters that are missing: characters x share / (1 - share), at most 9 x characters; the
      share is `text_outside` or, where the detector does not say, the unexplained ink.
    * nothing was read: 600; a blank page 0.
    * a page that could not be fetched: 0, since there is nothing to look at.

    Args:
        evidence: possibly of an older run, without `expected_cer` or `text_outside`.
        reasons, fetch_failure: of the row.
    """
    if fetch_failure is not None or "blank_page" in reasons:
        return 0.0
    if evidence is None or not evidence["characters"]:
        return UNREAD_CHARACTERS
    characters = float(evidence["characters"])
    expected = _known(evidence.get("expected_cer"))
    if expected is not None:
        return characters * expected
    return characters * (1 - (_known(evidence["mean_score"]) or 0.0)) + _missed(evidence)


def _missed(evidence: EvidenceValue) -> float:
    share = _known(evidence.get("text_outside"))
    if share is None:
        covered = _known(evidence["ink_covered"])
        share = 0.0 if covered is None else 1 - covered
    times = share / (1 - share) if share < 1 else math.inf
    return float(evidence["characters"]) * min(times, _MOST_MISSED)


def image_gain(
    labels: Sequence[Label] | None,
    reasons: Sequence[str],
    fetch_failure: FailureValue | None,
    ontology: Ontology,
    rules: TriageConfig,
) -> float:
    """How many labels of an image are in doubt.

    * A label that something speaks against counts 1.
    * If all that speaks against it is a score in the review band: 1 at the threshold of its class,
      falling to 0 at the upper end of the band.
    * Labels above `max_instances` count 1 each.
    * An image without any labelling 1; one that could not be fetched 0.

    Args:
        labels: their `class`, `score` and `reasons` are enough.
        reasons, fetch_failure: of the row.
        ontology, rules: of the run.
    """
    if fetch_failure is not None:
        return 0.0
    if labels is None:
        return 1.0
    kept = [label for label in labels if Reason.BELOW_THRESHOLD not in label["reasons"]]
    surplus = 0
    if Reason.TOO_MANY in reasons and rules.max_instances is not None:
        surplus = len(kept) - rules.max_instances
    return max(surplus, 0) + sum(_doubt(label, ontology, rules) for label in kept)


def _doubt(label: Label, ontology: Ontology, rules: TriageConfig) -> float:
    if not label["reasons"]:
        return 0.0
    score = _known(label["score"])
    in_band = label["reasons"] == [Reason.REVIEW_BAND] and label["class"] in ontology.classes
    if not in_band or score is None or rules.review_band is None:
        return 1.0
    above = (score - ontology.threshold_of(label["class"])) / rules.review_band
    return min(max(1 - above, 0.0), 1.0)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
