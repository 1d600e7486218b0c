"""`nightjar engines`: which engines can run on this machine, and under which licences.

catalogue.py   what is known of each engine beforehand: package, modules, licences
command.py     asks each environment, prints the table
probe.py       runs in an environment's Python: which modules it can import
weights.py     which weights are on disk

This file imports nothing: an environment that lacks half of its packages still runs probe.py.
"""
