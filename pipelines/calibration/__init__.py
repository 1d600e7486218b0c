"""`nightjar calibrate`: what scores are worth, learned from a labelled sample.

pages.py, sample.py, fit.py, held_out.py, plot.py   expected error rate of a page's text
labels.py, label_trial.py                           a threshold for each class
"""
