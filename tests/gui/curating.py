"""What tests of Curate share: a small CLIP, folders of pictures, and a person at the workspace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from core.attributes import load_attribute_set
from core.clip import ClipModel, find_choice
from core.clip.embed import embed_collection
from core.collection import Collection
from core.paths import resources
from gui.curator.jobs import MODEL_SETTING
from gui.curator.view import CuratorView
from tests.gui.hands import Hands


def make_clip(folder: Path) -> Path:
    """A real open_clip checkpoint of a very small configuration, with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    looks = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": looks}), encoding="utf-8"
    )
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def make_pictures(folder: Path, count: int) -> Path:
    """Pictures that differ, some in a folder within, one with a name that isn't ASCII."""
    rng = np.random.default_rng(0)
    (folder / "more").mkdir(parents=True)
    for i in range(count):
        pixels = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        name = "grün.png" if i == 0 else f"{'more/' if i % 5 == 0 else ''}image {i:03d}.png"
        Image.fromarray(pixels).save(folder / name)
    return folder


def make_embedded(folder: Path, clip_folder: Path, count: int) -> Path:
    """A collection of pictures that need no process to be scored any more."""
    made = make_pictures(folder, count)
    with Collection.create(made, load_attribute_set(resources() / "attributes" / "faces.toml")) as collection:
        collection.scan()
        choice = find_choice(clip_folder)
        embed_collection(collection, ClipModel.load(choice, "cpu"))
        collection.keep_setting(MODEL_SETTING, choice.reference)
    return made


def curator(hands: Hands) -> CuratorView:
    view = hands.window.workspaces["curate"]
    assert isinstance(view, CuratorView)
    return view


async def opened(hands: Hands, folder: Path, clip: Path) -> CuratorView:
    """The folder in the workspace, scored."""
    view = curator(hands)
    hands.window.show_workspace("curate")
    view.start_page.models.choose(find_choice(clip))
    view.open(folder)
    await scored(hands, view)
    view.grid.setFocus()
    return view


async def scored(hands: Hands, view: CuratorView) -> None:
    def ready() -> bool:
        known = view.state.known
        assert not view.messages.message, view.messages.message
        done = known is not None and known.scores is not None and bool(known.scores.known.all())
        return done and not view.session.work.now.state and view.session.up_to_date

    await hands.until(ready, "for CLIP's scores")


async def settled(hands: Hands, view: CuratorView) -> None:
    await hands.until(lambda: view.session.up_to_date, "for the labels to be written")


def press(view: CuratorView, *keys: Qt.Key, modifiers=Qt.KeyboardModifier.NoModifier) -> None:
    for key in keys:
        QTest.keyClick(view.grid, key, modifiers)


def on_disk(folder: Path, attribute: str) -> list[tuple[int, int]]:
    """Values and sources as another program finds them now."""
    with Collection.open(folder) as collection:
        labels = collection.labels(attribute)
        return list(zip(labels.value.tolist(), labels.source.tolist(), strict=True))
