"""Put an edited face back into its photo: two blends, in sRGB, over the frame's bounds only.

*Keep detail* adds the difference between the decoded edit and the decoded original, which is as smooth as
the model's resolution, to the photo, whose identity, background and sharpness stay (`core.editing.detail`).
What it can't do is take away detail that the model does not see; *re-synthesise* mixes in the decoded edit
itself. Both fade out towards the frame's border, where they are exactly nothing, or, where that is wanted,
are carried on beyond it (`core.editing.beyond`) and end at the border of the surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from core.faces.frame import Frame, enlarged, warp_back
from core.recipe import Blend

if TYPE_CHECKING:
    import torch

    from core.editing.beyond import Surroundings

# How far from the frame's border, in sides, the blend reaches its full weight: wide, because hair and
# background go on beyond the frame, and no wider, because it is hair that lies there.
FEATHER = 0.07
# Bounds are blended in strips of about so many pixels: memory stays small for a face of 50 megapixels.
_STRIP_PIXELS = 500_000
# Reach of the bicubic enlargement, in pixels of the aligned picture.
_REACH = 3


@dataclass(frozen=True)
class Decoded:
    """What a model made of a face.

    `original` and `edited` (S, S, 3) float32 sRGB in 0..1 are the decoded unedited and edited codes, one
    array where nothing is edited. `aligned` (S, S, 3) uint8 is what was encoded; `inside` (S, S) bool is
    false where the photo ends.
    """

    original: np.ndarray
    edited: np.ndarray
    aligned: np.ndarray
    inside: np.ndarray


def feather_mask(size: int) -> np.ndarray:
    """(size, size) float32 weight over a frame from border to border: 1 inside, smoothly 0 at the border."""
    profile = _profile(np.linspace(0, 1, size))
    return profile[:, None] * profile[None, :]


def blend_face(
    region: np.ndarray,
    bounds: tuple[int, int, int, int],
    frame: Frame,
    decoded: Decoded,
    blend: Blend = "keep_detail",
    around: Surroundings | None = None,
) -> np.ndarray:
    """The edited pixels of a photo's `bounds` (left, top, right, bottom): those of the frame's `reach`.

    `region` (h, w, 3) uint8 sRGB are the photo's pixels there; returns a new array like it. Pixels outside
    the frame are bit-identical, with `around`, what is there, those outside the surroundings; with nothing
    edited, *keep detail* changes none.
    """
    left, top, right, bottom = bounds
    if region.shape != (bottom - top, right - left, 3) or region.dtype != np.uint8:
        raise ValueError(f"region {region.shape} {region.dtype} does not fit the bounds {bounds}")
    nothing = blend == "keep_detail" and decoded.edited is decoded.original
    if nothing or region.size == 0 or not decoded.inside.any():
        return region.copy()
    layers = _layers(decoded, blend) if around is None else _layers_beyond(decoded, blend, around)
    square = reach(frame, beyond=around is not None)
    source = enlarged(layers, square)
    result = np.empty_like(region)
    rows = max(1, _STRIP_PIXELS // (right - left))
    for start in range(top, bottom, rows):
        stop = min(bottom, start + rows)
        strip = (left, start, right, stop)
        here = slice(start - top, stop - top)
        result[here] = _blend_strip(region[here], strip, square, source)
    return result


def reach(frame: Frame, *, beyond: bool) -> Frame:
    """The square outside of which a blend changes nothing."""
    from core.editing.beyond import surroundings

    return surroundings(frame) if beyond else frame


def _layers(decoded: Decoded, blend: Blend) -> np.ndarray:
    """(S, S, 3 or 4) float32 to warp back: what is added, in levels of 255.

    A fourth layer is the share of the photo that goes; without it none does.
    """
    if blend == "keep_detail":
        return _levels(_change(decoded), decoded)
    weight = _photo_weight(decoded)
    return np.concatenate([_levels(decoded.edited, decoded) * weight, weight], axis=2)


def _layers_beyond(decoded: Decoded, blend: Blend, around: Surroundings) -> np.ndarray:
    """The same over the surroundings, where it is the change that is carried on."""
    from core.editing.beyond import amid

    kept = blend == "keep_detail"
    change = _levels(_change(decoded) if kept else decoded.edited - decoded.original, decoded)
    added, share = around.carried_on(change)
    weight = feather_mask(len(change))[..., None]
    if not kept:
        weight = weight * _photo_weight(decoded)
        change = _levels(decoded.edited, decoded)
    own = amid(weight)
    added, share = amid(change * weight) + (1 - own) * added, (1 - own) * share
    return np.concatenate([added, share if kept else own + share], axis=2)


def _levels(picture: np.ndarray, decoded: Decoded) -> np.ndarray:
    """(S, S, 3) float32 levels of 255, a little beyond the photo's end too."""
    levels = picture.astype(np.float32) * 255
    return levels if decoded.inside.all() else _extended(levels, decoded.inside)


def _photo_weight(decoded: Decoded) -> np.ndarray:
    """(S, S, 1) float32: less next to the photo's end, beyond which shines through in the decoded picture."""
    share = mean_nearby(decoded.inside.astype(np.float32)[..., None], 3)
    return np.clip(2 * share - 1, 0, 1)


def _change(decoded: Decoded) -> np.ndarray:
    from core.editing.detail import change_of_pictures

    parts = decoded.aligned, decoded.original, decoded.edited, decoded.inside
    return change_of_pictures(*(part[None] for part in parts))[0]


def _blend_strip(
    region: np.ndarray, strip: tuple[int, int, int, int], square: Frame, source: torch.Tensor
) -> np.ndarray:
    import torch

    photo = torch.from_numpy(region.astype(np.int16))
    change = warp_back(source, square, strip)
    weight = torch.from_numpy(_weight(square, strip))
    if len(change) == 4:
        share = change[3].clamp_(0, 1)
        change = change[:3].sub_(photo.permute(2, 0, 1) * share)
    # Whole levels: where the change rounds to none, the photo's own value stays. Planes in float, pixels in
    # int16: mixing the two orders in one step takes twice as long.
    levels = change.mul_(weight).add_(0.5).floor_().clamp_(-255, 255).to(torch.int16)
    result = photo.add_(levels.permute(1, 2, 0).contiguous()).clamp_(0, 255)
    return cast(np.ndarray, result.to(torch.uint8).numpy())


def _weight(frame: Frame, bounds: tuple[int, int, int, int]) -> np.ndarray:
    """(h, w) float32 feather over photo pixels, exactly 0 outside the frame.

    Computed at the photo's own resolution: an enlarged mask would neither be smooth nor end at the border.
    """
    left, top, right, bottom = bounds
    inverse = np.linalg.inv(np.vstack([frame.matrix, [0, 0, 1]]))
    x, y = np.arange(left, right), np.arange(top, bottom)
    profiles = []
    for row in inverse[:2]:
        across, down = (row[0] * x + row[2]).astype(np.float32), (row[1] * y).astype(np.float32)
        profiles.append(_profile(across[None, :] + down[:, None]))
    return np.multiply(profiles[0], profiles[1], out=profiles[0])


def _profile(position: np.ndarray) -> np.ndarray:
    """Weight along one side, position 0..1 from border to border: a smooth step up, 1, a smooth step down."""
    import torch

    t = torch.from_numpy(np.ascontiguousarray(position, np.float32))
    t = t.sub(0.5).abs_().neg_().add_(0.5).mul_(1 / FEATHER).clamp_(0, 1)
    return cast(np.ndarray, t.mul(-2).add_(3).mul_(t).mul_(t).numpy())


def _extended(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Fill what is next to `inside` from the neighbours in it, so that enlarging mixes in nothing else."""
    known = inside.astype(np.float32)[..., None]
    picture = picture * known
    for _ in range(_REACH):
        share = mean_nearby(known, 1)
        filled = mean_nearby(picture, 1) / np.maximum(share, 1e-6)
        picture = np.where(known > 0, picture, np.where(share > 1e-6, filled, 0))
        known = (share > 1e-6).astype(np.float32)
    return picture


def mean_nearby(picture: np.ndarray, radius: int) -> np.ndarray:
    """(S, S, C) mean over a square of `2 * radius + 1`; beyond the border is not counted."""
    import torch

    from core.nets.layers import box_mean

    mean = box_mean(torch.from_numpy(picture).permute(2, 0, 1)[None], radius)
    return cast(np.ndarray, mean[0].permute(1, 2, 0).numpy())
