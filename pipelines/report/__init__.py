"""A finished run as one HTML file: counts over all rows, and a bounded sample to look at.

    scan.py        one pass over the shards: tally.py counts, sample.py chooses rows
    cards.py       the chosen rows: pictures.py fetches them again, shapes.py draws what was found
    charts.py      histograms, lines, and night.py's rows per second, as coordinates
    facts.py       versions, weights, config; calibrated.py, evaluated.py: figures, if there are any
    write.py       all of it through page.html.j2 into one file

Nothing here grows with the rows of the run but the reading. All that comes from a run is taken for
hostile: the template escapes it, and a content security policy forbids the page to load anything.
"""
