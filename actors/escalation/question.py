"""One question to the model, as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from actors.endpoint.settings import EndpointConfig
from actors.escalation.regions import JpegCrop


@dataclass(frozen=True)
class Question:
    """A picture and what is asked about it."""

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
        """Tokens that the answer may have."""
        return config.max_tokens

    def prompt_tokens(self) -> int:
        """An upper guess for endpoints that do not count: 28 x 28 pixels a token, as in Qwen-VL,
        and a token for each character of the prompt."""
        return self.picture.width * self.picture.height // 784 + len(self.prompt)
