"""Dataflows and everything around them. No model code.

autolabel.py, ocr_backfill.py   the two dataflows
flow.py, job.py, run.py         the notation of a dataflow, the table of jobs, one run
config.py, config_files.py      keys that every job has; YAML -> settings
errors.py                       errors that stop a run, and their exit codes

A row passes through
    sources/      list the source, write the manifest
    pages/        bytes -> upright page images, in a sandbox
    decisions/    pure rules: outcome and reasons of a row
    engine/       Ray: cluster, pools, workers, waves, progress
    runs/         the run directory: shards, locks, leases

A finished run is used by
    truth/ calibration/ evaluation/ diff/ review/ curation/ report/ export/

All stand on
    storage/      local files, buckets, archives
    measures/     numbers only: intervals, error rates, thresholds

serving/ is `nightjar serve`. README.md has the diagram. `lint-imports` keeps the order.
"""
