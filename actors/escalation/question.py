"""One question to the model, as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from actors.endpoint.settings import EndpointConfig
from actors.escalation.regions import JpegCrop


@dataclass(frozen=True)
class Question:
    """An image and its prompt."""

    picture: JpegCrop
    prompt: str

    def body(self, config: EndpointConfig) -> bytes:
        """The JSON of the request."""
        url = "data:image/jpeg;base64," + base64.b64encode(self.picture.jpeg).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": self.prompt},
        ]
        keys = {
            "model": config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            **config.extra_body,
        }
        return json.dumps({key: value for key, value in keys.items() if value is not None}).encode()

    def max_tokens(self, config: EndpointConfig) -> int:
        """Maximum tokens of the answer."""
        return config.max_tokens

    def prompt_tokens(self) -> int:
        """Upper estimate, for endpoints that do not count tokens: a token per 28 x 28 pixels, as
        in Qwen-VL, and per character of the prompt."""
        return self.picture.width * self.picture.height // 784 + len(self.prompt)
