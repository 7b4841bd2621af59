"""The sizes of a model's networks as data, and the networks made from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import torch
from torch import nn

from core.errors import StudioError
from core.nets.classifier import AttributeClassifier, ValueEmbeddings
from core.nets.discriminator import Discriminator
from core.nets.encoder import ResidualEncoder
from core.nets.generator import StyleGenerator
from core.nets.layers import Trunk
from core.nets.lite import Lite0
from core.nets.moments import Centred, Lines, Moments
from core.nets.strengths import SwapStrengths
from core.nets.vae import ConvDecoder, ConvEncoder

CLASSIFIERS = {"style": ("trunk", "lite0"), "vae": ("trunk", "moments")}
ENCODERS = {"style": ("whole",), "vae": ("whole", "centred")}


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the networks. `kind`: `style` for photos (2^k px), `vae` for 64 px synthetic images.

    `classifier`: a `trunk` of `classifier_widths`, or `lite0`, which may begin with what it learned on
    ImageNet; of the kind `vae` a `trunk` of fixed sizes, or `moments`, for one bright thing on black.
    `encoder`: the residual encoder sees the `whole` image, or, of the kind `vae`, one bright thing `centred`.
    `fold`: pixels a side of the image in one place of the generator's and encoder's finest maps; 2 makes them
    about four times as fast. With `base_side` both have a linear part beside the deep one (see
    `StyleGenerator`, `ResidualEncoder`). `discriminator_size`: side of what a discriminator sees, 0 for all:
    a coarse one minds stains and shapes, and never that a picture is soft.
    """

    kind: Literal["style", "vae"] = "style"
    image_size: int = 64
    image_channels: int = 3
    classifier: Literal["trunk", "lite0", "moments"] = "trunk"
    encoder: Literal["whole", "centred"] = "whole"
    fold: int = 1
    base_side: int = 0
    discriminator_size: int = 0
    residual_dim: int = 256
    embedding_dim: int = 32
    style_dim: int = 256
    mapping_layers: int = 2
    generator_widths: tuple[int, ...] = (256, 256, 128, 64, 32)
    encoder_widths: tuple[int, ...] = (32, 48, 96, 192, 256)
    classifier_widths: tuple[int, ...] = (32, 48, 96, 192, 256)
    discriminator_widths: tuple[int, ...] = (24, 48, 96, 192, 192)

    def code_dim(self, attributes: int) -> int:
        """Length of the concatenated attribute and residual codes."""
        return attributes * self.embedding_dim + self.residual_dim


class Networks(nn.Module):
    """What a model is made of; the discriminator is only for training."""

    def __init__(self, config: NetworkConfig, value_counts: Sequence[int]) -> None:
        """StudioError for a classifier or an encoder that networks of this kind do not have."""
        super().__init__()
        for name, kinds in (("classifier", CLASSIFIERS), ("encoder", ENCODERS)):
            if getattr(config, name) not in kinds[config.kind]:
                raise StudioError(
                    f"Networks of the kind “{config.kind}” have no {name} “{getattr(config, name)}”.",
                    f"Set network.{name} to {' or '.join(kinds[config.kind])}.",
                )
        code_dim = config.code_dim(len(value_counts))
        self.embeddings = ValueEmbeddings(value_counts, config.embedding_dim)
        self.strengths = SwapStrengths(value_counts)
        self.generator: StyleGenerator | ConvDecoder
        self.residual_encoder: nn.Module
        if config.kind == "vae":
            if config.classifier == "moments":
                moments = Moments(config.image_channels)
                lines = Lines(moments.features, value_counts)
                self.classifier = AttributeClassifier(moments, moments.features, value_counts, lines)
            else:
                features = ConvEncoder(config.image_channels, 256)
                self.classifier = AttributeClassifier(features, 256, value_counts)
            self.residual_encoder = ConvEncoder(config.image_channels, config.residual_dim)
            if config.encoder == "centred":
                self.residual_encoder = nn.Sequential(Centred(), self.residual_encoder)
            self.generator = ConvDecoder(code_dim, config.image_channels)
        else:
            trunk: Trunk | Lite0
            if config.classifier == "lite0":
                trunk = Lite0()
            else:
                trunk = Trunk(config.image_channels, config.image_size, config.classifier_widths)
            self.classifier = AttributeClassifier(trunk, trunk.features, value_counts)
            encoder = Trunk(config.image_channels, config.image_size, config.encoder_widths, config.fold)
            if config.base_side:
                self.residual_encoder = ResidualEncoder(encoder, config.image_channels, config.residual_dim)
            else:
                last = nn.Linear(encoder.features, config.residual_dim)
                self.residual_encoder = nn.Sequential(encoder, last)
            self.generator = StyleGenerator(
                code_dim,
                config.style_dim,
                config.generator_widths,
                config.mapping_layers,
                config.fold,
                config.base_side,
            )
        # about twice the speed of the contiguous layout for convolutions on CPU and tensor cores
        self.to(memory_format=torch.channels_last)


def with_strengths(weights: dict[str, torch.Tensor], networks: nn.Module) -> dict[str, torch.Tensor]:
    """Weights by name, with the networks' own strengths of swaps where older ones have none."""
    own = {name: t for name, t in networks.state_dict().items() if name.startswith("strengths.")}
    return own | weights


def build_discriminator(config: NetworkConfig) -> Discriminator:
    """The discriminator for a style model's images."""
    size = config.discriminator_size or config.image_size
    network = Discriminator(size, config.discriminator_widths)
    return network.to(memory_format=torch.channels_last)
