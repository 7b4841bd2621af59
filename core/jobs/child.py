"""What a run's process does: prepare, train, measure, keep; and how it listens and tells."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from core.errors import StudioError
from core.files import atomic_write
from core.jobs import process
from core.jobs.failures import tell_failure
from core.jobs.info import CALMER, CONTROL, FINISH, LONGER, read_record, withdraw
from core.jobs.listening import JobRun, Listener
from core.jobs.spec import JobSpec
from core.jobs.team import AlreadyTold, train_together

if TYPE_CHECKING:
    from core.model import Model
    from core.training.config import TrainConfig
    from core.training.dataset import Dataset

DONE, FAILED = 0, 1
FEWEST_JUDGED = 20  # labels of every value, in the judge's part, for an attribute to be judged


def run_job(folder: Path) -> int:
    """Be the process of the run in `folder` until it is finished, paused or has failed; the exit code.

    All that happens is told in events.jsonl. Starts the queue's next job before it ends.
    """
    folder = folder.resolve()
    read_record(folder)
    with process.being_the_process(folder):
        (folder / CONTROL).mkdir(exist_ok=True)
        run = JobRun(folder)
        try:
            _work(run)
            code = DONE
        except AlreadyTold:
            code = FAILED
        except BaseException as error:
            tell_failure(run, error)
            code = FAILED
            if not isinstance(error, Exception):
                raise
        finally:
            withdraw(folder)
    # the window may be closed, and the queue is to go on
    from core.jobs.jobs import Jobs

    with suppress(StudioError, OSError):
        Jobs(folder.parent).start_next()
    return code


def _work(run: JobRun) -> None:
    from core.training.run import Run

    spec = read_record(run.folder).spec
    if run.asked("pause"):
        run.event("paused")
        return
    run.event("preparing", done=0, total=0)
    whole = _prepare(run, spec)
    if whole is None:
        run.event("paused")
        return
    if not (run.folder / "config.json").exists():
        _begin(run, spec, whole)
    _, config = Run.resume(run.folder)
    config = _calmer(run, _longer(run, config))
    _train(run, spec, config, _fitted(run, config, whole))


def open_images(run: JobRun, spec: JobSpec, config: TrainConfig) -> Dataset:
    """The images of a run that are ready already, with the labels in the places of its model."""
    from core.jobs.data import prepare

    return _fitted(run, config, prepare(spec, run.folder / "data", config.network.image_size))


def _fitted(run: JobRun, config: TrainConfig, whole: Dataset) -> Dataset:
    from core.training import finetune

    if not config.finetune.base:
        return whole
    return finetune.fit_dataset(whole, finetune.attributes_for(run.folder, config, whole.attributes))


def _prepare(run: JobRun, spec: JobSpec) -> Dataset | None:
    """The images; None if asked to pause before they were ready."""
    from core.jobs.data import labels_of, prepare
    from core.jobs.settings import make_config
    from core.training.run import Run

    class Interrupted(Exception):
        pass

    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if run.asked("pause") or run.asked("stop"):
            run.acknowledge()
            raise Interrupted
        if time.monotonic() - told > 1:
            told = time.monotonic()
            run.event("preparing", done=done, total=total)

    if not (run.folder / "data" / "index.json").exists() and not Path(spec.data).exists():
        raise StudioError(
            f"The images of this training are gone: there is no folder {spec.data}.",
            "Put it back there and resume.",
        )
    if (run.folder / "config.json").exists():  # what it began from may be gone, or on another machine
        size = Run.resume(run.folder)[1].network.image_size
    else:
        attributes, _ = labels_of(spec)
        size = make_config(spec, attributes).network.image_size
    try:
        return prepare(spec, run.folder / "data", size, progress)
    except Interrupted:
        return None


def _begin(run: JobRun, spec: JobSpec, dataset: Dataset) -> None:
    """Fix the settings of a new run, cut to the time budget, and copy its base into it."""
    from core.jobs.checks import measure
    from core.jobs.settings import make_config
    from core.training import finetune
    from core.training.run import Run

    config = make_config(spec, dataset.attributes)
    if spec.base:
        finetune.store_base(Path(spec.base), run.folder)
    seconds = dict(spec.step_seconds)
    if spec.minutes and not seconds:
        trial = run.folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        seconds = measure(config, dataset.part("train"), spec, trial).step_seconds
        shutil.rmtree(trial, ignore_errors=True)
    if spec.minutes:
        config = _cut(config, seconds, spec.minutes * 60)
    with atomic_write(run.folder / "times.json", overwrite=True) as file:
        file.write(msgspec.json.encode(seconds))
    Run.start(run.folder, config)


def _cut(config: TrainConfig, seconds: dict[str, float], budget: float) -> TrainConfig:
    """All stages shortened by one factor so that they fit into a budget, with a tenth left for the rest."""
    needed = sum(seconds.get(s, 0.0) * getattr(config, s).steps for s in _stages())
    factor = min(1.0, 0.9 * budget / needed) if needed else 1.0
    shorter = {
        s: msgspec.structs.replace(getattr(config, s), steps=max(1, round(getattr(config, s).steps * factor)))
        for s in _stages()
        if getattr(config, s).steps
    }
    return msgspec.structs.replace(config, **shorter)


def _longer(run: JobRun, config: TrainConfig) -> TrainConfig:
    """Carry out a wish to train a finished run for longer: more steps of the last stage, from its end."""
    from core.training.state import STAGES, stage_place

    wish = run.folder / CONTROL / LONGER
    if not wish.exists():
        return config
    steps = int(wish.read_text() or 0)
    stored = run.load_checkpoint()
    if stored is None:
        raise StudioError("The run has no checkpoint to go on from.", "Start a new run.")
    tensors, where = stored
    if stage_place(where["stage"]) == len(STAGES):  # else steps are left, and these are more
        where |= {"stage": STAGES[-1], "step": config.synthesis.steps}
        run.save_checkpoint(tensors, where)
    synthesis = msgspec.structs.replace(config.synthesis, steps=config.synthesis.steps + steps)
    config = msgspec.structs.replace(config, synthesis=synthesis)
    _replace_settings(run, config)
    wish.unlink()
    return config


def _calmer(run: JobRun, config: TrainConfig) -> TrainConfig:
    """After a training that diverged: half the learning rates, which the same steps may survive."""
    wish = run.folder / CONTROL / CALMER
    if not wish.exists():
        return config
    for stage in _stages():
        settings = getattr(config, stage)
        rates = {n: getattr(settings, n) / 2 for n in settings.__struct_fields__ if n.startswith("lr")}
        config = msgspec.structs.replace(config, **{stage: msgspec.structs.replace(settings, **rates)})
    _replace_settings(run, config)
    wish.unlink()
    run.event("calmer")
    return config


def _replace_settings(run: JobRun, config: TrainConfig) -> None:
    with atomic_write(run.folder / "config.json", overwrite=True) as file:
        file.write(msgspec.json.format(msgspec.json.encode(config), indent=2))


def _train(run: JobRun, spec: JobSpec, config: TrainConfig, whole: Dataset) -> None:
    from core.training.loop import model_so_far, train

    part = whole.part("train")
    # a stop for a run that isn't going, or a pause while it was measured: nothing but its model is wanted
    finish = run.folder / CONTROL / FINISH
    only_keep = (run.asked("stop") or finish.exists()) and run.checkpoint_file.exists()
    model, stage = None, ""
    if not only_keep and len(spec.devices) > 1:
        train_together(run, spec)
    elif not only_keep:
        listener = Listener(run, config, whole, spec)
        model = train(config, part, run, spec.devices[0], watch=listener)
        run.listener = None
    if model is None:
        if run.asked("pause") and not run.asked("stop"):
            run.event("paused")
            return
        if only_keep:
            run.acknowledge()
        listener = Listener(run, config, whole, spec)
        model, stage = model_so_far(config, part, run, spec.devices[0], listener)
        run.listener = None
    withdraw(run.folder, "pause", "sample")
    finish.touch()
    _finish(run, spec, config, whole, model, stage)
    finish.unlink(missing_ok=True)


def _finish(
    run: JobRun, spec: JobSpec, config: TrainConfig, whole: Dataset, model: Model, stage: str
) -> None:
    """Save the model at once, then measure it, write the numbers into its card, and keep it."""
    from core.jobs.keep import keep_model
    from core.model import save_card
    from core.training.evaluate import evaluate

    run.event("evaluating")
    card = _card(run, spec, whole, model, stage)
    model.card = card
    folder = run.folder / "model"
    shutil.rmtree(folder, ignore_errors=True)
    model.save(folder)
    _copy_samples(run.folder, folder)
    metrics: dict[str, Any] = {}
    if len(whole.part("held_out")) >= 10:
        metrics = evaluate(model, whole, _judge(run, spec, config, whole))
        model.card = msgspec.structs.replace(model.card, metrics=metrics)
        save_card(model.card, folder)
    if spec.keep:
        run.event("kept", folder=str(keep_model(folder, spec.title)))
    run.event("finished", stage=stage, metrics=metrics)


def _judge(run: JobRun, spec: JobSpec, config: TrainConfig, whole: Dataset) -> Any:
    """A judge of swaps, kept in the run, for the attributes that it can learn; None where there are none."""
    from core.jobs.data import only
    from core.training.finetune import FittedJudge
    from core.training.judge import Judge, train_judge

    judged = whole.part("judge")
    labels = judged.label_array()
    names = [
        a.name
        for k, a in enumerate(whole.attributes)
        if all((labels[:, k] == v).sum() >= FEWEST_JUDGED for v in range(len(a.values)))
    ]
    if not spec.judge_steps or not names or config.network.image_channels != 3:
        return None
    taught, file = only(whole, names), run.folder / "swaps-judge.safetensors"
    if not file.exists():
        train_judge(taught, config.network.image_size, spec.judge_steps, batch=64).save(file)
    return FittedJudge(Judge.load(file), taught.attributes, whole.attributes)


def _card(run: JobRun, spec: JobSpec, whole: Dataset, model: Model, stage: str) -> Any:
    from core.jobs.data import fingerprint, label_sources
    from core.training.dataset import Dataset

    card = model.card
    part = whole.part("train")
    counts = {
        a.title: {v.title: int((part.label_array()[:, k] == i).sum()) for i, v in enumerate(a.values)}
        for k, a in enumerate(whole.attributes)
    }
    facts: dict[str, float | int | str] = {
        "data_sha256": fingerprint(part),
        "labels": msgspec.json.encode(counts).decode(),
        "seconds": round(run.seconds()),
    }
    own = run.folder / "data"
    raw = own if (own / "index.json").exists() else Path(spec.data)
    if by_source := label_sources(Dataset.open(raw).part("train")):
        facts["labels_by_source"] = msgspec.json.encode(by_source).decode()
    limits = list(card.limits)
    licence, sources = card.licence, card.sources
    if spec.base:
        from core.model import load_card
        from core.training.finetune import BASE

        base = load_card(run.folder / BASE)
        facts["base"] = f"{base.title} ({base.weights_sha256[:12]})"
        # what holds for the base holds for what grew out of it
        licence = "; ".join(dict.fromkeys(text for text in (base.licence, licence) if text))
        sources = (*base.sources, *sources)
        limits += [limit for limit in base.limits if limit not in limits]
    if stage:
        limits.append(f"Its training was stopped early, in the stage “{stage}”.")
        if stage in ("warmup", "disentanglement"):
            limits.append(
                "It was stopped before it learned to see photos of its own: its pictures are no use yet."
            )
    return msgspec.structs.replace(
        card,
        title=spec.title,
        description=_description(spec, whole),
        licence=licence,
        sources=sources,
        limits=tuple(limits),
        training={**card.training, **facts},
    )


def _description(spec: JobSpec, whole: Dataset) -> str:
    names = [a.title.lower() for a in whole.attributes]
    listed = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
    return f"Trained in the program on {Path(spec.data).name}: {listed}."


def _copy_samples(run: Path, model: Path) -> None:
    """The last sample goes with the model."""
    pictures = sorted((run / "samples").glob("*.png"), key=lambda path: path.stat().st_mtime)
    if pictures:
        (model / "samples").mkdir(exist_ok=True)
        shutil.copyfile(pictures[-1], model / "samples" / pictures[-1].name)


def _stages() -> tuple[str, ...]:
    from core.training.state import STAGES

    return STAGES


def limit_threads() -> None:
    """Leave one processor to the window, so that it stays smooth while a training runs beside it."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    np.seterr(all="ignore")
