"""Dataflows and everything around them. No model code.

autolabel.py, ocr_backfill.py   the two dataflows
flow.py, job.py, run.py         how a dataflow is written, the table of jobs, one run

A row passes through
    sources/      list the source, freeze the manifest
    pages/        bytes -> upright page images, in a sandbox
    decisions/    pure rules: outcome and reasons of a row
    engine/       Ray: cluster, pools, workers, waves, progress
    runs/         the run directory: shards, locks, leases

A finished run is used by
    truth/ calibration/ evaluation/ diff/ review/ curation/ report/ export/

All stand on
    storage/      local files, S3, archives
    measures/     numbers only: intervals, error rates, thresholds

serving/ is `nightjar serve`. README.md has the diagram. `lint-imports` keeps the order.
"""
