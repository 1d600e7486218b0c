"""A request that an endpoint answers if key, account, path and model are right: an empty page."""

from __future__ import annotations

import base64
import functools
import json

import cv2
import numpy as np

from actors.endpoint.settings import EndpointConfig

#: Tokens of the answer; its text does not matter.
TRIAL_TOKENS = 16
#: Pixels of each side; models refuse pages below 28 pixels.
_SIDE = 112
_PROMPT = "Is this page empty? Answer yes or no."


class Trial:
    """A white page, as the actors send pages (`actors.endpoint.request.EndpointRequest`)."""

    def body(self, config: EndpointConfig) -> bytes:
        """The JSON of the request."""
        url = "data:image/jpeg;base64," + base64.b64encode(_white_page()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": _PROMPT},
        ]
        keys = {
            "model": config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": TRIAL_TOKENS,
            **config.extra_body,
        }
        return json.dumps({key: value for key, value in keys.items() if value is not None}).encode()

    def max_tokens(self, config: EndpointConfig) -> int:
        """Maximum tokens of the answer."""
        return TRIAL_TOKENS

    def prompt_tokens(self) -> int:
        """Upper estimate, for endpoints that do not count tokens: a token per 28 x 28 pixels, and
        per character of the prompt."""
        return _SIDE * _SIDE // 784 + len(_PROMPT)


@functools.cache
def _white_page() -> bytes:
    page = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    return cv2.imencode(".jpg", page)[1].tobytes()
