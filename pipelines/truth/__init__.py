"""Truth files, the rows that they belong to, and runs with their truth.

labels.py                    a run of autolabel with its truth (RunBesideTruth)
label_truth.py               true objects by image, from coco.py or reviewed.py
detections_judged.py         which labels are right, by pycocotools; average_precision.py
label_match.py               the same for one image at a time
pages.py, page_match.py      pages with their true texts, from page_files.py, hocr.py; trust.py
page_found.py                the errors of a page
slices.py                    slices of a run by any column
"""
