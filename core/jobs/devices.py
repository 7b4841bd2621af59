"""What a job can run on. Imports torch."""

from __future__ import annotations

import torch


def found_devices() -> list[tuple[str, tuple[str, ...]]]:
    """The machine's devices beside “Automatic”: titles, and what a job calls them."""
    found: list[tuple[str, tuple[str, ...]]] = []
    if torch.cuda.is_available():
        names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        found += [(f"{torch.cuda.get_device_name(i)} ({n})", (n,)) for i, n in enumerate(names)]
        if len(names) > 1:
            found.append((f"All {len(names)} graphics cards together", tuple(names)))
    if torch.backends.mps.is_available():
        found.append(("Graphics of this Mac", ("mps",)))
    return [*found, ("Processor", ("cpu",))]
