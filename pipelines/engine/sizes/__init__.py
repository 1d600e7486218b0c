"""How many workers and how large batches fit.

room.py          what the machine or the cluster has
gpus.py          what `num_gpus: auto` becomes; models and pools that disagree about a GPU
pools.py         sizes of the worker pools
batch_sizes.py   batch sizes of a model, by growing batches (`nightjar plan --measure`)
"""
