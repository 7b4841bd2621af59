"""A job on several devices: the run's process starts one process for each, through torchrun's launcher."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from core.errors import StudioError
from core.jobs import process
from core.jobs.events import read_events
from core.jobs.failures import tell_failure
from core.jobs.info import read_record
from core.jobs.listening import JobRun, Listener

if TYPE_CHECKING:
    from core.jobs.spec import JobSpec


class AlreadyTold(Exception):
    """A member failed, and has told so in the run's events."""


def train_together(run: JobRun, spec: JobSpec) -> None:
    """Train with one process a device, to the end or until asked to stop; all is in the checkpoint then.

    AlreadyTold if one of them failed; StudioError if they could not be started.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    cuda = [d.partition(":")[2] or "0" for d in spec.devices if d.startswith("cuda")]
    if cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(cuda)
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=len(spec.devices),
        run_id=f"{run.folder.name}-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    command = process.main_command("_train", str(run.folder), "--member")
    before = len(read_events(run.folder))
    try:
        elastic_launch(launch, command[0])(*command[1:])
    except ChildFailedError as error:
        if any(event.kind == "failed" for event in read_events(run.folder)[before:]):
            raise AlreadyTold from error
        raise StudioError(
            "One of the processes of this training was ended from outside.",
            "Resume it: it goes on from the last checkpoint.",
        ) from error


def _end_with_parent(parent: int) -> None:
    """End this process once the run's process is gone: torchrun's launcher starts a session for each member,
    so that killing the run's own would leave them writing. On Windows the whole tree is killed."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def be_a_member(folder: Path) -> NoReturn:
    """One of the processes that `train_together` starts: ends it, with 1 if it failed."""
    from core.jobs.child import open_images
    from core.training.loop import train
    from core.training.parallel import join_team, leave_at_once
    from core.training.run import Run

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    folder = folder.resolve()
    spec = read_record(folder).spec
    team, device = join_team("cuda" if spec.devices[0].startswith("cuda") else "cpu")
    run = JobRun(folder, writes=team.leads)
    try:
        _, config = Run.resume(folder)
        whole = open_images(run, spec, config)
        listener = Listener(run, config, whole, spec) if team.leads else None
        train(config, whole.part("train"), run, device, watch=listener, team=team)
    except Exception as error:
        tell_failure(run, error)
        leave_at_once(1)
    leave_at_once(0)
