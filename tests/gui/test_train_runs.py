"""What a person does with runs and models at the window: measure, rename, compare, go on, export, import."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QInputDialog

from core.installed import list_models
from core.model import Model
from gui.trainer.result_tab import ResultTab
from gui.widgets import asking
from tests.gui.conftest import Drive
from tests.gui.hands import Hands
from tests.gui.training import state_of, tiny_job, to_train, trained, training, write_preset
from tests.synthetic import draw_faces, write_dataset

pytestmark = pytest.mark.usefixtures("own_home")

SHORT = ("synthesis.steps=12",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "drawn", 240)


def answers(monkeypatch: pytest.MonkeyPatch, **paths: Path) -> None:
    """Let the file dialogs answer: `open` and `save`."""

    async def chosen(kind: str) -> Path:
        return paths[kind]

    monkeypatch.setattr(asking, "open_path", lambda *_: chosen("open"))
    monkeypatch.setattr(asking, "save_path", lambda *_: chosen("save"))


async def dialog_of(hands: Hands, title: str) -> QInputDialog:
    """The input dialog with a title, once it is open."""

    def there() -> QInputDialog | None:
        found = hands.window.findChildren(QInputDialog)
        return next((d for d in found if d.isVisible() and d.windowTitle() == title), None)

    await hands.until(there, f"for “{title}”")
    dialog = there()
    assert dialog is not None
    return dialog


def cells(tab: ResultTab) -> dict[str, str]:
    """The settings that the result tab shows."""
    rows = range(tab.settings.rowCount())
    return {tab.settings.item(r, 0).text(): tab.settings.item(r, 1).text() for r in rows}


@pytest.mark.slow
def test_the_time_is_measured_by_real_steps(drive: Drive, data: Path, tmp_path: Path) -> None:
    preset = write_preset(tmp_path / "tiny.toml")

    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        view.new_job(data)
        await hands.until(lambda: view.dialog is not None, "for the dialog")
        dialog = view.dialog
        assert dialog is not None
        assert not dialog.measure.isEnabled() and "isn’t known yet" in dialog.estimate_label.text()
        dialog.add_preset(preset)
        await hands.until(lambda: dialog.checked, "for the findings")
        assert dialog.spec is not None and not dialog.spec.step_seconds
        hands.click(dialog.measure)
        editor = hands.editor.messages
        await hands.until(lambda: "device is needed to measure" in editor.message, "for the device")
        await hands.until(lambda: "About" in dialog.estimate_label.text(), "for the time")
        assert "for 20,036 steps on cpu" in dialog.estimate_label.text()
        spec = dialog.spec
        assert spec is not None and len(spec.step_seconds) == 4 and all(spec.step_seconds.values())
        # other work takes another time; the same work under another title or budget doesn't
        dialog.minutes.setValue(1)
        assert "will be shortened to 1 minutes" in dialog.estimate_label.text()
        dialog.title_edit.setText("Timed")
        assert dialog.spec is not None and dialog.spec.step_seconds == spec.step_seconds
        dialog.size_box.setCurrentIndex(2)
        dialog.size_box.activated.emit(2)
        assert "isn’t known yet" in dialog.estimate_label.text()
        dialog.size_box.setCurrentIndex(0)
        dialog.size_box.activated.emit(0)
        dialog.minutes.setValue(0)
        await hands.until(lambda: dialog.start.isEnabled(), "for the findings")
        hands.click(dialog.start)
        await hands.until(lambda: training(view), "for the run")
        info = view.state.info
        assert info is not None and info.seconds_left is not None and info.spec.step_seconds
        hands.trigger("pause")
        await hands.until(lambda: state_of(view, "Timed") == "paused", "for the pause")

    drive(scenario)


@pytest.mark.slow
def test_two_runs_are_renamed_compared_and_go_on(drive: Drive, data: Path) -> None:
    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known and view.state.has_plots, "for the first look")
        assert not hands.window.actions_by_name["compare"].isEnabled()
        one = await trained(hands, view, tiny_job(data, "One", *SHORT, seed=1))
        await trained(hands, view, tiny_job(data, "Two", *SHORT, seed=2))
        view.runs.choose(one.folder)

        hands.trigger("rename")
        dialog = await dialog_of(hands, "Rename the run")
        assert dialog.textValue() == "One"
        dialog.setTextValue("  First try ")
        dialog.accept()
        await hands.until(lambda: state_of(view, "First try") == "finished", "for the new title")
        assert view.page.title.text() == "First try" and view.state.chosen == one.folder

        hands.trigger("compare")
        await hands.until(lambda: view.commands.comparing is not None, "for the dialog")
        comparing = view.commands.comparing
        await hands.until(lambda: comparing.pair is not None and comparing.plot.lines, "for the curves")
        assert comparing.other.currentText() == "Two"
        comparing.what.setCurrentIndex(comparing.what.findText("Synthesis: pixels"))
        comparing.what.activated.emit(comparing.what.currentIndex())
        assert [line.name for line in comparing.plot.lines] == ["First try", "Two"]
        assert all(grid.sample is not None and not grid.image.isNull() for grid in comparing.grids)
        assert comparing.pair.settings == [("job.seed", 1, 2), ("seed", 1, 2)]
        assert comparing.settings.rowCount() == 2 and comparing.results.rowCount() > 4
        comparing.reject()
        await hands.until(lambda: view.commands.comparing is None, "for the dialog to close")

        hands.trigger("longer")
        dialog = await dialog_of(hands, "Train for longer")
        dialog.setIntValue(8)
        dialog.accept()
        await hands.until(lambda: view.state.info.total == 56 and view.state.info.state == "finished", "more")
        assert view.state.info.done == 56
        view.page.tabs.setCurrentWidget(view.page.result)
        result = view.page.result
        await hands.until(lambda: cells(result).get("synthesis.steps") == "20", "for the settings")
        assert result.facts["Disk use"].text() != "0 kB" and "_train" in result.facts["Command"].text()
        assert result.table.rowCount() and result.table.item(0, 1).text().endswith("%")
        hands.trigger("copy_command")
        clipboard = QApplication.clipboard().text()
        assert str(one.folder) in clipboard and "copied run’s folder" in view.messages.message

    drive(scenario)


@pytest.mark.slow
def test_a_model_is_kept_exported_and_imported(
    drive: Drive, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.zdmodel"
    answers(monkeypatch, save=file, open=file)

    async def scenario(hands: Hands) -> None:
        view = to_train(hands)
        await hands.until(lambda: view.state.known, "for the first look")
        info = await trained(hands, view, tiny_job(data, "Mine", *SHORT, keep=False))
        assert info.kept is None and info.model is not None
        hands.trigger("keep_model")
        dialog = await dialog_of(hands, "Keep as a model")
        dialog.setTextValue("My drawings")
        dialog.accept()
        await hands.until(lambda: "“My drawings” is among your models" in view.messages.message, "to keep")
        (kept,) = [folder for folder in list_models() if folder.name == "my-drawings"]

        hands.trigger("export_model")
        dialog = await dialog_of(hands, "Export a model")
        titles = dialog.comboBoxItems()
        dialog.setTextValue(next(title for title in titles if title.startswith("My drawings")))
        dialog.accept()
        await hands.until(lambda: "“My drawings” is exported" in view.messages.message, "for the file")
        names = set(zipfile.ZipFile(file).namelist())
        assert {"manifest.json", "card.json", "weights.safetensors"} <= names

        hands.trigger("import_model")
        await hands.until(lambda: "The model is imported" in view.messages.message, "for the import")
        (copy,) = [folder for folder in list_models() if folder.name == "my-drawings-2"]
        images = draw_faces(2, 32)[0]
        one, two = (Model.load(folder, "cpu") for folder in (kept, copy))
        np.testing.assert_array_equal(one.decode(one.encode(images)), two.decode(two.encode(images)))

        # what is no model, or is a damaged one, is refused in a sentence, and nothing is left of it
        for raw, said in (
            (file.read_bytes()[: file.stat().st_size // 2], "mine.zdmodel is no model's file"),
            (b"\x80\x04\x95 a pickle", "mine.zdmodel is no model's file"),
            (_changed(file), "weights.safetensors in mine.zdmodel is damaged"),
        ):
            good = file.read_bytes()
            file.write_bytes(raw)
            view.messages.hide()
            hands.trigger("import_model")
            await hands.until(lambda: view.messages.message, "for the refusal")
            assert said in view.messages.message, view.messages.message
            file.write_bytes(good)
        assert sorted(p.name for p in kept.parent.iterdir()) == ["my-drawings", "my-drawings-2"]

        # the copy edits
        hands.editor.use_model(copy)
        await hands.until(lambda: hands.session.model == copy and hands.state.card, "for the editor")
        assert hands.state.card is not None and hands.state.card.title == "My drawings"

    drive(scenario)


def _changed(file: Path) -> bytes:
    """The file with another byte in the middle of its weights."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    return bytes(raw)
