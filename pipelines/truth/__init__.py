"""Truth files, the row that each of them belongs to, and a run beside its truth.

labels.py                    a run of autolabel beside its truth (RunBesideTruth)
label_truth.py               true objects by image, from coco.py or reviewed.py
detections_judged.py         which labels are right, by pycocotools; average_precision.py
label_match.py               the same for one image at a time
pages.py, page_match.py      pages beside their true texts, from page_files.py, hocr.py
slices.py                    parts of a run, by any column
"""
