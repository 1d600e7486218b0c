"""Pure rules: which reader, which outcome, which reasons. No input or output, no model.

routing.py, error_model.py   doubts about the reading of a page, expected error rate
evidence.py                  measurements of a reading
settling.py                  the steps of `ocr_backfill`, and the rows between them
finished.py                  the rows of finished shards
escalation.py                whether a second reading is accepted
triage.py                    outcome of a labelled image
surfaces.py, readers.py      which surface a page shows, and which engine reads it
upright.py                   size and picture of a page that its reader turned
detectors.py                 the choice of detectors
"""
