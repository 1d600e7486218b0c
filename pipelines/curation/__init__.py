"""`nightjar curate`: a run as a FiftyOne dataset, and corrections back.

curate.py, dataset.py, samples.py, media.py, masks.py   run -> dataset
pull.py, changes.py, answers.py                         dataset -> RUN/reviewed
similarity.py                                           uniqueness, near duplicates, the map
"""
