"""A model as one file: there and back, and every file that is refused."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.errors import StudioError
from core.jobs import archive as archives
from core.jobs import export_model, import_model, keep_model
from core.model import Model
from tests.synthetic import draw_faces


@pytest.fixture(scope="module")
def packed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(tiny_model, tmp_path_factory.mktemp("packed") / "tiny.zdmodel")


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(file: Path, parts: dict[str, bytes], listed: dict[str, bytes] | None = None) -> Path:
    """A file of `parts`, with a manifest that fits `listed` (by default the parts themselves)."""
    listed = {n: raw for n, raw in parts.items() if n != "manifest.json"} if listed is None else listed
    entries = [
        {"name": n, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()} for n, raw in listed.items()
    ]
    manifest = {"format": "zerodim-model", "schema": 1, "title": "T", "files": entries}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", parts.get("manifest.json") or msgspec.json.encode(manifest))
        for name, raw in parts.items():
            if name != "manifest.json":
                archive.writestr(name, raw)
    return file


def refused(file: Path, models: Path, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        import_model(file, models)
    assert list(models.iterdir()) == [], "something was left behind"


def test_a_model_survives_the_way_there_and_back(packed: Path, tiny_model: Path, tmp_path: Path) -> None:
    first, second = (import_model(packed, tmp_path) for _ in range(2))
    assert first != second and {p.name for p in tmp_path.iterdir()} == {first.name, second.name}
    images, _ = draw_faces(2, 32)
    one, two = (Model.load(folder, "cpu") for folder in (tiny_model, second))
    np.testing.assert_array_equal(one.decode(one.encode(images)), two.decode(two.encode(images)))
    assert two.card.name == second.name and two.card.title == one.card.title
    with pytest.raises(StudioError, match="exists already"):
        export_model(tiny_model, packed)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/tmp/evil", "samples/../../evil.png", "C:\\evil", "card.json/x", "weights.pkl",
             "model.pt", "samples/.png", "samples/a.PNG", "samples/é.png"],
)  # fmt: skip
def test_other_names_are_refused(packed: Path, tmp_path: Path, name: str) -> None:
    (models := tmp_path / "models").mkdir()
    file = rewritten(tmp_path / "bad.zdmodel", {**members(packed), "manifest.json": b"", name: b"x"})
    refused(file, models, "a file that no model has")


def test_what_does_not_fit_its_manifest_is_refused(packed: Path, tmp_path: Path) -> None:
    (models := tmp_path / "models").mkdir()
    good = {name: raw for name, raw in members(packed).items() if name != "manifest.json"}
    file = tmp_path / "bad.zdmodel"
    changed = {**good, "weights.safetensors": good["weights.safetensors"][:-1] + b"\x7f"}
    refused(rewritten(file, changed, good), models, "damaged or changed")
    longer = {**good, "weights.safetensors": good["weights.safetensors"] + b"more"}
    refused(rewritten(file, longer, good), models, "larger than it says")
    # honest about its size and hash, but the card says other weights
    refused(rewritten(file, changed), models, "damaged or changed")
    refused(rewritten(file, {"card.json": good["card.json"]}), models, "lacks a model's card or weights")
    refused(rewritten(file, good, {**good, "samples/1.png": b""}), models, "doesn't hold the files")
    refused(rewritten(file, {**good, "card.json": b"{}"}), models, "not valid")
    half = {**good, "weights.safetensors": b"\x80\x04cos\nsystem\n"}
    refused(rewritten(file, half), models, "damaged or changed|don't fit")


def test_schemas_sizes_and_other_files_are_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models := tmp_path / "models").mkdir()
    good, file = members(packed), tmp_path / "bad.zdmodel"
    head = msgspec.json.decode(good["manifest.json"])
    newer = msgspec.json.encode({**head, "schema": 2, "files": "elsewhere"})
    refused(rewritten(file, {**good, "manifest.json": newer}), models, "newer version")
    other = msgspec.json.encode({**head, "format": "picture"})
    refused(rewritten(file, {**good, "manifest.json": other}), models, "something else")
    refused(rewritten(file, {**good, "manifest.json": b"not json"}), models, "manifest .* is not valid")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("card.json", "{}")
    refused(file, models, "no manifest")
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("weights.safetensors")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refused(file, models, "a link")
    file.write_bytes(b"\x80\x04\x95 a pickle")
    refused(file, models, "no model's file")
    whole = packed.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused(file, models, "no model's file")
    refused(tmp_path / "nowhere.zdmodel", models, "can't be imported")
    monkeypatch.setattr(archives, "LARGEST_FILE", 1000)
    refused(packed, models, "too large")


def test_a_bomb_is_read_no_further_than_it_says(packed: Path, tmp_path: Path) -> None:
    (models := tmp_path / "models").mkdir()
    good = {name: raw for name, raw in members(packed).items() if name != "manifest.json"}
    file = tmp_path / "bomb.zdmodel"
    entries = [{"name": n, "bytes": len(r), "sha256": hashlib.sha256(r).hexdigest()} for n, r in good.items()]
    manifest = {"format": "zerodim-model", "schema": 1, "title": "T", "files": entries}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", msgspec.json.encode(manifest))
        archive.writestr("card.json", b"\0" * 2**23)
        archive.writestr("weights.safetensors", good["weights.safetensors"])
    refused(file, models, "larger than it says")


def test_a_kept_model_has_a_name_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    names = [keep_model(tiny_model, "My faces: 2", tmp_path).name for _ in range(2)]
    assert names == ["my-faces-2", "my-faces-2-2"]
    assert Model.load(tmp_path / names[1], "cpu").card.title == "My faces: 2"
    with pytest.raises(StudioError, match="no model"):
        keep_model(tmp_path, "Nothing", tmp_path / "models")
