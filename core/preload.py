"""Load torch's libraries without stopping the window.

Python holds its lock while it loads a library, and torch's are gigabytes: an import in the worker's thread
froze the window's for 0.3 s warm and for seconds cold. A call through ctypes lets go of the lock, and the
import that follows finds the libraries loaded.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def preload_torch() -> bool:
    """Load the libraries that `import torch` loads; true if they are loaded. Never fails, only helps.

    Linux only: Windows lets go of the lock by itself, and macOS maps libraries lazily.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return "torch" in sys.modules
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    folder = Path(spec.origin).parent / "lib"
    # in the order and with the flags of torch itself: the first makes the CUDA libraries' symbols global
    wanted = (
        (folder / "libtorch_global_deps.so", os.RTLD_NOW | os.RTLD_GLOBAL),
        (folder / "libtorch_python.so", os.RTLD_NOW | os.RTLD_LOCAL),
    )
    try:
        load = ctypes.CDLL(None).dlopen
    except (OSError, AttributeError):
        return False
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    loaded = [path.is_file() and bool(load(os.fsencode(path), flags)) for path, flags in wanted]
    if not all(loaded):
        log.info("Not all of torch's libraries could be loaded ahead.")
    return all(loaded)
