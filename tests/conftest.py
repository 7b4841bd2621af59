"""Fixtures shared by all tests. Windows are offscreen; nothing of the user's own settings is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared: no example may fail for taking long. CI tries the same examples each time, so that what
# passed here passes there; elsewhere they are new in each run.
settings.register_profile(
    "studio",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("studio")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if "PYTEST_XDIST_WORKER" in os.environ:  # each of several side by side, and what it starts, has one core
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a 32 px model that the project's own training made in a few seconds, with all stages."""
    from core.training.dataset import Dataset
    from core.training.loop import train
    from core.training.run import Run
    from tests.synthetic import tiny_config, write_dataset

    folder = tmp_path_factory.mktemp("tiny")
    config = tiny_config()
    dataset = Dataset.open(write_dataset(folder / "data")).part("train")
    model = train(config, dataset, Run.start(folder / "run", config), "cpu")
    assert model is not None
    model.save(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photo of a face, 512 px, openly licensed (NASA), from scikit-image."""
    from PIL import Image
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path
