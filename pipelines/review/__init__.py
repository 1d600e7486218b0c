"""The review queue: out to people as a folder, back as answers beside the shards.

RUN/shards (review, failed) --export_review--> FOLDER: items.jsonl, images/, README.txt
                                                 | a person or a labelling tool fills it
RUN/reviewed/review-*.parquet <--import_review---+
                     | reviewed_rows
                     +--> truth for `nightjar calibrate`, labels for training

The run's shards are only ever read.
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
