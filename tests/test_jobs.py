"""Training jobs through real child processes: start, pause, resume, kill, keep, queue, re-attach."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.errors import StudioError
from core.installed import list_models
from core.jobs import (
    EventTail,
    Jobs,
    JobSpec,
    RunInfo,
    check,
    curves,
    differences,
    estimate,
    headless_command,
    label_table,
    presets,
    read_events,
    samples_of,
)
from core.jobs import process as processes
from core.jobs.info import read_record, write_record
from core.model import Model
from core.recipe import Swap
from core.training.run import Run
from tests.synthetic import TINY, draw_faces, write_dataset

# stages with a few steps each; long enough in the last one to be met in it
STEPS = ("warmup.steps=6", "disentanglement.steps=8", "amortisation.steps=4")
PATIENCE = 240.0  # machines are shared


def job(data: Path, title: str = "Tiny", synthesis: int = 12, **other: object) -> JobSpec:
    overrides = (*TINY, *STEPS, f"synthesis.steps={synthesis}", "sample_every=10", "checkpoint_every=5")
    settings = {"preset": "faces-starter", "overrides": overrides, "judge_steps": 0, "devices": ("cpu",)}
    return JobSpec(title=title, data=str(data), **{**settings, **other})  # type: ignore[arg-type]


def until(jobs: Jobs, run: Path, reached: Callable[[RunInfo], bool]) -> RunInfo:
    """Poll as a window does until a run is where the test wants it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        jobs.poll()
        info = jobs.info(run)
        if reached(info):
            return info
            assert info.state != "failed", info.error
        time.sleep(0.02)
    raise AssertionError(f"{jobs.info(run)} after {PATIENCE} s")


def in_synthesis(info: RunInfo) -> bool:
    return info.state == "training" and info.stage == "synthesis"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "faces", 480)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Jobs(tmp_path / "runs")
    yield made
    for folder in (tmp_path / "runs").glob("*"):
        processes.kill(folder)


@pytest.mark.slow
def test_a_job_trains_tells_and_keeps_its_model(jobs: Jobs, data: Path) -> None:
    started = jobs.start(job(data, judge_steps=4))
    assert started.state in ("preparing", "training")
    run, tail = started.folder, EventTail(started.folder)
    kinds: list[str] = []
    info = until(jobs, run, lambda i: (kinds.extend(e.kind for e in tail.new()), i.state == "finished")[1])
    kinds.extend(e.kind for e in tail.new())
    events = read_events(run)
    assert kinds == [e.kind for e in events]
    assert {"start", "stage", "step", "sample", "evaluation", "finished", "kept"} <= set(kinds)
    assert (info.done, info.total) == (30, 30)
    last = [e for e in events if e.kind == "step"][-1]
    assert last.numbers["seconds_left"] == 0 and last.numbers["memory"] > 2**20
    assert {"pixels", "swapping"} <= set(last.losses()) and "memory" not in last.losses()
    assert {"accuracy: glasses", "leakage: glasses", "pixels"} <= {c.name for c in curves(events)}
    shown = samples_of(run, events)
    assert shown[-1].held_out and not shown[0].held_out
    size = (len(shown[-1].columns) * shown[-1].tile, shown[-1].rows * shown[-1].tile)
    from PIL import Image

    assert Image.open(shown[-1].path).size == size
    # the model is among the user's, knows what it is made of, and edits
    assert info.kept is not None and info.kept in list_models()
    model = Model.load(info.kept, "cpu")
    facts = model.card.training
    assert model.card.title == "Tiny" and len(str(facts["data_sha256"])) == 64
    assert json.loads(str(facts["labels"]))["Glasses"].keys() == {"None", "Glasses"}
    assert set(model.card.metrics) >= {"accuracy", "leakage"} and list((info.kept / "samples").glob("*.png"))
    codes = model.encode(draw_faces(1, 32)[0])
    assert model.decode(model.swap(codes, [Swap("glasses", "glasses")])).shape == (1, 32, 32, 3)
    # and it can go on for longer
    jobs.resume_longer(run, 5)
    longer = until(jobs, run, lambda i: i.state == "finished" and i.total == 35)
    assert longer.done == 35 and longer.kept != info.kept


@pytest.mark.slow
def test_killed_and_paused_it_resumes_to_the_same_weights(jobs: Jobs, data: Path) -> None:
    whole = jobs.start(job(data, "Whole", synthesis=40, keep=False)).folder
    broken = jobs.start(job(data, "Broken", synthesis=40, keep=False)).folder
    assert jobs.info(broken).state == "queued" and jobs.info(broken).place == 1
    until(jobs, whole, lambda i: i.state == "finished")
    until(jobs, broken, in_synthesis)
    pid = json.loads((broken / "process.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    dead = None
    end = time.monotonic() + 20
    while (dead is None or dead.state != "failed") and time.monotonic() < end:
        dead = jobs.info(broken)
    assert dead is not None and dead.state == "failed" and dead.error is not None
    assert "ended from outside" in dead.error.sentence and dead.can_resume
    jobs.resume(broken)
    until(jobs, broken, in_synthesis)
    # another window looks at the same run, and pauses it
    other = Jobs(jobs.root)
    assert in_synthesis(other.info(broken)) or other.info(broken).state == "training"
    other.pause(broken)
    assert other.info(broken).state in ("pausing", "paused")
    until(other, broken, lambda i: i.state == "paused")
    assert not processes.alive(broken)
    jobs.resume(broken)
    until(jobs, broken, lambda i: i.state == "finished")
    one, two = (load_file(r / "model" / "weights.safetensors") for r in (whole, broken))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert differences(whole, broken) == []


@pytest.mark.slow
def test_stop_and_keep_and_a_sample_at_once(jobs: Jobs, data: Path) -> None:
    run = jobs.start(job(data, "Long", synthesis=100_000, minutes=0)).folder
    until(jobs, run, in_synthesis)
    before = len(samples_of(run, read_events(run)))
    jobs.sample_now(run)
    until(jobs, run, lambda i: "sample" in [e.numbers.get("request") for e in read_events(run)])
    jobs.stop_and_keep(run)
    info = until(jobs, run, lambda i: i.state == "finished")
    assert len(samples_of(run, read_events(run))) > before
    assert info.stopped_early and info.kept is not None
    # what is kept has a sample of just that
    events = read_events(run)
    stopped = next(e for e in events if e.kind == "stopped")
    last = [e for e in events if e.kind == "sample"][-1]
    assert (last.numbers["stage"], last.numbers["step"]) == ("synthesis", stopped.numbers["step"])
    assert last.numbers["held_out"] and [p.name for p in (info.kept / "samples").iterdir()]
    card = Model.load(info.kept, "cpu").card
    assert any("stopped early" in limit for limit in card.limits)
    steps = [e for e in read_events(run) if e.kind == "asked" and e.numbers["request"] == "stop"]
    assert len(steps) == 1


@pytest.mark.slow
def test_the_queue_goes_on_without_a_window(jobs: Jobs, data: Path) -> None:
    first = jobs.start(job(data, "First", synthesis=3, keep=False)).folder
    second = jobs.start(job(data, "Second", synthesis=3, keep=False)).folder
    assert jobs.info(second).state == "queued"
    # nobody polls: only the first one's process can start the second
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not any(e.kind == "finished" for e in read_events(second)):
        time.sleep(0.1)
    assert [Jobs(jobs.root).info(run).state for run in (first, second)] == ["finished", "finished"]
    starts = {run: next(e.time for e in read_events(run) if e.kind == "preparing") for run in (first, second)}
    over = next(e.time for e in read_events(first) if e.kind == "finished")
    assert starts[second] >= over


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_killed(
    jobs: Jobs, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs.jobs.KILL_AFTER", 1.0)
    run = jobs.start(job(data, "Deaf", synthesis=100_000)).folder
    until(jobs, run, in_synthesis)
    until(jobs, run, lambda i: (run / "checkpoints" / "last.safetensors").exists())
    pid = json.loads((run / "process.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)
    jobs.pause(run)
    info = until(jobs, run, lambda i: i.state == "paused")
    assert info.can_resume and not processes.alive(run)


@pytest.mark.slow
def test_vanished_images_are_said_and_come_back(jobs: Jobs, data: Path, tmp_path: Path) -> None:
    mine = write_dataset(tmp_path / "mine", 60)
    first = jobs.start(job(data, "Before", synthesis=100_000, keep=False)).folder
    run = jobs.start(job(mine, synthesis=100_000, keep=False)).folder
    mine.rename(tmp_path / "gone")  # while it waits its turn
    until(jobs, first, in_synthesis)
    jobs.pause(first)
    until(jobs, first, lambda i: i.state == "paused")
    end = time.monotonic() + PATIENCE
    while (info := jobs.info(run)).state != "failed" and time.monotonic() < end:
        jobs.poll()
    assert (
        info.error is not None
        and "images of this training are gone" in info.error.sentence
        and info.error.raw
    )
    (tmp_path / "gone").rename(mine)
    jobs.resume(run)
    assert until(jobs, run, in_synthesis).error is None
    # from then on the run has its images itself, and nobody else's folder matters
    jobs.pause(run)
    until(jobs, run, lambda i: i.state == "paused")
    shutil.rmtree(mine)
    jobs.resume(run)
    assert until(jobs, run, in_synthesis).error is None


@pytest.mark.slow
def test_a_copied_folder_trains_by_the_command_it_shows(
    jobs: Jobs, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    mine, base = tmp_path / "mine", tmp_path / "base"
    shutil.copytree(data, mine)
    shutil.copytree(tiny_model, base)
    spec = job(mine, "Here", synthesis=100_000, base=str(base))
    run = jobs.start(spec).folder
    until(jobs, run, in_synthesis)
    until(jobs, run, lambda i: (run / "checkpoints" / "last.safetensors").exists())
    jobs.pause(run)
    until(jobs, run, lambda i: i.state == "paused")
    there = tmp_path / "elsewhere" / "copy"
    shutil.copytree(run, there)
    for folder in (mine, base, run):  # another machine has none of them
        shutil.rmtree(folder)
    config = json.loads((there / "config.json").read_text())
    stored = config["synthesis"]["steps"] = Run(there).load_checkpoint()[1]["step"] + 5  # type: ignore[index]
    (there / "config.json").write_text(json.dumps(config))
    command = shlex.split(headless_command(there))
    done = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    info = Jobs(there.parent).info(there)
    assert info.state == "finished" and info.step == stored and not info.stopped_early
    model = Model.load(there / "model", "cpu")
    assert model.card.title == "Here" and model.card.training["base"]
    # a run that never began has no images of its own: it is told where they are
    never = Jobs(tmp_path / "never", launcher=lambda folder: (_ for _ in ()).throw(StudioError("no")))
    new = never.start(job(mine, "New", synthesis=2, keep=False)).folder
    command = shlex.split(headless_command(new))
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 1
    done = subprocess.run([*command, "--data", str(data)], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and never.info(new).state == "finished"
    assert never.info(new).spec.data == str(data.resolve())


@pytest.mark.slow
def test_a_pause_while_it_prepares_or_measures(jobs: Jobs, data: Path) -> None:
    run = jobs.start(job(data, "Measured", synthesis=100_000, judge_steps=100_000)).folder
    jobs.pause(run)  # its process has hardly begun
    assert jobs.info(run).state == "paused" and not processes.alive(run)
    jobs.resume(run)
    until(jobs, run, in_synthesis)
    jobs.stop_and_keep(run)
    until(jobs, run, lambda i: i.state == "evaluating")
    jobs.pause(run)
    info = jobs.info(run)
    assert info.state == "paused" and not processes.alive(run) and info.can_resume
    step = info.step
    record = read_record(run)
    spec = msgspec.structs.replace(record.spec, judge_steps=3)
    write_record(run, msgspec.structs.replace(record, spec=spec))
    jobs.resume(run)  # it was to be kept: nothing is left but that
    info = until(jobs, run, lambda i: i.state == "finished")
    assert info.step == step and info.stopped_early and info.kept is not None


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [False, True], ids=["scratch", "fine-tuning"])
def test_two_devices_train_one_job_and_answer(jobs: Jobs, data: Path, tiny_model: Path, tuned: bool) -> None:
    other = {"base": str(tiny_model)} if tuned else {}
    spec = job(data, "Team", synthesis=100_000, devices=("cpu", "cpu"), keep=False, **other)
    run = jobs.start(spec).folder
    until(jobs, run, in_synthesis)
    assert next(e for e in read_events(run) if e.kind == "start").numbers["processes"] == 2
    jobs.pause(run)
    # on a machine with much to do the team is killed, and takes its time to die
    until(jobs, run, lambda i: i.state == "paused" and not processes.alive(run))
    jobs.stop_and_keep(run)
    assert until(jobs, run, lambda i: i.state == "finished").stopped_early


@pytest.mark.skipif(sys.platform == "win32", reason="there the whole tree of processes is killed")
@pytest.mark.slow
def test_no_member_of_a_team_outlives_it(jobs: Jobs, data: Path) -> None:
    run = jobs.start(job(data, "Team", synthesis=100_000, devices=("cpu", "cpu"), keep=False)).folder
    until(jobs, run, in_synthesis)
    assert processes.kill(run)
    time.sleep(1.0)
    before = len(read_events(run))
    time.sleep(1.0)
    assert len(read_events(run)) == before and jobs.info(run).state == "failed"
    jobs.resume(run)
    until(jobs, run, in_synthesis)


@pytest.mark.slow
def test_a_budget_shortens_the_plan(jobs: Jobs, data: Path) -> None:
    spec = job(data, "Soon", synthesis=4_000, minutes=0.2, keep=False)
    run = jobs.start(spec).folder
    info = until(jobs, run, lambda i: i.state == "finished")
    assert info.total < 4_000 and (run / "times.json").exists()


# ------------------------------------------------------------------------------- before and beside a job


def test_labels_are_counted_and_what_is_missing_is_said(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    table = label_table(job(data))
    assert table.images == 480 and len(table.counts["glasses"]) == 2
    assert sum(table.counts["glasses"]) + table.missing["glasses"] == 480
    assert not [f for f in check(job(data)) if f.level == "error"]
    lacking = write_dataset(tmp_path / "lacking", 60)
    labels = np.load(lacking / "labels.npy")
    k, few = table.attributes.index("glasses"), table.attributes.index("smile")
    labels[:, k] = np.where(labels[:, k] == 1, -1, labels[:, k])
    labels[np.flatnonzero(labels[:, few] == 1)[3:], few] = -1
    np.save(lacking / "labels.npy", labels)
    told = {f.sentence: f for f in check(job(lacking))}
    assert told["Glasses: no image is labelled Glasses."].level == "error"
    (smile,) = [f for f in told.values() if f.sentence.startswith("Smile: few images are labelled")]
    assert "Smiling (3)" in smile.sentence and smile.level == "warning"
    # a base that goes on knowing its attributes needs no label of them; a new domain does
    for mode, missing in (("add", False), ("domain", True)):
        based = {f.sentence for f in check(job(lacking, base=str(tiny_model), mode=mode))}
        assert ("Glasses: no image is labelled Glasses." in based) == missing
    only = check(job(lacking, attributes=("hair_color",)))
    assert not any("Glasses" in f.sentence for f in only)
    assert [f.level for f in check(job(tmp_path / "nothing"))] == ["error"]
    wrong = check(job(data, devices=("cuda:7",))) if not torch.cuda.is_available() else []
    assert any("no device" in f.sentence for f in wrong) or torch.cuda.is_available()


def test_a_full_disk_and_little_memory_are_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.checks.shutil.disk_usage", lambda _: type("U", (), {"free": 2**20}))
    monkeypatch.setattr("core.jobs.checks._free_memory", lambda: 2**20)
    told = {f.level: f.sentence for f in check(job(data)) if "disk" in f.sentence or "memory" in f.sentence}
    assert "1 MB left" in told["error"] and "memory" in told["warning"]


def test_an_estimate_takes_real_steps(data: Path) -> None:
    found = estimate(job(data, synthesis=50))
    assert set(found.step_seconds) == {"warmup", "disentanglement", "amortisation", "synthesis"}
    assert all(s > 0 for s in found.step_seconds.values())
    wanted = sum(found.step_seconds[s] * found.steps[s] for s in found.step_seconds)
    assert found.seconds == pytest.approx(wanted) and found.steps["synthesis"] == 50
    assert found.memory > 2**20


def test_presets_are_read_without_torch() -> None:
    names = [p.name for p in presets()]
    assert names[:4] == ["quick", "small", "full", "fine-tune"]
    assert all(p.title and p.about and p.steps for p in presets()[:4])


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    assert tail.new() == []
    file = tmp_path / "events.jsonl"
    file.write_text('{"time": 1, "kind": "start", "images": 3}\n{"time": 2, "ki')
    assert [e.kind for e in tail.new()] == ["start"] and tail.new() == []
    with file.open("a") as more:
        more.write('nd": "step", "loss": 0.5, "stage": "warmup", "step": 1}\nrubbish\n')
    (event,) = tail.new()
    assert event.losses() == {"loss": 0.5}


def test_rename_unqueue_and_wrong_requests(jobs: Jobs, data: Path) -> None:
    never = Jobs(jobs.root, launcher=lambda folder: (_ for _ in ()).throw(StudioError("no", "hint")))
    run = never.start(job(data)).folder
    info = never.info(run)
    assert info.state == "failed" and info.error is not None and info.error.sentence == "no"
    jobs.rename(run, "  Another ")
    assert jobs.info(run).title == "Another" and read_record(run).spec.title == "Another"
    with pytest.raises(StudioError, match="needs a title"):
        jobs.rename(run, " ")
    with pytest.raises(StudioError, match="no checkpoint"):
        jobs.stop_and_keep(run)
    with pytest.raises(StudioError, match="Only a run that trains"):
        jobs.sample_now(run)
    with pytest.raises(StudioError, match="finished"):
        jobs.resume_longer(run, 10)
    with pytest.raises(StudioError, match="no training job"):
        jobs.info(data)


def test_discard_goes_to_the_trash(
    jobs: Jobs, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = Jobs(jobs.root, launcher=lambda folder: (_ for _ in ()).throw(StudioError("no", "hint")))
    run = never.start(job(data)).folder
    thrown: list[str] = []

    def trash(path: str) -> None:
        thrown.append(path)
        Path(path).rename(tmp_path / "trash")

    monkeypatch.setattr("core.jobs.jobs.send2trash", trash)
    never.discard(run)
    assert thrown == [str(run)] and never.list() == () and (tmp_path / "trash" / "job.json").exists()


def test_a_reused_process_id_fools_nobody(tmp_path: Path) -> None:
    # a record of a living process (this one) that never held the lock, or let go of it
    record = {"pid": os.getpid(), "started": time.time() - 3600, "own": False}
    (tmp_path / "process.json").write_text(json.dumps(record))
    assert not processes.alive(tmp_path) and not processes.kill(tmp_path)
    (tmp_path / "process.json").write_text(json.dumps({**record, "started": time.time(), "own": True}))
    assert not processes.alive(tmp_path) and not processes.kill(tmp_path)
    with processes.being_the_process(tmp_path):
        assert processes.alive(tmp_path)
    assert not processes.alive(tmp_path)


def test_settings_of_two_runs_are_compared(jobs: Jobs, data: Path) -> None:
    never = Jobs(jobs.root, launcher=lambda folder: (_ for _ in ()).throw(StudioError("no", "hint")))
    one, two = (never.start(job(data, t, seed=s)).folder for t, s in (("A", 1), ("B", 2)))
    assert differences(one, two) == [("job.seed", 1, 2)]


def test_a_collection_becomes_images_with_labels(tmp_path: Path) -> None:
    from PIL import Image

    from core.attributes import Attribute, AttributeSet, Value
    from core.collection import Collection
    from core.jobs.data import fingerprint, prepare

    folder = tmp_path / "hats"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(40):
        place = folder / ("deep" if i % 2 else ".") / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(place)
    hat = Attribute("hat", "Hat", (Value("none", "None"), Value("hat", "Hat")))
    coat = Attribute("coat", "Coat", (Value("none", "None"), Value("coat", "Coat")))
    with Collection.create(folder, AttributeSet("clothes", "Clothes", (coat, hat))) as collection:
        collection.scan()
        ids, paths = collection.images().ids, collection.images().paths
        values = np.array([path.startswith("deep") for path in paths], int)
        collection.set_labels("hat", ids[:30], values[:30], "person")
    spec = job(folder, kind="collection", attributes=("hat",), size=32)
    table = label_table(spec)
    assert table.counts == {"hat": tuple(np.bincount(values[:30]))} and table.missing == {"hat": 10}
    told: list[tuple[int, int]] = []
    dataset = prepare(spec, tmp_path / "out", 32, lambda done, total: told.append((done, total)))
    assert dataset.images.shape == (40, 32, 32, 3) and told
    for name, label in zip(dataset.index.names, dataset.label_array()[:, 0], strict=True):
        assert label == (name.startswith("deep") if name in paths[:30] else -1)
    from core.jobs.data import label_sources
    from core.training.dataset import Dataset

    assert label_sources(Dataset.open(tmp_path / "out")) == {"coat": {}, "hat": {"person": 30}}
    # prepared once; another run's data are other data
    assert prepare(spec, tmp_path / "out", 32).index.names == dataset.index.names
    assert fingerprint(dataset) == fingerprint(dataset) != fingerprint(dataset.take(np.arange(39)))
