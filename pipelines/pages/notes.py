"""What a document holds that its pages do not show, or say otherwise than they show."""

from __future__ import annotations

from enum import StrEnum


class PageNote(StrEnum):
    """An observation about a page's document, in the column `notes`."""

    TEXT_LAYER_DISAGREES = "text_layer_disagrees"  # the layer says other letters than are drawn
    HIDDEN_TEXT = "hidden_text"  # the layer holds words that a viewer does not show
    DYNAMIC_FORM = "dynamic_form"  # an XFA form: the page is only a placeholder
    ATTACHMENTS = "attachments"  # the document has files attached; on its first page
    PORTFOLIO = "portfolio"  # the first page is the cover of attached files that are not read
    LOW_CONTRAST = "low_contrast"  # more than 8 bits, but under 32 grays after stretching
