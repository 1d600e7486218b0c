"""The review queue: exported as a folder, answers imported into RUN/reviewed.

RUN/shards (review, failed) --export_review--> FOLDER: items.jsonl, images/, README.txt
                                                 | filled by a person or a labelling tool
RUN/reviewed/review-*.parquet <--import_review---+
                     | reviewed_rows
                     +--> truth for `nightjar calibrate`, labels for training

The shards are never changed.
"""

from __future__ import annotations

from pipelines.review.exporting import ReviewExport, export_review
from pipelines.review.importing import REVIEWED, ReviewImport, import_review, reviewed_rows

__all__ = [
    "REVIEWED",
    "ReviewExport",
    "ReviewImport",
    "export_review",
    "import_review",
    "reviewed_rows",
]
