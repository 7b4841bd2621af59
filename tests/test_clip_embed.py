"""Embedding a collection: nothing that was told as done is lost, whatever ends the process."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.attributes import load_attribute_set
from core.clip import ClipModel, find_choice
from core.clip.embed import EmbedJob, EmbedReport, EmbedStatus, embed_collection, faceless
from core.collection import Collection
from core.jobs import process
from core.paths import resources
from tests.test_clip import make_tiny

PATIENCE = 240.0  # machines are shared
STEPS = ((0, 0), (64, 40), (128, 120), (192, 140))  # images done after seconds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("model") / "tiny")


def make_collection(folder: Path, count: int, size: int = 24) -> Collection:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04d}.png", compress_level=1)
    collection = Collection.create(folder, load_attribute_set(resources() / "attributes" / "faces.toml"))
    collection.scan()
    return collection


def test_a_collection_is_embedded_once(tiny: Path, tmp_path: Path) -> None:
    model = ClipModel.load(find_choice(tiny), "cpu")
    with make_collection(tmp_path / "images", 90) as collection:
        told: list[tuple[int, int]] = []
        report = embed_collection(collection, model, lambda done, total, _: told.append((done, total)))
        assert report == EmbedReport(90, 0, {}, False)
        assert told[0] == (0, 90) and told[-1] == (90, 90)
        images, store = collection.images(), collection.embeddings(model.key, model.dim)
        assert store.have.all()
        paths = [collection.folder / p for p in images.paths]
        wanted = model.embed_images([np.asarray(Image.open(p)) for p in paths])
        np.testing.assert_allclose(store.rows(images.ids), wanted, atol=2e-3)  # kept as float16
        assert embed_collection(collection, model) == EmbedReport()
        # a new one and one that can't be read any more since the scan
        Image.new("RGB", (30, 30), "red").save(collection.folder / "new.png")
        Image.new("RGB", (30, 30), "blue").save(collection.folder / "gone.png")
        collection.scan()
        (collection.folder / "gone.png").unlink()
        report = embed_collection(collection, model)
        assert report.embedded == 1 and list(report.unreadable) == ["gone.png"]


def test_cancelled_keeps_what_is_done(tiny: Path, tmp_path: Path) -> None:
    model = ClipModel.load(find_choice(tiny), "cpu")
    with make_collection(tmp_path / "images", 150) as collection:
        done = [0]

        def progress(count: int, *_: object) -> None:
            done[0] = count

        report = embed_collection(collection, model, progress, lambda: done[0] > 0)
        assert report.cancelled and 0 < report.embedded < 150
        have = int(collection.embeddings(model.key, model.dim).have.sum())
        assert have == report.embedded == done[0]
        assert embed_collection(collection, model).embedded == 150 - have


def test_faces_only_is_said_and_images_without_one_are_known(tmp_path: Path) -> None:
    model = ClipModel.load(find_choice("faces"), "cpu")
    with make_collection(tmp_path / "images", 3) as collection:
        assert embed_collection(collection, model).faceless == 3
        assert faceless(collection, model.key).tolist() == collection.images().ids.tolist()
        Image.new("RGB", (40, 40), "red").save(collection.folder / "0001.png")
        collection.scan()
        # another picture under that name: not looked at yet
        assert len(faceless(collection, model.key)) == 2


def wait_for(job: EmbedJob, done: int = 0, end: bool = False) -> EmbedStatus:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        status = job.poll()
        if (end and not status.running) or (not end and status.done >= done and status.state == "embedding"):
            return status
        time.sleep(0.05)
    raise AssertionError(f"still {job.poll()}: {(job.folder / 'output.txt').read_text()}")


def test_the_speed_is_told_also_where_a_batch_takes_long(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "job.json").write_text("{}")
    monkeypatch.setattr(process, "alive", lambda folder: True)
    numbers = {"total": 256, "faceless": 0, "unreadable": 0, "domain": ""}
    events = [
        {"time": 100.0 + seconds, "kind": "progress", "done": done, **numbers} for done, seconds in STEPS
    ]
    job = EmbedJob(tmp_path)
    found = []
    for event in events:
        with (tmp_path / "events.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")
        status = job.poll()
        found.append((status.images_per_second, status.seconds_left))
    assert found == [(0.0, None), (1.6, 120.0), (0.8, 160.0), (3.2, 20.0)]


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_in_the_middle_nothing_told_is_lost(tiny: Path, tmp_path: Path) -> None:
    with make_collection(tmp_path / "images", 2500, 96) as collection:
        job = EmbedJob.start(collection, find_choice(tiny), "cpu")
        wait_for(job, 64)
        os.kill(int(process._read_record(job.folder).pid), signal.SIGKILL)  # type: ignore[union-attr]
        status = wait_for(job, end=True)
        assert status.state == "lost" and status.error
        key = ClipModel.load(find_choice(tiny), "cpu").key
        store = collection.embeddings(key, 24)
        kept = int(store.have.sum())
        assert status.done <= kept < 2500
        rows = store.rows(collection.images().ids[store.have])
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=2e-3)
        # a second one goes on; found again by another part of the program, it is stopped
        again = EmbedJob.start(collection, find_choice(tiny), "cpu")
        found = EmbedJob.find(collection)
        assert found is not None
        status = wait_for(found, 1)
        assert status.total == 2500 - kept
        found.cancel()
        status = wait_for(again, end=True)
        assert status.state in ("cancelled", "finished") and wait_for(found, end=True) == status
        last = EmbedJob.start(collection, find_choice(tiny), "cpu")
        assert wait_for(last, end=True).state == "finished"
        assert collection.embeddings(key, 24).have.all()


def test_what_goes_wrong_in_the_process_is_told(tiny: Path, tmp_path: Path) -> None:
    with make_collection(tmp_path / "images", 2) as collection:
        (tmp_path / "broken.safetensors").write_bytes(b"nothing")
        job = EmbedJob.start(collection, find_choice(tmp_path / "broken.safetensors"), "cpu")
        status = wait_for(job, end=True)
        assert status.state == "failed" and "broken.safetensors is damaged" in status.error
