"""The recipe of the weights: words, rendered lines, training. No reader imports it."""
