"""Labels as COCO, YOLO, Pascal VOC or JSON lines."""
