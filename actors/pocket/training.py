"""A seeded, resumable training loop for one CPU thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

#: Computes the loss of one step, and named parts of it for the log. Its randomness must depend only
#: on the step's number, so that a resumed run uses the same batches.
LossOfStep = Callable[[int], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Number of steps, learning rate and other parameters of training."""

    steps: int
    peak_lr: float
    warmup: int = 200
    final_lr_share: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    log_every: int = 50
    save_every: int = 500

    def lr(self, step: int) -> float:
        """The learning rate: linear warm-up, then a cosine down to `final_lr_share` of the peak."""
        if step < self.warmup:
            return self.peak_lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        floor = self.final_lr_share
        return self.peak_lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def _groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Parameter groups: weight decay only for matrices, none for biases, norms and scales."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


class Trainer:
    """Trains `model` in place and keeps an exponential moving average of its weights."""

    def __init__(self, model: nn.Module, plan: Plan, checkpoint: Path) -> None:
        self.model = model
        self.plan = plan
        self.checkpoint = checkpoint
        self.optimizer = torch.optim.AdamW(_groups(model, plan.weight_decay), fused=True)
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.step = 0
        self.seconds = 0.0
        if checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step, self.seconds = state["step"], state["seconds"]
        torch.set_rng_state(state["rng"])
        print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        """Save the full state; the old file is replaced only by a complete one."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _follow(self) -> None:
        # A short memory at first; otherwise the average would keep the random initialisation.
        keep = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1 - keep)

    def run(self, loss_of_step: LossOfStep) -> None:
        """Train to the end of the plan, with logs and saved states."""
        parameters = list(self.model.parameters())
        self.model.train()
        sums: dict[str, float] = {}
        since, mark = 0, time.perf_counter()
        while self.step < self.plan.steps:
            rate = self.plan.lr(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, parts = loss_of_step(self.step)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, self.plan.clip_norm)
            self.optimizer.step()
            self._follow()
            self.step += 1
            since += 1
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if self.step % self.plan.log_every == 0:
                now = time.perf_counter()
                self.seconds += now - mark
                self._log(sums, since, now - mark, rate)
                sums, since, mark = {}, 0, now
            if self.step % self.plan.save_every == 0:
                self.save()
        self.save()

    def _log(self, sums: dict[str, float], count: int, seconds: float, rate: float) -> None:
        means = " ".join(f"{name}={value / count:.4f}" for name, value in sums.items())
        left = (self.plan.steps - self.step) * seconds / count / 60
        print(
            f"step {self.step}/{self.plan.steps} {means} lr={rate:.1e} "
            f"{count / seconds:.2f} steps/s, {left:.0f} min left",
            flush=True,
        )

    def use_average(self) -> None:
        """Replace the model's weights by their average."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.average[name])
        self.model.eval()
