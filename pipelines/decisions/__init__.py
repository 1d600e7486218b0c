"""Pure rules: which reader, which outcome, which reasons. No input or output, no model.

routing.py, error_model.py   what a page's reading is worth
settling.py                  the steps of `ocr_backfill`
escalation.py                whether a second reading is believed
triage.py                    outcome of a labelled image
surfaces.py, readers.py      which surface a page shows, and who reads it
"""
