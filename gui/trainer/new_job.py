"""The dialog of a new training: data, base, settings, what is missing, how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from core.errors import StudioError
from core.installed import installed_models
from core.jobs import Estimate, Finding, JobSpec, presets
from core.jobs.checks import LabelCounts
from core.jobs.spec import SIZES, Kind
from gui.tasks import Tasks
from gui.trainer import asking_job, words
from gui.trainer.findings import Findings
from gui.trainer.label_tree import LabelTree
from gui.widgets import asking
from gui.widgets.elided_label import ElidedLabel
from gui.widgets.labels import muted_label
from gui.widgets.numbers import give_room
from gui.workspace import Services

KINDS = {
    "prepared": "Prepared images",
    "collection": "A collection labelled in Curate",
    "folder": "A folder of images; its sub-folders are the values",
}
OTHER = "other"
FACES = ("faces", "paper-faces")  # attribute sets of faces
NO_DATA = "Label images in Curate, or prepare a folder."
T = TypeVar("T")
WAIT_MS = 300  # after the last change, before it is checked


class NewJob(QDialog):
    """`spec` is what a person asks for; None without data. Accepted only where no finding is an error."""

    def __init__(self, parent: QWidget, services: Services, tasks: Tasks, data: Path | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New training")
        self.setObjectName("newJob")
        self._services, self._tasks = services, tasks
        self._folder: Path | None = None
        self._kind: Kind = "prepared"
        self._measured: tuple[JobSpec, Estimate] | None = None
        self._guess_faces = False  # whether the data are new, and nobody has said whether to find faces
        self._asked = 0
        self.findings_found: tuple[Finding, ...] = ()
        self.checked = False  # whether the findings are those of the present choice
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MS)
        self._timer.timeout.connect(lambda: self._tasks.start(self._check()))
        self._make_fields()
        self._lay_out()
        self.resize(960, 620)
        self._show_kind()
        self._fill_presets()
        if data is not None:
            self.set_data(data)
        self._tasks.start(self._find_devices())
        self._changed()

    # parts

    def _make_fields(self) -> None:
        self.data_label = ElidedLabel("Nothing chosen yet")
        self.choose_data = QPushButton("Choose…")
        self.choose_data.setToolTip("A collection’s folder, a prepared folder, or a folder of images")
        self.choose_data.clicked.connect(lambda: self._tasks.start(self._ask_data()))
        self.kind_label = QLabel()
        self.kind_label.setProperty("role", "muted")
        self.folder_names = QLineEdit()
        self.folder_names.setPlaceholderText("What the sub-folders are, as “breed”")
        self.folder_names.textChanged.connect(self._changed)
        self.faces = QCheckBox("Find the faces and align them")
        self.faces.setToolTip("For photos of people; else the middle square of each image is used")
        self.faces.toggled.connect(self._changed)
        self.base = QComboBox()
        self.base.addItem("From scratch", "")
        for model in installed_models():
            self.base.addItem(f"Fine-tune “{model.title}”", str(model.folder))
        self.base.activated.connect(self._base_changed)
        self.mode = QComboBox()
        self.mode.addItem("Add these attributes to its own", "add")
        self.mode.addItem("A new domain: only these attributes", "domain")
        self.mode.activated.connect(self._changed)
        self.preset = QComboBox()
        self.preset.activated.connect(self._preset_changed)
        self.about = muted_label()
        self.size_box = QComboBox()
        self.size_box.activated.connect(self._changed)
        self.device = QComboBox()
        self.device.addItem("Automatic", ("auto",))
        self.device.activated.connect(self._changed)
        self.minutes = QSpinBox()
        give_room(self.minutes)
        self.minutes.setRange(0, 100_000)
        self.minutes.setSpecialValueText("No limit")
        self.minutes.setSuffix(" minutes")
        self.minutes.setToolTip("The plan is shortened to fit")
        self.minutes.valueChanged.connect(self._changed)
        self.title_edit = QLineEdit()
        self.title_edit.setMaxLength(80)
        self.title_edit.textEdited.connect(self._changed)
        self.labels = LabelTree(self._services.theme)
        self.labels.changed.connect(self._changed)
        self.findings = Findings(self._services.theme)
        self.estimate_label = QLabel("The time isn’t known yet.")
        self.estimate_label.setWordWrap(True)
        self.measure = QPushButton("Measure the time")
        self.measure.setToolTip("Train a few steps of every stage: some seconds up to a minute")
        self.measure.clicked.connect(lambda: self._tasks.start(self._estimate()))
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.start = QPushButton("Start")
        for button in (self.choose_data, self.measure):  # Enter starts the training, wherever the focus is
            button.setAutoDefault(False)
        self.start.setDefault(True)
        self.buttons.addButton(self.start, QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)

    def _lay_out(self) -> None:
        chosen = QHBoxLayout()
        chosen.addWidget(self.data_label, 1)
        chosen.addWidget(self.choose_data)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(9)
        form.addRow("Data", chosen)
        form.addRow("", self.kind_label)
        form.addRow("Attribute", self.folder_names)
        form.addRow("", self.faces)
        form.addRow("Base", self.base)
        form.addRow("Its use", self.mode)
        form.addRow("Preset", self.preset)
        form.addRow("", self.about)
        form.addRow("Size", self.size_box)
        form.addRow("Device", self.device)
        form.addRow("Time budget", self.minutes)
        form.addRow("Title", self.title_edit)
        self._form = form
        for combo in (self.base, self.mode, self.preset, self.size_box, self.device):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(18)
        left = QVBoxLayout()
        left.addLayout(form)
        left.addStretch(1)
        heads = []
        for text in ("Labels", "Before it starts"):
            head = QLabel(text)
            head.setProperty("role", "title")
            heads.append(head)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self.findings)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        measuring = QHBoxLayout()
        measuring.addWidget(self.estimate_label, 1)
        measuring.addWidget(self.measure, 0, Qt.AlignmentFlag.AlignTop)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(heads[0])
        right.addWidget(self.labels, 3)
        right.addWidget(heads[1])
        right.addWidget(area, 2)
        right.addLayout(measuring)
        both = QHBoxLayout()
        both.setSpacing(24)
        both.addLayout(left, 5)
        both.addLayout(right, 6)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(20, 18, 20, 16)
        whole.setSpacing(16)
        whole.addLayout(both, 1)
        whole.addWidget(self.buttons)

    # choosing

    async def _ask_data(self) -> None:
        before = self._services.settings.get("train/data")
        folder = await asking.open_folder(self, "Choose labelled images", before)
        if folder is not None:
            self.set_data(folder)

    def set_data(self, folder: Path) -> None:
        """Train on a folder; what it is, is seen."""
        from core.collection import Collection

        self._folder = folder
        if (folder / "index.json").is_file():
            self._kind = "prepared"
        else:
            self._kind = "collection" if Collection.exists(folder) else "folder"
        self._services.settings.set("train/data", str(folder))
        self.data_label.setText(str(folder))
        self.labels.forget()
        self._guess_faces = self._kind == "collection"
        self._show_kind()
        self._changed()

    def _show_kind(self) -> None:
        there = self._folder is not None
        self.kind_label.setText(KINDS[self._kind] if there else NO_DATA)
        self._form.setRowVisible(self.folder_names, there and self._kind == "folder")
        self._form.setRowVisible(self.faces, there and self._kind != "prepared")
        self._form.setRowVisible(self.mode, bool(self.base.currentData()))

    def _base_changed(self) -> None:
        self._show_kind()
        self._fill_presets()
        self._changed()

    def _fill_presets(self) -> None:
        wanted = "base" if self.base.currentData() else "scratch"
        self.preset.clear()
        for preset in presets():
            if preset.recommended_for == wanted:
                self.preset.addItem(preset.title, preset)
                self.preset.setItemData(self.preset.count() - 1, preset.about, Qt.ItemDataRole.ToolTipRole)
        self.preset.addItem("A file of settings…", OTHER)
        self._chosen_preset = 0
        self._show_preset()

    def _preset_changed(self, index: int) -> None:
        if self.preset.itemData(index) == OTHER:
            self.preset.setCurrentIndex(self._chosen_preset)
            self._tasks.start(self._ask_preset())
            return
        self._chosen_preset = index
        self._show_preset()
        self._changed()

    async def _ask_preset(self) -> None:
        path = await asking.open_path(self, "Choose a file of settings", "", "Settings (*.toml)")
        if path is not None:
            self.add_preset(path)

    def add_preset(self, path: Path) -> None:
        """Offer a file of settings and choose it."""
        self.preset.insertItem(self.preset.count() - 1, path.name, str(path))
        self.preset.setCurrentIndex(self.preset.count() - 2)
        self._preset_changed(self.preset.currentIndex())

    def _show_preset(self) -> None:
        preset = self.preset.currentData()
        own = isinstance(preset, str)
        self.about.setText("" if own or preset is None else f"{preset.about} {preset.steps:,} steps.")
        self._form.setRowVisible(self.about, bool(self.about.text()))
        self.size_box.clear()
        if self.base.currentData():
            self.size_box.addItem("As the model", 0)
        else:
            self.size_box.addItem("As in the file" if own else f"As in the preset, {preset.size} px", 0)
            for side in SIZES:
                self.size_box.addItem(f"{side} px", side)
        self.size_box.setEnabled(self.size_box.count() > 1)

    async def _find_devices(self) -> None:
        self.checked = False
        for title, devices in await self._on_worker(asking_job.devices, "job devices"):
            self.device.addItem(title, devices)

    async def _on_worker(self, job: Callable[[], T], lane: str) -> T:
        """Torch is imported there, never on the window's thread."""

        def with_torch(_context: object) -> T:
            from core.preload import preload_torch

            preload_torch()
            return job()

        return await asyncio.wrap_future(self._services.worker.submit(with_torch, lane=lane))

    # what is asked for

    @property
    def spec(self) -> JobSpec | None:
        """The job as it is chosen now; None without data."""
        if self._folder is None:
            return None
        preset = self.preset.currentData()
        spec = JobSpec(
            title=self.title_edit.text().strip() or self._proposed(),
            data=str(self._folder),
            kind=self._kind,
            faces=self._kind != "prepared" and self.faces.isChecked(),
            folder_names=self.folder_names.text().strip() if self._kind == "folder" else "",
            attributes=self.labels.chosen,
            preset=preset if isinstance(preset, str) else preset.name,
            size=self.size_box.currentData() or 0,
            base=self.base.currentData(),
            mode=self.mode.currentData(),
            devices=tuple(self.device.currentData()),
            minutes=float(self.minutes.value()),
        )
        if self._measured is not None and asking_job.same_work(self._measured[0], spec):
            return asking_job.with_times(spec, self._measured[1])
        return spec

    def _proposed(self) -> str:
        name = self._folder.name if self._folder is not None else ""
        return f"{name}, {self.preset.currentText().lower()}" if name else ""

    def _changed(self, *_: object) -> None:
        self.title_edit.setPlaceholderText(self._proposed())
        self.checked = False
        self._show_estimate()
        self._allow()
        if self._folder is None:
            self.findings.say("Choose labelled images first.")
        elif self.labels.nothing_chosen:
            self._timer.stop()
            self.findings.say("Tick at least one attribute.")
        else:
            self.findings.say("Looking at the labels…")
            self._timer.start()

    def _allow(self) -> None:
        fine = self.checked and not any(f.level == "error" for f in self.findings_found)
        self.start.setEnabled(fine)
        self.measure.setEnabled(fine)

    async def _check(self) -> None:
        spec = self.spec
        if spec is None:
            return
        self._asked += 1
        mine = self._asked
        table, found = await self._on_worker(lambda: asking_job.look(spec), "job check")
        if mine == self._asked and not self._timer.isActive():
            self._show_findings(table, tuple(found))

    def _show_findings(self, table: LabelCounts | None, found: tuple[Finding, ...]) -> None:
        if table is not None:
            self.labels.show_counts(table)
            if self._guess_faces:  # the editor edits aligned faces: so must be what a model of faces learns
                self._guess_faces = False
                self.faces.setChecked(table.attributes.name in FACES)
        self.findings_found, self.checked = found, True
        self.findings.show_findings(found)
        self._allow()

    async def _estimate(self) -> None:
        spec = self.spec
        if spec is None:
            return
        self._services.device_wanted.emit("The device is needed to measure a training.")
        self.measure.setEnabled(False)
        self.estimate_label.setText("Training a few steps of every stage…")
        try:
            found = await self._on_worker(lambda: asking_job.measure(spec), "job measure")
        except StudioError as error:
            self.findings_found = (*self.findings_found, Finding("error", error.message, error.hint))
            self.findings.show_findings(self.findings_found)
            self.estimate_label.setText("The time couldn’t be measured.")
            return
        finally:
            self._allow()
        self._measured = (spec, found)
        self._show_estimate()

    def _show_estimate(self) -> None:
        spec = self.spec
        if spec is None or self._measured is None or not asking_job.same_work(self._measured[0], spec):
            self.estimate_label.setText("The time isn’t known yet.")
            return
        found = self._measured[1]
        text = f"About {words.duration(found.seconds)} for {sum(found.steps.values()):,} steps"
        text += f" on {found.device}, and {words.size(found.memory)} of memory. Preparing comes on top."
        if spec.minutes and found.seconds > spec.minutes * 60:
            text += f" The plan will be shortened to {spec.minutes:.0f} minutes."
        self.estimate_label.setText(text)
