"""How much memory this process has needed at most."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def peak_bytes(device: Any = None) -> int:
    """Peak bytes on a CUDA `device`, else of the process' own memory; 0 where the system doesn't tell."""
    if device is not None and getattr(device, "type", "") == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    status = Path("/proc/self/status")
    if status.is_file():  # since the process began its program: getrusage counts its parent's peak too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
