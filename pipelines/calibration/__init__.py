"""`nightjar calibrate`: error rates and thresholds, learned from a labelled sample.

pages.py, sample.py, fit.py, held_out.py, plot.py   expected error rate of a page
labels.py, label_trial.py                           a threshold for each class
"""
