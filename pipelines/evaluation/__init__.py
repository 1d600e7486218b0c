"""`nightjar evaluate`: compare a run with its truth.

labels.py   AP, precision and recall of boxes and masks, by class and slice
pages.py    character and word error rates of texts, by outcome and slice
scores.py   the figures of the run summary
"""
