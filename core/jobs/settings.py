"""From what a person asks for to the settings of a training. Imports torch."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.attributes import AttributeSet
from core.errors import StudioError
from core.jobs.spec import SIZES, JobSpec, preset_path
from core.training.config import TrainConfig, load_config
from core.training.finetune import with_base

# Widths from 4 px up for each size: a generator's (coarse first), a trunk's (fine first).
LEVELS = {32: 4, 64: 5, 128: 6, 256: 7}


def make_config(spec: JobSpec, attributes: AttributeSet) -> TrainConfig:
    """Settings of a job whose images have `attributes`; StudioError where they don't fit each other."""
    config = load_config(preset_path(spec.preset), spec.overrides)
    network = config.network
    if spec.base:
        config = with_base(config, Path(spec.base), spec.mode)
        network = config.network
        if spec.size and spec.size != network.image_size:
            raise StudioError(
                f"The model to fine-tune makes images of {network.image_size} px, not {spec.size}.",
                "Choose its own size.",
            )
    elif spec.size and spec.size != network.image_size:
        if spec.size not in SIZES or network.kind != "style":
            raise StudioError(f"This preset can't make images of {spec.size} px.", "Choose another size.")
        network = msgspec.structs.replace(
            network,
            image_size=spec.size,
            generator_widths=_resized(network.generator_widths, LEVELS[spec.size], coarse_first=True),
            encoder_widths=_resized(network.encoder_widths, LEVELS[spec.size], coarse_first=False),
            classifier_widths=_resized(network.classifier_widths, LEVELS[spec.size], coarse_first=False),
            discriminator_widths=_resized(
                network.discriminator_widths, LEVELS[spec.size], coarse_first=False
            ),
        )
    return msgspec.structs.replace(
        config,
        title=spec.title,
        attributes=attributes.name,
        seed=spec.seed or config.seed,
        network=network,
    )


def _resized(widths: tuple[int, ...], levels: int, coarse_first: bool) -> tuple[int, ...]:
    """More levels repeat the finest width, fewer leave the finest out (the stem's width stays)."""
    coarse = list(widths if coarse_first else widths[::-1])
    while len(coarse) < levels:
        coarse.append(max(16, coarse[-1]))
    coarse = coarse[:levels]
    return tuple(coarse if coarse_first else coarse[::-1])
