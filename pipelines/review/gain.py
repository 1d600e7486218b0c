"""Expected gain from reviewing an item; orders the review queue. Pure functions.

The unit is wrong characters for a page, doubtful labels for an image: one queue holds either pages
or images. The gain only sorts; it never decides whether a row is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.failures import FailureValue
from actors.ontology import Ontology
from pipelines.decisions.evidence import EvidenceValue
from pipelines.decisions.triage import Label, Reason, TriageConfig

#: Characters of a page with ink but no text. 63 receipts of SROIE: median 594 (375 to 953).
UNREAD_CHARACTERS = 600.0

#: Missed text counts at most this many times the characters that were read.
_MOST_MISSED = 9.0
#: Share of a page's lines that the reader cannot read from which the text is worth nothing.
_MOSTLY = 0.5


def page_gain(
    evidence: EvidenceValue | None, reasons: Sequence[str], fetch_failure: FailureValue | None
) -> float:
    """Expected number of wrong or missing characters of a page.

    | page | gain |
    |---|---|
    | calibrated run (`expected_cer`) | characters x expected_cer |
    | otherwise | characters x (1 - mean score) + characters x min(share / (1 - share), 9) |
    | no text was read, or most lines are in a script that the reader cannot read | 600 |
    | blank, or could not be fetched | 0 |

    The mean score is weighted by line length; no score counts as 0. The share is `text_outside`,
    or the ink outside the lines if the detector does not report it.

    Args:
        evidence: an older run may lack `expected_cer` or `text_outside`.
        reasons, fetch_failure: of the row.
    """
    if fetch_failure is not None or "blank_page" in reasons:
        return 0.0
    if evidence is None or not evidence["characters"] or _mostly_unread(evidence):
        return UNREAD_CHARACTERS
    characters = float(evidence["characters"])
    expected = _known(evidence.get("expected_cer"))
    if expected is not None:
        return characters * expected
    return characters * (1 - (_known(evidence["mean_score"]) or 0.0)) + _missed(evidence)


def _mostly_unread(evidence: EvidenceValue) -> bool:
    shares = (evidence.get("unread_script"), evidence.get("unread_ink"))
    return any((_known(share) or 0.0) > _MOSTLY for share in shares)


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
    """Number of doubtful labels of an image.

    * A label with a reason for review counts 1.
    * If its only reason is a score in the review band, it counts 1 at the threshold of its class,
      falling to 0 at the upper end of the band.
    * Each label above `max_instances` counts 1.
    * An image that was not labelled counts 1; one that could not be fetched counts 0.

    Args:
        labels: only `class`, `score` and `reasons` are used.
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
