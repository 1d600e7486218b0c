"""Worker in autodistill's environment; `labelling_peers.py` starts it with a task as JSON.

`label` labels a folder as in autodistill's README. `forward` runs the same model on given pixels.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def label(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of `.label`; per image the boxes (xyxy in pixels), classes and scores."""
    from autodistill.detection import CaptionOntology
    from autodistill_grounding_dino import GroundingDINO

    base_model = GroundingDINO(
        ontology=CaptionOntology({name: name for name in task["names"]}),
        box_threshold=task["threshold"],
        text_threshold=min(task["threshold"], 0.25),
    )
    began = time.perf_counter()
    dataset = base_model.label(task["folder"], extension=".jpg", output_folder=task["out"])
    seconds = time.perf_counter() - began
    found = {
        Path(path).name: {
            "names": [dataset.classes[number] for number in boxes.class_id],
            "scores": boxes.confidence.tolist(),
            "boxes": boxes.xyxy.tolist(),
        }
        for path, boxes in dataset.annotations.items()
    }
    return {"seconds": seconds, "found": found}


def forward(task: dict[str, Any]) -> None:
    """Write logits (n_queries, n_tokens) and boxes (n_queries, 4, cxcywh 0..1) to the file `out`.

    The file `pixels` holds a float32 tensor (3, height, width), resized and normalised.
    """
    import torch
    from autodistill_grounding_dino.helpers import load_grounding_dino

    model = load_grounding_dino().model
    with torch.no_grad():
        said = model(torch.load(task["pixels"])[None], captions=[task["caption"]])
    torch.save((said["pred_logits"][0], said["pred_boxes"][0]), task["out"])


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    work = {"label": label, "forward": forward}[given["work"]]
    Path(given["answer"]).write_text(json.dumps(work(given)))
