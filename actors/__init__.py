"""Models held by workers. This package imports neither ray nor pipelines.

contract.py      what an actor is: settings in, a batch of rows in, the same rows with columns out
failures.py      the closed list of per-item failures
hub_model.py     the settings that all models of a hub share
checkpoints.py   a checkpoint's files, device and dtype; loading.py: the model of them
detection/       boxes: Grounding DINO, YOLO
segmentation/    masks: SAM 2, SAM 3
ocr/             text: RapidOCR, PaddleOCR, Surya
escalation/      a second reading by a vision-language model, over endpoint/
surfaces/        scene, document or screenshot
screens/         elements of screenshots: OmniParser
embedding/       one vector an image
images/          pixels: decoding, tiles, batches, run lengths
pocket/          the recipe of the small checkpoints in configs/

In each room the public file (`sam2.py`) holds the actor and `settings.py` its config. Settings
import nothing heavy: the driver reads them to check a config. All other files may need torch.
"""
