"""A finished run as one HTML file: counts over all rows, and a gallery of a bounded sample.

    scan.py        one pass over the shards: tally.py counts, sample.py chooses rows
    cards.py       the chosen rows: pictures.py fetches their pictures, shapes.py draws the findings
    charts.py      histograms, curves, and the throughput of night.py, as coordinates
    facts.py       versions, weights, config; calibrated.py, evaluated.py: results of other commands
    write.py       renders everything with page.html.j2 into one file

Memory and file size do not grow with the number of rows. All content of a run is treated as
hostile: the template escapes it, and a content security policy blocks all loading.
"""
