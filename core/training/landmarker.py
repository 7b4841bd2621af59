"""Train the five-point landmark network (development only; needs the packages of `--collect`).

Step 1, `--collect`: dlib's 68-point predictor (from the package face_recognition_models, never
used by the program itself) is the teacher: its points on the shared faces are stored.
Step 2: the student sees each face through random similarity transforms and learns the points.

    python -m core.training.landmarker --data ../shared/data --collect points.npz
    python -m core.training.landmarker --data ../shared/data --points points.npz --out LANDMARKER
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from core.faces.frame import CANONICAL_POINTS, Frame, align
from core.nets.landmarker import INPUT_SIZE, Landmarker

CACHE_SIZE = 112
CACHE_SCALE = 1.75  # the cached crop's side in frame sides: room for the random transforms
# enlargement before the detector and padding in source pixels: the folders differ in size and tightness
SOURCES = {"celeba": (3, 24), "utkface": (1, 60), "lfw": (2, 0)}


@cache
def _teacher() -> tuple[Any, Any]:
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None and spec.origin is not None, "pip install face_recognition_models"
    model = Path(spec.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))


def _teach(path: str) -> tuple[str, np.ndarray, np.ndarray] | None:
    detector, predictor = _teacher()
    folder = next(s for s in SOURCES if f"/{s}/" in path)
    scale, pad = SOURCES[folder]
    with Image.open(path) as image:
        pixels = np.pad(np.asarray(image.convert("RGB")), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    height, width = pixels.shape[0] * scale, pixels.shape[1] * scale
    pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    boxes, scores, _ = detector.run(pixels, 0, -0.3)
    if not len(boxes):
        return None

    def away(i: int) -> float:
        box = boxes[i]
        return abs(box.center().x - width / 2) + abs(box.center().y - height / 2) - 30 * scores[i]

    box = boxes[min(range(len(boxes)), key=away)]
    shape = predictor(pixels, box)
    all68 = np.array([(shape.part(i).x, shape.part(i).y) for i in range(68)], float)
    five = np.stack([all68[36:42].mean(0), all68[42:48].mean(0), all68[30], all68[48], all68[54]])
    edges = np.array([box.left(), box.top(), box.right(), box.bottom()], float)
    return path, (edges + 0.5) / scale - 0.5 - pad, (five + 0.5) / scale - 0.5 - pad


def collect(data: Path, out: Path) -> None:
    """Teacher's points on all shared faces: `path`, `box` (N, 4) and `pts` (N, 5, 2) in source pixels."""
    paths = sorted(str(p) for s in SOURCES for p in (data / s).rglob("*.jpg"))
    with Pool() as pool:
        found = [f for f in pool.map(_teach, paths, chunksize=64) if f is not None]
    np.savez(out, path=[f[0] for f in found], box=[f[1] for f in found], pts=[f[2] for f in found])
    print(f"{len(found)} of {len(paths)} faces")


def cache_crops(data: Path, points: Path, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Wide upright crops (N, 3, 112, 112) uint8 and their points (N, 5, 2) in the crop's unit square."""
    with np.load(points) as archive:
        stored = {name: archive[name] for name in ("path", "pts")}
    order = np.random.default_rng(0).permutation(len(stored["path"]))[:limit]
    crops = np.empty((len(order), CACHE_SIZE, CACHE_SIZE, 3), np.uint8)
    targets = np.empty((len(order), 5, 2), np.float32)
    for row, i in enumerate(order):
        five = stored["pts"][i][:5]
        near = Frame.from_points(five)
        frame = Frame(near.center_x, near.center_y, near.side * CACHE_SCALE, near.angle)
        with Image.open(data / stored["path"][i]) as image:
            crops[row] = align(np.asarray(image.convert("RGB")), frame, CACHE_SIZE)[0]
        targets[row] = (np.c_[five, np.ones(5)] @ np.linalg.inv(np.vstack([frame.matrix, [0, 0, 1]])).T)[
            :, :2
        ]
    return torch.from_numpy(crops).permute(0, 3, 1, 2), torch.from_numpy(targets)


def augment(
    crops: torch.Tensor, points: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random similarity, mirror, light and occlusion: (N, 3, 64, 64) in -1..1 and (N, 5, 2)."""
    n = len(crops)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    angle = torch.randn(n, generator=generator) * math.radians(14)
    side = torch.exp(uniform(-0.25, 0.25)) / CACHE_SCALE
    cos, sin = side * torch.cos(angle), side * torch.sin(angle)
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    shift = uniform(-0.09, 0.09, 2)  # in crop sides; a frame is 1 / CACHE_SCALE of one
    grid_points = torch.linspace(-1, 1, 2 * INPUT_SIZE + 1)[1::2]
    unit = torch.stack(torch.meshgrid(grid_points, grid_points, indexing="xy"), -1)
    grid = torch.einsum("nij,hwj->nhwi", rotation, unit) + 2 * shift[:, None, None]
    x = torch.nn.functional.grid_sample(crops.float().div(127.5).sub(1), grid, align_corners=False)
    moved = torch.einsum("nij,npj->npi", torch.linalg.inv(rotation), points - 0.5 - shift[:, None]) + 0.5
    mirror = torch.rand(n, generator=generator) < 0.5
    x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    flipped = moved[:, [1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    moved = torch.where(mirror[:, None, None], flipped, moved)
    grey = torch.rand(n, 1, 1, 1, generator=generator) < 0.1
    x = torch.where(grey, x.mean(1, keepdim=True).expand_as(x), x)
    x = x * uniform(0.6, 1.3, 1, 1, 1) + uniform(-0.3, 0.3, 3, 1, 1)
    row = torch.arange(INPUT_SIZE)
    top, left, size = uniform(-10, 64, 1), uniform(-10, 64, 1), uniform(0, 22, 1)
    covered = ((row >= top) & (row < top + size))[:, None, :, None] & ((row >= left) & (row < left + size))[
        :, None, None
    ]
    covered &= (torch.rand(n, generator=generator) < 0.5)[:, None, None, None]
    x = torch.where(covered, uniform(-1, 1, 3, 1, 1), x)
    return x.clamp(-1.2, 1.2), moved


def train(crops: torch.Tensor, points: torch.Tensor, steps: int, out: Path) -> None:
    """Smooth L1 on the points, AdamW, one cycle; prints the held-out error in percent of the frame's side."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    held = len(crops) // 20
    network = Landmarker().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(1, steps + 1):
        rows = torch.randint(held, len(crops), (128,), generator=generator)
        x, target = augment(crops[rows], points[rows], generator)
        network.train()
        loss = nn.functional.smooth_l1_loss(
            network(x.to(memory_format=torch.channels_last)), target, beta=0.01
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0 or step == steps:
            network.eval()
            with torch.inference_mode():
                x, target = augment(crops[:held], points[:held], torch.Generator().manual_seed(2))
                distance = (network(x) - target).norm(dim=2)
            print(
                f"step {step} loss {loss.item():.5f} held-out mean {100 * distance.mean():.2f} % "
                f"p95 {100 * distance.quantile(0.95):.2f} % of the crop, {time.monotonic() - started:.0f} s",
                flush=True,
            )
            save_file({k: v.contiguous() for k, v in network.state_dict().items()}, out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with celeba, utkface and lfw")
    parser.add_argument("--collect", type=Path, help="store the teacher's points here and stop")
    parser.add_argument("--points", type=Path, help="the stored points")
    parser.add_argument("--out", type=Path, default=Path("resources/landmarker.safetensors"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--limit", type=int, default=20_000, help="faces to train on")
    args = parser.parse_args()
    if args.collect:
        collect(args.data, args.collect)
        return
    print(f"canonical points {CANONICAL_POINTS.tolist()}")
    train(*cache_crops(args.data, args.points, args.limit), args.steps, args.out)


if __name__ == "__main__":
    main()
