"""Batch normalisation worked into convolutions: the same embeddings, and only where that is right."""

from __future__ import annotations

import pytest
import torch
from open_clip.model import CLIP
from torch import nn

from core.clip.fused import fuse

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VISIONS = {
    "timm": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 64,
    },
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "transformer": {"image_size": 64, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
}


def unsettle(network: nn.Module) -> None:
    """Statistics as after a training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)


@pytest.mark.parametrize("kind", VISIONS)
def test_all_of_a_networks_normalisations_are_fused(kind: str) -> None:
    torch.manual_seed(0)
    visual = CLIP(embed_dim=16, vision_cfg=VISIONS[kind], text_cfg=TEXT).eval().visual
    unsettle(visual)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in visual.modules())
    assert (norms > 0) == (kind != "transformer")
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        before = visual(images)
        assert fuse(visual, visual.image_size) == norms
        after = visual(images)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in visual.modules())
    torch.testing.assert_close(after, before, atol=1e-4 * float(before.abs().max()), rtol=0)


class Twice(nn.Module):
    """What the convolution gives is used without the normalisation too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolution(x)
        return (x + self.norm(x)).mean((2, 3))


def test_where_fusing_would_be_wrong_nothing_is_changed() -> None:
    torch.manual_seed(0)
    network = Twice().eval()
    unsettle(network)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        before = network(images)
        assert fuse(network, 16) == 0
        assert torch.equal(network(images), before)
    assert isinstance(network.norm, nn.BatchNorm2d)
