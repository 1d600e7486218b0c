"""The Ray Serve app behind `nightjar serve vlm`: /v1/chat/completions with pictures.

This app serves models of transformers, also on CPUs; Ray Serve LLM (vLLM) has its own app. There is
no streaming: the fallback reader needs whole answers. Pictures are data URLs in the request; the
server fetches nothing.
"""

# No postponed annotations here: FastAPI in the replica could not resolve `Request`.
import asyncio
import base64
import binascii
import hmac
import io
import time
import uuid
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field
from ray import serve

from pipelines.config_files import validated
from pipelines.serving.settings import ServeVlmConfig


class Part(BaseModel):
    """A text or a picture of a message."""

    type: Literal["text", "image_url"]
    text: str = ""
    image_url: dict[str, str] | None = None


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str | list[Part]


class ChatRequest(BaseModel):
    """The keys of OpenAI's request that are used; other keys are ignored."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool = False


class Refused(Exception):
    """A request that cannot be answered: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def opened(url: str, max_pixels: int) -> Image.Image:
    """The picture (RGB) of a data URL. Raises Refused."""
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise Refused(400, "pictures must be data URLs: data:image/...;base64,...")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(body, validate=True)))
        if image.width * image.height > max_pixels:
            raise Refused(
                400,
                f"a picture of {image.width} x {image.height} px has too many pixels, "
                f"more than {max_pixels:,}",
            )
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as why:
        raise Refused(400, f"a picture cannot be opened: {type(why).__name__}") from why


def chat(request: ChatRequest, config: ServeVlmConfig) -> tuple[list[dict[str, Any]], int]:
    """The messages for the model's processor, and the token limit. Raises Refused."""
    if request.model != (config.name or config.model):
        raise Refused(404, f"no model {request.model!r}; served: {config.name or config.model!r}")
    if request.stream:
        raise Refused(400, "streaming is not supported: set stream to false")
    asked = request.max_completion_tokens or request.max_tokens or config.max_tokens
    messages = [
        {"role": message.role, "content": _parts(message.content, config.max_pixels)}
        for message in request.messages
    ]
    return messages, min(asked, config.max_tokens)


def _parts(content: str | list[Part], max_pixels: int) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {"type": "text", "text": part.text}
        if part.type == "text"
        else {"type": "image", "image": opened((part.image_url or {}).get("url", ""), max_pixels)}
        for part in content
    ]


def _error(status: int, message: str) -> JSONResponse:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind}}, status_code=status)


# Serve copies the class and its names when it is decorated: all names must be defined above it.
api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@serve.deployment
@serve.ingress(api)
class VlmEndpoint:
    """One model. Concurrent requests are answered in batches."""

    def __init__(self, config: dict[str, Any], token: str | None) -> None:
        from actors.endpoint.vision_language import Question, VisionLanguage, VisionLanguageConfig

        self._config = ServeVlmConfig.model_validate(config)
        self._token = token
        self._question = Question
        names = ("model", "revision", "local_files_only")
        chosen = {name: config[name] for name in names}
        self._model = VisionLanguage(VisionLanguageConfig.model_validate(chosen))
        batched: Any = self._batched  # the attributes that serve.batch adds are not typed
        batched.set_max_batch_size(self._config.max_batch)
        batched.set_batch_wait_timeout_s(self._config.batch_wait_s)

    @serve.batch
    async def _batched(self, questions: list[Any]) -> list[Any]:
        return await asyncio.to_thread(self._model.answer, questions)

    @api.get("/health")
    async def health(self) -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/v1/models")
    async def models(self, request: Request) -> Any:
        if not self._known(request):
            return _error(401, "a token is required")
        name = self._config.name or self._config.model
        return {"object": "list", "data": [{"id": name, "object": "model"}]}

    @api.post("/v1/chat/completions")
    async def complete(self, request: Request) -> Any:
        if not self._known(request):
            return _error(401, "a token is required")
        try:
            messages, most = chat(await self._read(request), self._config)
        except Refused as why:
            return _error(why.status, str(why))
        answer = await self._batched(self._question(messages, most))
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._config.name or self._config.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer.text},
                    "finish_reason": answer.finish_reason,
                }
            ],
            "usage": {
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            },
        }

    def _known(self, request: Request) -> bool:
        if self._token is None:
            return True
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(sent.encode(), self._token.encode())

    async def _read(self, request: Request) -> ChatRequest:
        most = int(self._config.max_body_mb * 1e6)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                raise Refused(413, f"the request is larger than {self._config.max_body_mb:g} MB")
        try:
            return ChatRequest.model_validate_json(bytes(body))
        except ValueError as why:
            raise Refused(400, f"invalid chat request: {str(why)[:500]}") from why


def app(config: ServeVlmConfig, token: str | None) -> Any:
    """The Serve application of the transformers backend."""
    deployment: Any = VlmEndpoint  # mypy does not know the decorator's type
    return deployment.options(
        num_replicas=config.replicas,
        max_ongoing_requests=2 * config.max_batch,
        max_queued_requests=config.max_waiting,
        ray_actor_options={"num_cpus": config.num_cpus, "num_gpus": config.num_gpus},
    ).bind(config.model_dump(mode="json"), token)


def served(args: dict[str, Any]) -> Any:
    """The app for `import_path: pipelines.serving.vlm_endpoint:served` in a Serve config file.

    `args`: the keys of ServeVlmConfig. The file or KubeRay sets the host and port of Serve's
    proxy, so a token is always required. Raises ConfigError.
    """
    config = validated(ServeVlmConfig, {**args, "host": "0.0.0.0"}, "args")
    return app(config, config.token())


def vllm_app(config: ServeVlmConfig) -> Any:
    """The Serve application of Ray Serve LLM."""
    from ray.serve.llm import LLMConfig, build_openai_app

    name = config.name or config.model
    return build_openai_app(
        {
            "llm_configs": [
                LLMConfig(
                    model_loading_config={"model_id": name, "model_source": config.model},
                    deployment_config={"num_replicas": config.replicas},
                    engine_kwargs={"limit_mm_per_prompt": {"image": 1}},
                )
            ]
        }
    )
