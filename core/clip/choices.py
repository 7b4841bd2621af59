"""The CLIP models a person can choose: what they are, how large, and where their weights lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from core.errors import StudioError
from core.paths import resources

# What a folder in open_clip's `local-dir:` layout holds.
CONFIG_NAME = "open_clip_config.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
DEFAULT = "faces"


@dataclass(frozen=True)
class ClipChoice:
    """One CLIP model.

    `key` is short and stable; `megabytes` (10**6 bytes) is the size of the weights on disk or to download,
    `memory_megabytes` what the loaded weights take in memory (fp32). A model is either `shipped` with the
    program, or a `path` of one's own (file, or folder in open_clip's local-dir layout), or open_clip's
    `pretrained` tag of `architecture`, found in the hub's cache after a download.
    """

    key: str
    title: str
    about: str
    megabytes: float
    memory_megabytes: float
    shipped: bool = False
    architecture: str = ""
    pretrained: str = ""
    path: Path | None = None

    @property
    def reference(self) -> str:
        """What `find_choice` finds this model by again, also after the next start."""
        return f"{self.architecture}={self.path}" if self.architecture and self.path else self.key


def _tag(key: str, title: str, about: str, millions: float, architecture: str, pretrained: str) -> ClipChoice:
    """A model of the hub; `millions` of numbers with 4 bytes each, counted from open_clip's configuration."""
    size = round(4 * millions, 1)
    return ClipChoice(key, title, about, size, size, False, architecture, pretrained)


# Sizes are 4 bytes for each number that open_clip's configuration of the architecture has, parameters and
# buffers; `download` asks the hub for the true size of the file before it starts. Models whose tokenizer
# isn't open_clip's own (SigLIP) are left out: they need another library and a second download.
_HUB = (
    _tag(
        "vit-b-32-openai",
        "ViT-B/32, OpenAI",
        "The paper's CLIP. Knows many subjects; moderate size.",
        151.28,
        "ViT-B-32-quickgelu",
        "openai",
    ),
    _tag(
        "mobileclip2-s0",
        "MobileCLIP2 S0",
        "The smallest general model here.",
        74.89,
        "MobileCLIP2-S0",
        "dfndr2b",
    ),
    _tag(
        "mobileclip2-s2",
        "MobileCLIP2 S2",
        "Small and stronger than S0.",
        99.37,
        "MobileCLIP2-S2",
        "dfndr2b",
    ),
    _tag(
        "vit-b-32-datacomp",
        "ViT-B/32, DataComp",
        "The paper's architecture, trained on more and cleaner data.",
        151.28,
        "ViT-B-32",
        "datacomp_xl_s13b_b90k",
    ),
    _tag(
        "vit-b-16-dfn",
        "ViT-B/16, DFN",
        "Sees finer detail than B/32 and takes several times as long.",
        149.63,
        "ViT-B-16-quickgelu",
        "dfn2b",
    ),
    _tag(
        "pe-core-b-16",
        "Perception Encoder B/16",
        "A current model with a large text side.",
        447.69,
        "PE-Core-B-16",
        "meta",
    ),
    _tag(
        "vit-l-14-dfn",
        "ViT-L/14, DFN",
        "Strong and slow: for a machine with a graphics card.",
        427.62,
        "ViT-L-14",
        "dfn2b_s39b",
    ),
    _tag(
        "vit-h-14-dfn",
        "ViT-H/14, DFN",
        "The strongest here; needs a graphics card with much memory.",
        986.12,
        "ViT-H-14-quickgelu",
        "dfn5b",
    ),
)


def annotator_folder() -> Path:
    """Where the shipped annotator lies, in open_clip's local-dir layout."""
    return resources() / "annotator"


def choices() -> tuple[ClipChoice, ...]:
    """Every model that can be chosen by key, the shipped one first."""
    shipped = ClipChoice(
        DEFAULT,
        "Faces (shipped)",
        "Small, works offline, and knows faces only.",
        megabytes=_megabytes(annotator_folder()),
        memory_megabytes=2 * _megabytes(annotator_folder()),  # stored as fp16, used as fp32
        shipped=True,
        path=annotator_folder(),
    )
    return (shipped, *_HUB)


def find_choice(text: str | os.PathLike[str]) -> ClipChoice:
    """The model called `text`: a key, a folder in local-dir layout, or a file of weights.

    A file whose folder has no open_clip_config.json may need its architecture: `ViT-B-32=/path/weights.pt`.
    StudioError where there is no such model.
    """
    name = os.fspath(text)
    for choice in choices():
        if name == choice.key:
            return choice
    architecture, path = "", Path(name).expanduser()
    if "=" in name and not path.exists():
        architecture, _, rest = name.partition("=")
        path = Path(rest).expanduser()
    if path.is_dir():
        if not (path / CONFIG_NAME).is_file():
            raise StudioError(
                f"{path} is no CLIP model: it has no {CONFIG_NAME}.", "Choose a folder in open_clip's layout."
            )
    elif not path.is_file():
        raise StudioError(
            f"There is no CLIP model “{name}”.",
            "Give the path of a file or folder, or one of: " + ", ".join(c.key for c in choices()) + ".",
        )
    elif path.suffix not in WEIGHT_SUFFIXES:
        raise StudioError(
            f"{path.name} is no file of CLIP weights.",
            "Choose a file of: " + ", ".join(WEIGHT_SUFFIXES) + ".",
        )
    size = _megabytes(path)
    path = path.resolve()
    return ClipChoice(str(path), path.stem, "A model of your own.", size, size, False, architecture, "", path)


def weights_in(folder: Path) -> Path | None:
    """The file of weights of a folder in local-dir layout; safetensors before the others."""
    found = [p for p in sorted(folder.glob("*")) if p.suffix in WEIGHT_SUFFIXES and p.is_file()]
    names = [
        f"{stem}{suffix}"
        for suffix in WEIGHT_SUFFIXES
        for stem in ("open_clip_model", "open_clip_pytorch_model")
    ]

    def order(path: Path) -> tuple[int, int, str]:
        known = names.index(path.name) if path.name in names else len(names)
        return WEIGHT_SUFFIXES.index(path.suffix), known, path.name

    return min(found, key=order, default=None)


def available(choice: ClipChoice) -> bool:
    """Whether the model can be loaded now, without a download."""
    from core.clip.hub import local_weights

    if choice.path is not None:
        return choice.path.is_file() or weights_in(choice.path) is not None
    return local_weights(choice) is not None


def _megabytes(path: Path) -> float:
    file = path if path.is_file() else weights_in(path)
    return 0.0 if file is None else round(file.stat().st_size / 1e6, 1)
