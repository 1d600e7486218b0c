"""`nightjar serve vlm`: serve a vision-language model until Ctrl-C."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from jobs.console.ports import listen_error
from jobs.console.signals import interrupt_on_signals
from pipelines.config import RayConfig
from pipelines.config_files import read_yaml, validated
from pipelines.errors import ConfigError
from pipelines.serving.settings import ServeVlmConfig


def vlm(console: Console, path: Path, overrides: Sequence[str]) -> None:
    """Serve the model of the config with Ray Serve on this machine until Ctrl-C."""
    config = validated(ServeVlmConfig, read_yaml(path, overrides), str(path))
    token, backend = config.token(), config.settled_backend()
    _check_free(config)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    from ray import serve

    from pipelines.engine.cluster import cluster
    from pipelines.serving.vlm_endpoint import app, vllm_app

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    loading = Text(f"loading {config.model} ({backend})")
    with cluster(RayConfig()), console.status(loading) as status:
        interrupt_on_signals()
        serve.start(http_options={"host": config.host, "port": config.port})
        try:
            serve.run(
                vllm_app(config) if backend == "vllm" else app(config, token), route_prefix="/"
            )
            status.stop()
            guard = f"token from {config.token_env}" if token else "no token, loopback only"
            console.print(f"{config.name or config.model} at http://{config.host}:{config.port}/v1")
            console.print(f"{backend}, {config.replicas} replica(s), {guard}; Ctrl-C stops it.")
            while True:
                time.sleep(1)
        finally:
            serve.shutdown()


def _check_free(config: ServeVlmConfig) -> None:
    """Raises ConfigError if the port is in use.

    Ray Serve shares its port: a second server would silently take half of the first one's calls.
    """
    error = listen_error(config.host, config.port)
    address = f"{config.host}:{config.port}"
    if error and error.errno == errno.EADDRINUSE:
        raise ConfigError(f"{address} is in use", "stop the other server, or set another port")
    if error:
        raise ConfigError(f"cannot listen on {address}: {error}", "set another host or port")
