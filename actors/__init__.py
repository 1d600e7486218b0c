"""Models that workers run. This package imports neither ray nor pipelines.

contract.py      the interface of an actor: it takes settings and batches of rows and adds columns
failures.py      the closed list of per-item failures
hub_model.py     settings shared by all hub checkpoints
checkpoints.py   a checkpoint's files, device and dtype
loading.py       loads transformers checkpoints
detection/       boxes: Grounding DINO, YOLO
segmentation/    masks: SAM 2, SAM 3
ocr/             text: RapidOCR, PaddleOCR, Surya
escalation/      a second reading by a vision-language model, over endpoint/
surfaces/        classifies images: scene, document or screenshot
screens/         elements of screenshots: OmniParser
embedding/       one vector per image
images/          pixels: decoding, tiles, batches, run lengths
pocket/          training code of the small checkpoints in configs/

In each package the public file (`sam2.py`) holds the actor and `settings.py` its config. Settings
import nothing heavy, because the driver reads them to check a config. All other files may need
torch.
"""
