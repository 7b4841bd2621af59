"""Breaking off a step of the training in its middle, so that who waits for it waits no second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

LOOK_EVERY = 0.1  # seconds


class Interrupted(Exception):
    """The step was broken off."""


@contextmanager
def interruptible(wanted: Callable[[], bool]) -> Iterator[None]:
    """Raise Interrupted out of the block soon after `wanted`, between two layers, forward or backward.

    Numbers are what they are without it. What the block has changed until then stays changed.
    """
    looked = time.monotonic()

    def look() -> None:
        nonlocal looked
        now = time.monotonic()
        if now - looked >= LOOK_EVERY:
            looked = now
            if wanted():
                raise Interrupted

    def after_layer(module: nn.Module, inputs: Any, output: Any) -> None:
        look()
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: look())

    hooks = nn.modules.module.register_module_forward_hook(after_layer)
    try:
        yield
    finally:
        hooks.remove()
