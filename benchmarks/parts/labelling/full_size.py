"""Make full-size checkpoints with random, seeded weights, for speed measurements.

    python benchmarks/parts/labelling/full_size.py DIR
    python benchmarks/labelling.py --model DIR/detector --segmenter DIR/segmenter --count 3

Sizes: grounding-dino-tiny (172 M parameters, 800 px) and sam2.1-hiera-tiny (39 M, 1024 px), the
library's default configs. The tokenizer is the pocket detector's. Their boxes and masks are random.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoProcessor, Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[2] / "tests/resources"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    from tiny_grounding_dino import full_model

    full_model("grounding-dino").save_pretrained(out / "detector")
    processor = AutoProcessor.from_pretrained(HERE.parents[2] / "configs/autolabel/pocket/detector")
    processor.image_processor.size = {"shortest_edge": 800, "longest_edge": 1333}
    processor.save_pretrained(out / "detector")

    torch.manual_seed(0)
    Sam2Model(Sam2Config()).eval().save_pretrained(out / "segmenter")
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(out / "segmenter")
    print(f"written: {out}/detector, {out}/segmenter")


if __name__ == "__main__":
    main()
