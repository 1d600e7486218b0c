"""`nightjar evaluate`: a run against truth.

labels.py   AP, precision and recall of boxes and masks, by class and slice
pages.py    character and word error rates of texts, by outcome and slice
scores.py   the few figures that a run summary shows
"""
