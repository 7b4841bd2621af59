"""The command line, through the real `main()`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import __version__
from core.cli import app
from core.images import open_photo
from core.model import load_card
from main import main
from tests.synthetic import TINY, write_dataset

ROOT = Path(__file__).parent.parent

Edit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Edit:
    """Exit code, standard output and standard error of a command line."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def edit(run: Edit, tiny_model: Path) -> Edit:
    """`edit` with the small model."""
    return lambda *arguments: run("edit", *arguments, "--model", tiny_model, "--device", "cpu")


@pytest.fixture(scope="session")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo with a large face on the right and a smaller one on the left."""
    from skimage.data import astronaut

    large = Image.fromarray(astronaut())
    photo = Image.new("RGB", (900, 512), (90, 120, 90))
    photo.paste(large, (388, 0))
    photo.paste(large.resize((340, 340), Image.Resampling.LANCZOS), (10, 100))
    path = tmp_path_factory.mktemp("couple") / "couple.png"
    photo.save(path)
    return path


def changed(before: Path, after: Path) -> np.ndarray:
    """(H, W) where two photos differ."""
    return (open_photo(before).pixels != open_photo(after).pixels).any(2)


# ------------------------------------------------------------------------------------------ the program


def test_help_names_every_command(run: Edit) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(f"  {name}" in out for name in app.COMMANDS)
    for name in app.COMMANDS:
        code, out, err = run(name, "--help")
        assert (code, err) == (0, "") and out.startswith(f"usage: python main.py {name}")


def test_version(run: Edit) -> None:
    assert run("--version") == (0, f"ZeroDIM Studio {__version__}\n", "")


def test_starts_without_loading_what_it_does_not_need() -> None:
    slow = "{'torch', 'PySide6', 'gui'}"
    code = f"import sys, main; main.main(['--help']); sys.exit(bool({slow} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["edti"], "there is no command and no photo called “edti”"),
        (["bench"], "WHAT"),
        (["edit", "a.jpg", "--set", "glasses=none"], "--out"),
        (["edit", "--set", "glasses=none", "--out", "b.jpg"], "name a photo"),
        (["edit", "a.jpg", "--out", "b.jpg"], "--set or with --recipe"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses"], "ATTRIBUTE=VALUE"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none:"], "ATTRIBUTE=VALUE"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none:1.6"], "not a strength"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none", "--strength", "nan"], "not a strength"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none", "--face", "0"], "not all, largest"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none", "--frame", "1,2"], "X,Y,SIDE"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none", "--frame", "1,2,0"], "X,Y,SIDE"),
        (["edit", "a.jpg", "--out", "b.jpg", "--set", "glasses=none", "--quality", "0"], "not a quality"),
        (["edit", "a.jpg", "--out", "b.gif", "--set", "glasses=none"], "can't be saved with this suffix"),
        (["train", "--data", "d"], "name a preset"),
    ],
)
def test_wrong_usage_exits_with_2(run: Edit, arguments: list[str], sentence: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def opened_by(arguments: list[str], tmp_path: Path) -> list[Any]:
    calls: list[Any] = []

    def open_window(*given: Any) -> int:
        calls.append(given)
        return 0

    def no_measuring(*_: Any) -> dict[str, Any]:
        raise AssertionError("only the benchmark measures")

    assert app.main(arguments, app.Program(open_window, no_measuring, no_measuring)) == 0
    return calls


def test_without_a_command_the_window_opens(tmp_path: Path, astronaut: Path) -> None:
    assert opened_by([], tmp_path) == [(None, None, None)]
    assert opened_by([str(astronaut)], tmp_path) == [(astronaut, None, None)]
    arguments = [str(astronaut), "--model", "folder", "--quit-after", "0.5"]
    assert opened_by(arguments, tmp_path) == [(astronaut, Path("folder"), 0.5)]


def test_a_missing_photo_or_screen_is_said_before_the_window_opens(
    run: Edit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, _, err = run(tmp_path / "missing.jpg")
    assert code == 1 and "There is no photo" in err
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        code, _, err = run()
        assert code == 1 and "no screen" in err


# ------------------------------------------------------------------------------------------------- edit


def test_edits_inside_the_face_only(edit: Edit, astronaut: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    code, said, err = edit(
        astronaut, "--set", "hair_color=blond", "--set", "glasses=glasses:0.5", "--out", out, "--json"
    )
    assert (code, err) == (0, "")
    result = json.loads(said)
    assert (result["edited"], result["failed"]) == (1, 0)
    (photo,) = result["photos"]
    assert photo["ok"] and photo["out"] == str(out)
    assert [face.keys() for face in photo["seen"]] == [
        {"age", "gender", "ethnicity", "hair_color", "facial_hair", "glasses", "smile"}
    ]
    (face,) = photo["recipe"]["faces"]
    assert [s["strength"] for s in face["swaps"]] == [1.0, 0.5]
    frame = face["frame"]
    difference = changed(astronaut, out)
    assert difference.any()
    rows, columns = np.nonzero(difference)
    reach = frame["side"] * 0.71
    assert abs(rows - frame["center_y"]).max() < reach and abs(columns - frame["center_x"]).max() < reach


def test_an_edit_goes_beyond_the_frame_where_that_is_wanted(
    edit: Edit, astronaut: Path, tmp_path: Path
) -> None:
    black, wide = ("--set", "hair_color=black"), tmp_path / "wide.png"
    assert edit(astronaut, *black, "--out", tmp_path / "narrow.png")[0] == 0
    code, said, _ = edit(astronaut, *black, "--beyond", "--out", wide, "--json")
    (face,) = json.loads(said)["photos"][0]["recipe"]["faces"]
    assert code == 0 and face["beyond"]
    frame, more = face["frame"], changed(tmp_path / "narrow.png", wide)
    rows, columns = np.nonzero(changed(astronaut, wide) & more)
    away = np.maximum(abs(rows - frame["center_y"]), abs(columns - frame["center_x"])) / frame["side"]
    assert away.max() > 0.55
    # a recipe says it for other photos too
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(json.loads(said)["photos"][0]["recipe"]))
    assert edit(astronaut, "--recipe", recipe, "--out", tmp_path / "again.png")[0] == 0
    assert not changed(wide, tmp_path / "again.png").any()
    code, _, err = edit("--recipe", recipe, "--beyond", "--out", tmp_path / "out.png")
    assert code == 2 and "leave --beyond out" in err


def test_the_result_of_a_json_edit_can_be_replayed(
    edit: Edit, astronaut: Path, couple: Path, tmp_path: Path
) -> None:
    _, said, _ = edit(astronaut, "--set", "smile=smiling", "--out", tmp_path / "first.png", "--json")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(json.loads(said)["photos"][0]["recipe"]))
    assert edit("--recipe", recipe, "--out", tmp_path / "again.png")[0] == 0
    assert not changed(tmp_path / "first.png", tmp_path / "again.png").any()
    assert edit(couple, "--recipe", recipe, "--out", tmp_path / "other.png")[0] == 0
    assert changed(couple, tmp_path / "other.png").any()


def test_recipes_that_cannot_be_followed(
    edit: Edit, run: Edit, tiny_model: Path, astronaut: Path, tmp_path: Path
) -> None:
    frame = {"center_x": 200.0, "center_y": 200.0, "side": 100.0}
    face = {"frame": frame, "swaps": [{"attribute": "smile", "value": "smiling"}]}
    base: dict[str, Any] = {"photo": str(astronaut), "model": "elsewhere", "faces": [face]}
    recipe = tmp_path / "recipe.json"
    for content, sentence in (
        ("not json", "is not a valid recipe"),
        ({**base, "faces": []}, "changes nothing"),
        ({**base, "schema": 99}, "newer version"),
        ({**base, "faces": [{**face, "frame": {**frame, "side": -1}}]}, "not a square"),
        ({**base, "faces": [{**face, "swaps": [{"attribute": "hat", "value": "red"}]}]}, "no attribute"),
        ({**base, "faces": [{**face, "swaps": [{**face["swaps"][0], "strength": 9}]}]}, "not a strength"),  # type: ignore[index]
    ):
        recipe.write_text(content if isinstance(content, str) else json.dumps(content))
        code, _, err = edit("--recipe", recipe, "--out", tmp_path / "out.png")
        assert code == 1 and sentence in err
    recipe.write_text(json.dumps(base))
    code, _, err = run("edit", "--recipe", recipe, "--out", tmp_path / "out.png")
    assert code == 1 and "“elsewhere”, is not installed" in err
    assert edit("--recipe", tmp_path / "none.json", "--out", tmp_path / "out.png")[0] == 1
    other = {**face, "swaps": [{"attribute": "smile", "value": "none"}]}
    recipe.write_text(json.dumps({**base, "faces": [face, other]}))
    code, _, err = edit(astronaut, "--recipe", recipe, "--out", tmp_path / "out.png")
    assert code == 1 and "different ways" in err
    assert not (tmp_path / "out.png").exists()


def test_a_folder_with_a_broken_photo(edit: Edit, astronaut: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "new" / "edited"
    photos.mkdir()
    pixels = Image.open(astronaut)
    pixels.save(photos / "a.jpg")
    pixels.save(photos / "c.webp")
    pixels.save(photos / "d.gif")
    (photos / "b.jpg").write_bytes((photos / "a.jpg").read_bytes()[:2000])
    (photos / "notes.txt").write_text("no photo")
    code, said, err = edit(photos, "--set", "age=old", "--out", out)
    assert code == 1
    assert err.splitlines() == [f"error: {photos / 'b.jpg'}: b.jpg is damaged or incomplete. "
                                "Copy it again from where it came, or choose another photo."]  # fmt: skip
    assert sorted(p.name for p in out.iterdir()) == ["a-edited.jpg", "c-edited.webp", "d-edited.png"]
    assert len(said.splitlines()) == 3 and "1 face, age=old" in said
    # nothing is replaced unless asked
    before = (out / "a-edited.jpg").stat().st_mtime_ns
    code, said, err = edit(photos / "a.jpg", "--set", "age=old", "--out", out)
    assert code == 1 and "exists already" in err
    assert (out / "a-edited.jpg").stat().st_mtime_ns == before
    assert edit(photos / "a.jpg", "--set", "age=old", "--out", out, "--overwrite")[0] == 0
    assert (out / "a-edited.jpg").stat().st_mtime_ns != before


def test_photos_of_one_name_do_not_replace_each_other(edit: Edit, astronaut: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.png").write_bytes(astronaut.read_bytes())
    out = tmp_path / "out"
    code, _, err = edit(tmp_path / "one", tmp_path / "two", "--set", "age=old", "--out", out)
    assert (code, err) == (0, "")
    assert sorted(p.name for p in out.iterdir()) == ["photo-edited-2.png", "photo-edited.png"]


def test_unknown_names_list_the_possible_ones(edit: Edit, astronaut: Path, tmp_path: Path) -> None:
    code, _, err = edit(astronaut, "--set", "hat=red", "--out", f"{tmp_path}/folder/")
    assert code == 2 and "hair_color" in err
    code, _, err = edit(astronaut, "--set", "hair_color=green", "--out", tmp_path / "out.png")
    assert code == 2 and "black, brown, blond, grey, bald" in err
    code, _, err = edit(
        astronaut, "--set", "smile=none", "--set", "smile=smiling", "--out", tmp_path / "out.png"
    )
    assert code == 2 and "twice" in err
    assert not list(tmp_path.iterdir())


def test_chooses_faces(edit: Edit, couple: Path, tmp_path: Path) -> None:
    sides = {}
    for face in ("largest", "1", "2", "all"):
        out = tmp_path / f"{face}.png"
        code, _, err = edit(couple, "--set", "age=old", "--face", face, "--out", out)
        assert (code, err) == (0, "")
        difference = changed(couple, out)
        sides[face] = (bool(difference[:, :388].any()), bool(difference[:, 450:].any()))
    assert sides == {"largest": (False, True), "1": (False, True), "2": (True, False), "all": (True, True)}
    code, _, err = edit(couple, "--set", "age=old", "--face", "3", "--out", tmp_path / "3.png")
    assert code == 1 and "There are 2 faces, no face 3" in err


def test_a_photo_without_a_face_and_a_frame_by_hand(edit: Edit, tmp_path: Path) -> None:
    photo, out = tmp_path / "plain.png", tmp_path / "out.png"
    Image.effect_noise((300, 200), 40).convert("RGB").save(photo)
    code, said, err = edit(photo, "--set", "age=old", "--out", out, "--json")
    assert code == 1 and "No face was found" in err
    assert json.loads(said)["photos"][0]["error"]["message"] == "No face was found."
    code, _, err = edit(photo, "--set", "age=old", "--frame", "900,900,50", "--out", out)
    assert code == 1 and "outside the photo" in err
    assert not out.exists()
    code, _, err = edit(photo, "--set", "age=old", "--frame", "150,100,80,15", "--out", out)
    assert (code, err) == (0, "")
    difference = changed(photo, out)
    assert difference.any() and not difference[:, :90].any() and not difference[:, 210:].any()


def test_errors_before_the_first_photo_are_json_too(run: Edit, astronaut: Path, tmp_path: Path) -> None:
    code, said, err = run(
        "edit", astronaut, "--set", "a=b", "--out", tmp_path / "o.png", "--model", tmp_path, "--json"
    )
    assert code == 1 and "holds no model" in err
    assert "holds no model" in json.loads(said)["error"]["message"]
    code, said, err = run("edit", tmp_path, "--set", "a=b", "--out", tmp_path / "o.png")
    assert code == 1 and "There is no photo in" in err


# -------------------------------------------------------------------------------------- other commands


def test_models_lists_names_for_set(run: Edit, tiny_model: Path, tmp_path: Path) -> None:
    code, said, err = run("models", tiny_model)
    assert (code, err) == (0, "")
    assert "hair_color   black, brown, blond, grey, bald" in said
    code, said, err = run("models", tiny_model, tmp_path, "--json")
    assert code == 1 and "holds no model" in err
    good, bad = json.loads(said)["models"]
    assert good["attributes"]["glasses"]["values"] == ["none", "glasses"]
    assert bad["error"]["message"] in err


def test_bench_measures_every_step(run: Edit, tiny_model: Path, astronaut: Path) -> None:
    steps = ("--runs", "2", "--drag", "0", "--photo", astronaut, "--model", tiny_model)
    code, said, err = run("bench", "edit", *steps, "--json")
    assert (code, err) == (0, "")
    times = json.loads(said)["milliseconds"]
    steps_told = ["load", "open", "detect", "encode", "swap_decode", "blend", "save", "refine", "screen"]
    assert list(times) == steps_told
    assert all(times[step].keys() == {"first", "median", "p95", "runs"} for step in list(times)[1:])
    code, said, err = run("bench", "edit", *steps)
    assert (code, err) == (0, "") and "swap and decode" in said


def test_evaluate_measures_and_writes_the_card(run: Edit, tiny_model: Path, tmp_path: Path) -> None:
    data, model = write_dataset(tmp_path / "data"), tmp_path / "model"
    shutil.copytree(tiny_model, model)
    evaluate = ("evaluate", model, "--data", data, "--device", "cpu", "--judge-steps", "20")
    code, said, err = run(*evaluate, "--write", "--json")
    assert code == 0 and err.startswith("A judge of the swaps is trained, once: 20 steps.")
    metrics = json.loads(said)["metrics"]
    assert set(metrics["swap_success"]) == {a.name for a in load_card(model).attributes}
    assert load_card(model).metrics == metrics
    assert load_card(tiny_model).metrics == {}
    judge = (data / "swaps-judge-32.safetensors").stat().st_mtime_ns
    code, said, err = run(*evaluate)
    assert (code, err) == (0, "")
    assert (
        said.startswith("| | classified | by the judge | the same, mean of values | swapped |")
        and "| hair_color | " in said
    )
    assert (data / "swaps-judge-32.safetensors").stat().st_mtime_ns == judge
    assert "swapped" not in run(*evaluate, "--without-judge")[1]


@pytest.mark.slow
def test_train_stops_on_interrupt_and_goes_on(tmp_path: Path) -> None:
    data, folder = write_dataset(tmp_path / "data", 64), tmp_path / "run"
    settings = [part for text in (*TINY, "warmup.steps=2000") for part in ("--set", text)]
    train = [sys.executable, "main.py", "train", "--data", str(data), "--run", str(folder), "--device", "cpu"]
    child = subprocess.Popen(
        [*train, "faces-starter", *settings], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while not (folder / "events.jsonl").exists():
        assert child.poll() is None
        time.sleep(0.05)
    # nobody else trains in its folder meanwhile
    other = subprocess.run([*train, "--resume"], cwd=ROOT, capture_output=True, text=True)
    assert (other.returncode, child.poll()) == (1, None)
    assert other.stderr == "error: Another process is at this work already. Wait until it ends.\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert err == f"error: stopped. Go on with --resume --run {folder}.\n"
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"steps": 2000', '"steps": 60'))
    done = subprocess.run([*train, "--resume"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{folder / 'model'}\n", "")
    assert main(["models", str(folder / "model")]) == 0
