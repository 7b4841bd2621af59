"""CLIP models from every local form, with real open_clip checkpoints of a small configuration."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core.clip import ClipModel, available, choices, find_choice
from core.clip.choices import CONFIG_NAME, ClipChoice, annotator_folder
from core.clip.model import EmbeddedFiles
from core.errors import StudioError

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TEXTS = ["a photo of a cat", "a dog", "eine Straße in Zürich"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in open_clip's local-dir layout."""
    return make_tiny(tmp_path_factory.mktemp("clip") / "tiny")


def make_tiny(folder: Path, seed: int = 3) -> Path:
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = open_clip.model.CLIP(**TINY)
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.2, 0.25], "interpolation": "bicubic"}
    (folder / CONFIG_NAME).write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess}))
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def pictures(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (60, 40), (33, 33), (200, 90), (32, 32)]
    coarse = [rng.integers(0, 255, (4, 4, 3)).astype(np.uint8) for _ in range(count)]
    return [
        np.asarray(Image.fromarray(c).resize(sizes[i % 5], Image.Resampling.BICUBIC))
        for i, c in enumerate(coarse)
    ]


def plainly(folder: Path, images: list[np.ndarray]) -> np.ndarray:
    """Embeddings as open_clip's own readme computes them."""
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    with torch.no_grad():
        rows = [network.encode_image(transform(Image.fromarray(i))[None])[0] for i in images]
    return torch.nn.functional.normalize(torch.stack(rows), dim=-1).numpy()


def precise(choice: ClipChoice) -> ClipModel:
    """The model in float32, also on a processor that is faster with shorter numbers."""
    model = ClipModel.load(choice, "cpu")
    model.autocast = None
    return model


def test_embeddings_are_open_clips(tiny: Path) -> None:
    model = precise(find_choice(tiny))
    images = pictures()
    rows = model.embed_images(images)
    assert rows.shape == (5, model.dim) == (5, 24) and rows.dtype == np.float32
    np.testing.assert_allclose(rows, plainly(tiny, images), atol=2e-5)
    network = open_clip.create_model(f"local-dir:{tiny}").eval()
    with torch.no_grad():
        wanted = network.encode_text(open_clip.get_tokenizer(f"local-dir:{tiny}")(TEXTS), normalize=True)
    np.testing.assert_allclose(model.embed_texts(TEXTS), wanted.numpy(), atol=2e-5)
    assert model.embed_images([]).shape == (0, 24) and model.embed_texts([]).shape == (0, 24)
    assert model.domain == "" and model.unknown_words("a photo of a gizmo") == ()


def test_shorter_numbers_embed_almost_the_same(tiny: Path) -> None:
    model = ClipModel.load(find_choice(tiny), "cpu")
    assert model.autocast in (None, torch.bfloat16)  # as the processor is faster
    model.autocast = torch.bfloat16  # works on all, just slower
    images = pictures()
    rows, wanted = model.embed_images(images), plainly(tiny, images)
    assert rows.dtype == np.float32 and np.abs(rows - wanted).max() > 1e-4, "bfloat16 was used"
    cosines = rows @ wanted.T
    # measured: 0.99997 with and without the instructions; of other images at most 0.9971
    assert np.diag(cosines).min() > 0.9999 and cosines[~np.eye(5, dtype=bool)].max() < 0.999


def test_every_local_form_gives_the_same(tiny: Path, tmp_path: Path) -> None:
    weights = load_file(tiny / "open_clip_model.safetensors")
    forms = {}
    forms["file beside its configuration"] = tiny / "open_clip_model.safetensors"
    for name, content in {
        "open_clip_pytorch_model.bin": weights,
        "epoch_1.pt": {"epoch": 1, "state_dict": {f"module.{n}": t for n, t in weights.items()}},
    }.items():
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        shutil.copy(tiny / CONFIG_NAME, folder)
        torch.save(content, folder / name)
        forms[f"folder with {name}"] = folder
        forms[f"file {name}"] = folder / name
    expected = ClipModel.load(find_choice(tiny), "cpu").embed_texts(TEXTS)
    for form, path in forms.items():
        choice = find_choice(path)
        assert available(choice), form
        np.testing.assert_allclose(
            ClipModel.load(choice, "cpu").embed_texts(TEXTS), expected, atol=1e-6, err_msg=form
        )


def test_a_file_alone_needs_its_architecture(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "weights.safetensors"
    shutil.copy(tiny / "open_clip_model.safetensors", alone)
    with pytest.raises(StudioError, match="can't be told which architecture"):
        ClipModel.load(find_choice(alone))
    registry = dict(open_clip.factory._MODEL_CONFIGS)
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", registry)
    registry["Test-Tiny"] = TINY
    model = ClipModel.load(find_choice(alone), "cpu")  # the only one that fits
    np.testing.assert_array_equal(
        model.embed_texts(TEXTS), ClipModel.load(find_choice(f"Test-Tiny={alone}"), "cpu").embed_texts(TEXTS)
    )
    registry["Test-Tiny-quickgelu"] = {**TINY, "quick_gelu": True}
    with pytest.raises(StudioError, match="several architectures: Test-Tiny, Test-Tiny-quickgelu"):
        ClipModel.load(find_choice(alone))
    with pytest.raises(StudioError, match="another architecture than ViT-B-32"):
        ClipModel.load(find_choice(f"ViT-B-32={alone}"))
    with pytest.raises(StudioError, match="knows no architecture"):
        ClipModel.load(find_choice(f"Nonsense-9={alone}"))


def test_weights_in_the_hubs_cache(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("core.clip.hub.downloads_folder", lambda: tmp_path / "own")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Test-Tiny", TINY)
    tag = {"hf_hub": "somebody/tiny/", "mean": (0.4, 0.5, 0.6), "std": (0.3, 0.2, 0.25)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "Test-Tiny", {"good": tag})
    choice = replace(choices()[1], key="tiny", architecture="Test-Tiny", pretrained="good")
    assert not available(choice)
    with pytest.raises(StudioError, match="not on this machine"):
        ClipModel.load(choice)
    repository = tmp_path / "models--somebody--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copy(tiny / "open_clip_model.safetensors", snapshot)
    assert available(choice)
    images = pictures()
    # the tag's own mean and deviation, not open_clip's usual ones
    np.testing.assert_allclose(precise(choice).embed_images(images), plainly(tiny, images), atol=2e-5)


class Harmful:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_unsafe_files_are_refused(tiny: Path, tmp_path: Path) -> None:
    trace = tmp_path / "harm was done"
    shutil.copy(tiny / CONFIG_NAME, tmp_path)
    torch.save({"state_dict": Harmful(trace)}, tmp_path / "zip.pt")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Harmful(trace)))
    for name in ("zip.pt", "plain.bin"):
        with pytest.raises(StudioError, match=f"{name} (holds more than weights|is damaged)"):
            ClipModel.load(find_choice(tmp_path / name))
    assert not trace.exists()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    with pytest.raises(StudioError, match="holds a program"):
        ClipModel.load(find_choice(tmp_path / "script.pt"))


def test_broken_and_foreign_files_are_told(tiny: Path, tmp_path: Path) -> None:
    good = (tiny / "open_clip_model.safetensors").read_bytes()
    shutil.copy(tiny / CONFIG_NAME, tmp_path)
    broken = {
        "cut.safetensors": good[: len(good) // 2],
        "noise.safetensors": bytes(range(256)) * 40,
        "empty.safetensors": b"",
        "noise.pt": b"\x80\x05" + bytes(range(256)) * 40,
        "empty.bin": b"",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StudioError, match=f"{name} is damaged"):
            ClipModel.load(find_choice(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(StudioError, match="holds no weights"):
        ClipModel.load(find_choice(tmp_path / "list.pt"))
    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(StudioError, match="another architecture"):
        ClipModel.load(find_choice(tmp_path / "other.safetensors"))
    (tmp_path / CONFIG_NAME).write_text("{")
    with pytest.raises(StudioError, match="no CLIP model that can be built"):
        ClipModel.load(find_choice(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["no-such-model", "folder", "notes.txt"])
def test_what_is_no_model_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(StudioError):
        find_choice(tmp_path / name)
    with pytest.raises(StudioError, match="There is no CLIP model “nonsense”"):
        find_choice("nonsense")


def test_choices_are_open_clips() -> None:
    known = set(open_clip.list_pretrained())
    keys = [choice.key for choice in choices()]
    assert len(set(keys)) == len(keys) and choices()[0].shipped and "vit-b-32-openai" in keys
    for choice in choices()[1:]:
        assert (choice.architecture, choice.pretrained) in known
        assert find_choice(choice.key) == choice
        # their tokenizer must be in open_clip itself: nothing else is downloaded
        assert "hf_tokenizer_name" not in open_clip.get_model_config(choice.architecture)["text_cfg"]
    small = next(c for c in choices() if c.key == "vit-b-32-openai")
    network = open_clip.model.CLIP(**{**open_clip.get_model_config("ViT-B-32-quickgelu")})
    numbers = sum(t.numel() for t in network.state_dict().values())
    assert small.megabytes == pytest.approx(4e-6 * numbers, rel=0.01)


def test_files_are_embedded_like_arrays(tiny: Path, tmp_path: Path) -> None:
    model = precise(find_choice(tiny))  # batches of other sizes may round otherwise
    images = pictures(7)
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / (f"ünïcode {i}.png" if i % 2 else f"{i}.jpg"))
        Image.fromarray(image).save(paths[-1], quality=100, subsampling=0)
    paths.insert(3, tmp_path / "missing.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    paths.append(tmp_path / "broken.jpg")
    batches: list[EmbeddedFiles] = list(model.embed_files(paths, batch=2))
    positions = np.concatenate([b.positions for b in batches])
    assert positions.tolist() == [0, 1, 2, 4, 5, 6, 7]
    unreadable = {i: why for b in batches for i, why in b.unreadable.items()}
    assert unreadable.keys() == {3, 8} and "missing.jpg" in unreadable[3] and "broken.jpg" in unreadable[8]
    rows = np.concatenate([b.rows for b in batches])
    reread = [np.asarray(Image.open(paths[i]).convert("RGB")) for i in positions]
    np.testing.assert_allclose(rows, model.embed_images(reread), atol=1e-5)
    assert not np.concatenate([b.faceless for b in batches]).any()


def test_reduced_decoding_keeps_embeddings(tiny: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=92)
    turned = Image.open(tmp_path / "large.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=92)
    model = ClipModel.load(find_choice(tiny), "cpu")
    whole = np.asarray(Image.open(tmp_path / "large.jpg"))
    (batch,) = model.embed_files([tmp_path / "large.jpg", tmp_path / "turned.jpg"])
    wanted = model.embed_images([whole, np.rot90(whole, -1)])
    assert ((batch.rows * wanted).sum(1) > 0.999).all()


def test_cancelled_reading_stops(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pictures()[0]).save(path)
    model = ClipModel.load(find_choice(tiny), "cpu")
    seen: list[EmbeddedFiles] = []
    seen.extend(model.embed_files([path] * 50, lambda: len(seen) >= 3, batch=4))
    assert [len(b.positions) for b in seen] == [4, 4, 4]


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_of_another_kind_are_refused(tiny: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image is"):
        ClipModel.load(find_choice(tiny), "cpu").embed_images([wrong])


def test_keys_tell_weights_apart(tiny: Path, tmp_path: Path) -> None:
    other = make_tiny(tmp_path / "tiny", seed=4)
    first, second = (ClipModel.load(find_choice(f), "cpu").key for f in (tiny, other))
    assert first != second and first == ClipModel.load(find_choice(tiny), "cpu").key
    assert first.startswith("tiny-") and first.replace("-", "").isalnum()


def test_the_shipped_annotator_says_what_it_knows() -> None:
    file = annotator_folder() / "open_clip_model.safetensors"
    assert file.stat().st_size <= 25e6
    choice = find_choice("faces")
    assert choice.shipped and available(choice) and choice.megabytes == pytest.approx(20.7, abs=0.5)
    model = ClipModel.load(choice, "cpu")
    assert model.domain == "faces only"
    assert model.unknown_words("A photo of a Zeppelin with glasses, smiling") == ("zeppelin",)
    # a word that it never saw changes nothing but where the others stand
    plain, odd = model.embed_texts(
        ["a photo of a man with glasses", "zeppelin a photo of a man with glasses"]
    )
    far = model.embed_texts(["a photo of a woman without glasses"])[0]
    assert plain @ odd > plain @ far


def test_without_a_face_the_middle_is_shown() -> None:
    from core.clip.portrait import SIZE, portrait

    picture = np.full((90, 160, 3), 40, np.uint8)
    picture[:, 35:125] = 200
    shown, found = portrait(picture)
    assert not found and shown.shape == (SIZE, SIZE, 3) and (shown == 200).all()
