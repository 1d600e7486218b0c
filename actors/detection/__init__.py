"""Detection: boxes for the classes of an ontology.

grounding_dino.py, grounding/   detectors that take text
yolo.py, closed_set/            detectors with a fixed list of classes
boxes.py                        scores -> instances: thresholds, sizes, NMS, exclusive classes
"""
