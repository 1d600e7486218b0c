"""The meaning of each column of a shard and of each field below it.

Keys are dotted (`instances.mask.counts`). Fields that several columns share (`fetch_failure`,
`ocr_failure`: the same struct) are here once, under the column that comes first in a shard.
"""

from __future__ import annotations

_EVERY_ROW = {
    "row_id": "id of the row: a hash of `uri`, `etag` and `page`, the same in every run",
    "uri": "path or `s3://` URI of the file; `ARCHIVE!/MEMBER` for a member of an archive",
    "page": "number of the page in the file, from 1",
    "pages": "pages of the file",
    "etag": "version of the file when the source was listed; a member has that of its archive",
    "bytes": "size of the file, or of the unpacked member",
    "kind": "type of the content: `pdf`, `jpeg`, `png`, `tiff`, `webp`, `bmp`, `gif`, `jp2`, "
    "`avif`, `heic`, `archive` "
    "(one that cannot be listed) or `unknown`",
    "width": "width of the upright image in pixels (EXIF orientation applied)",
    "height": "height of the upright image in pixels",
    "pixel_range": "values of the file that became black and white, for pictures of more than 8 "
    "bits; null for 8-bit pictures",
    "fetch_failure": "why the file could not be read or the page could not be rendered",
    "fetch_failure.kind": "one of the failure kinds",
    "fetch_failure.message": "details, at most 2,000 characters",
}

_PAGES = {
    "native_text": "text layer of a PDF page, if it is good enough; else null",
    "native_reason": "why the text layer was accepted or refused; null for images",
    "notes": "what the document holds that the page does not show: `text_layer_disagrees`, "
    "`hidden_text`, `dynamic_form`; on the first page `attachments`, and `portfolio` for a cover "
    "whose files are not read; `low_contrast` for a picture of more than 8 bits with under 32 "
    "grays",
    "surface": "what the page shows: `scene`, `document` or `screenshot`; null: not known",
    "surface_score": "score of the classifier's guess, 0 to 1; null if a rule decided",
    "reader": "the OCR engine that was chosen for the page",
    "rotation": "degrees clockwise by which the page was turned to read it upright; null: unknown",
    "script": "ISO 15924 code of most of the page's letters, such as `Latn` or `Cyrl`; null: "
    "unknown, or no letters",
    "ocr_failure": "why the OCR engine could not read the page or a part of it",
    "ocr_blocks": "layout blocks in reading order; null for pages that Surya did not read",
    "ocr_blocks.type": "type that the model gives it: `text`, `section_header`, `table`, ...",
    "ocr_blocks.box": "x0, y0, x1, y1 in pixels of the upright page; null: no place is known",
    "ocr_blocks.html": "text of the block as HTML; null: it was not read. A model wrote it: clean "
    "it before a browser shows it",
    "ocr_blocks.score": "mean probability of the answer's tokens, 0 to 1; null: unknown",
    "ocr_blocks.failure": "why `html` is null or in doubt",
    "ocr_blocks.failure.kind": "one of the failure kinds",
    "ocr_blocks.failure.message": "details, at most 2,000 characters",
    "evidence": "measurements of the OCR reading, which decide the outcome; null for native text "
    "and for pages that were not read",
    "evidence.lines": "number of text lines",
    "evidence.characters": "number of characters",
    "evidence.mean_score": "mean line score, weighted by length; null without any score",
    "evidence.p10_score": "10th percentile of the line scores",
    "evidence.min_score": "lowest line score",
    "evidence.weak_share": "share of the characters in weak lines (`floors.line_score`), 0 to 1",
    "evidence.unscored_lines": "lines with text and without a score",
    "evidence.garbled": "share of meaningless characters, 0 to 1: control, private and replacement "
    "characters, text in a wrong encoding, words of mixed scripts or without vowels",
    "evidence.ink_share": "share of the page that holds ink, 0 to 1",
    "evidence.ink_covered": "share of the ink inside found lines, 0 to 1; null without ink",
    "evidence.text_outside": "share of the detector's text probability outside the found lines, "
    "0 to 1; null if the engine does not give it",
    "evidence.unread_script": "share of the lines' width in scripts that the reader cannot read, 0 "
    "to 1; null: unknown",
    "evidence.unread_letters": "share of the lines' width with letters outside the reader's "
    "alphabet, such as Vietnamese, 0 to 1; null: unknown",
    "evidence.unread_ink": "share of the lines' ink that is too wide for the characters read, 0 to "
    "1; null: unknown",
    "evidence.order_doubt": "share of the lines whose place in the reading order depends on a few "
    "pixels, 0 to 1; null: unknown",
    "evidence.expected_cer": "expected share of wrong characters, 0 to 1; null without a "
    "calibration, and for pages worse than its sample",
    "vlm_text": "answer of the fallback reader, accepted or not; null: it was not asked, or gave "
    "no answer",
    "vlm_lines": "the lines of the first reader with the weak ones replaced (`mode: regions`); "
    "replaced lines have no score; null for whole pages",
    "vlm_model": "name of the model, as the endpoint gives it",
    "vlm_usage": "cost of the requests about this page; null: not asked",
    "vlm_usage.requests": "requests sent, retries included",
    "vlm_usage.prompt_tokens": "tokens of the prompts; null if the endpoint does not count them",
    "vlm_usage.completion_tokens": "tokens of the answers; null if the endpoint does not count "
    "them",
    "vlm_usage.money": "cost by the prices of `vlm.budget`; null without prices",
    "vlm_usage.seconds": "total seconds of the requests, without waits between attempts",
    "vlm_failure": "why there is no complete answer",
    "outcome": "`native_text`, `ocr`, `vlm` (accepted), `review` or `failed`",
    "reasons": "why the page waits for review or has failed; for `vlm`: why the fallback was "
    "asked; empty for other accepted pages",
    "text": "the final text, rows parted by newlines and cells of a row by tabs; null for failed "
    "pages",
    "text_source": "reader of `text`: `native`, an OCR engine with its version, or `vlm MODEL`",
    "lines": "lines of the first reader, in reading order, also if `text` is the fallback's; null "
    "for failed pages",
    "vlm_lines.text": "text of the line",
    "vlm_lines.score": "mean probability of the characters, 0 to 1; null: unknown",
    "vlm_lines.polygon": "x0, y0 to x3, y3, clockwise from the top left, in pixels of the upright "
    "page",
    "vlm_lines.row": "number of its row of text, from 0; cells of a row share it; null: unknown",
    "vlm_lines.column": "number of its column, from 0 at the left; null: unknown",
    "vlm_lines.script": "ISO 15924 code of its letters; null: unknown, or no letters",
    "lines_source": "reader of `lines`: `native`, or an OCR engine with its version",
    "elements": "elements of a screenshot, in reading order; null for other pages",
    "elements.type": "`icon` (with or without text in it) or `text`",
    "elements.box": "x0, y0, x1, y1 in pixels of the upright page",
    "elements.interactive": "whether it probably reacts to a click: true for icons, false for text",
    "elements.text": "text that the OCR engine read in it; null: none",
    "elements.caption": "a model's description of it; null if it has text, or if captions are off",
    "elements.score": "score of the detection, or of the text line, 0 to 1; null: unknown",
    "elements.content_score": "score of `text` or `caption`, 0 to 1; null: unknown",
    "parse_failure": "why a screenshot has no elements",
}

_IMAGES = {
    "embedding": "vector of unit length, for similarity; null for failed images",
    "embed_failure": "why there is no vector; changes neither labels nor outcome",
    "detect_failure": "why the detector gave no result",
    "segment_failure": "why the segmenter made no masks",
    "outcome": "`accepted`, `empty` (nothing found), `review` or `failed`",
    "reasons": "why the image waits for review or has failed; empty otherwise",
    "instances": "found objects, best first; empty: none found; null: the image failed",
    "instances.class": "name of the class, from the ontology",
    "instances.score": "score of the detector, 0 to 1",
    "instances.box": "x0, y0, x1, y1 in pixels of the upright image",
    "instances.mask": "mask as COCO run lengths, at the size of the upright image; null: no mask",
    "instances.mask.counts": "compressed run lengths, as pycocotools reads them",
    "instances.mask.size": "height, width in pixels",
    "instances.mask_iou": "the segmenter's estimate of the mask's IoU, 0 to 1; null: unknown",
    "instances.box_agreement": "IoU of the mask's tight box with `box`, 0 to 1; null without a "
    "mask",
    "instances.prompt": "the prompt of the class that scored best; null for models without text",
    "instances.source": "model that found it, such as `grounding_dino`",
    "instances.reasons": "why this object is in doubt; empty: no doubt. `below_threshold` marks a "
    "candidate, which is never a label",
}

_BY_JOB = {"ocr_backfill": _EVERY_ROW | _PAGES, "autolabel": _EVERY_ROW | _IMAGES}


def meaning(job: str, path: str) -> str:
    """The meaning of a column or field of a job's shards. Raises KeyError for one without."""
    return _BY_JOB[job][path]


def known(job: str) -> set[str]:
    """All paths with a meaning."""
    return set(_BY_JOB[job])
