"""Detection: boxes for the classes of an ontology.

grounding_dino.py, grounding/   detectors with text prompts
yolo.py, closed_set/            detectors with a fixed list of classes
boxes.py                        selects instances: thresholds, sizes, NMS, exclusive classes
"""
