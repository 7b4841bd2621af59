"""How much memory this process has needed at most."""

from __future__ import annotations

import sys
from typing import Any


def peak_bytes(device: Any = None) -> int:
    """Peak bytes on a CUDA `device`, else of the process' own memory; 0 where the system doesn't tell."""
    if device is not None and getattr(device, "type", "") == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
