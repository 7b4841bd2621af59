"""The Train workspace's actions: a table, and where each is found."""

from __future__ import annotations

from gui.actions import COLOURS, ActionSpec, Menus, ToolBarItems

ACTIONS = (
    ActionSpec("new_job", "&New training…", "Train a model, or fine-tune one", ("Ctrl+N",), "new_job"),
    ActionSpec("pause", "&Pause", "Store where it is and free the device", ("Ctrl+P",), "pause"),
    ActionSpec("resume", "&Resume", "Go on from the last checkpoint", ("Ctrl+R",), "resume"),
    ActionSpec(
        "stop_keep", "Stop and &keep", "End now, and make a model of what it has learned", (), "stop_keep"
    ),
    ActionSpec("sample_now", "&Sample now", "Make a picture of what it can do", ("Ctrl+T",), "sample_now"),
    ActionSpec("discard", "&Discard…", "End the run and put its folder into the trash", ("Delete",), "trash"),
    ActionSpec("rename", "Re&name…", "Give the run another title", ("F2",)),
    ActionSpec("longer", "Train for &longer…", "Go on with a finished run"),
    ActionSpec("compare", "&Compare with another run…", "Curves and settings of two runs"),
    ActionSpec("open_folder", "Open the run’s &folder", "Show the run’s files"),
    ActionSpec("copy_command", "Copy the &command", "Copy the command that trains this run without a window"),
    ActionSpec("keep_model", "&Keep as a model…", "Put the model among your own, under a name", (), "save"),
    ActionSpec("edit_with", "&Edit with the model", "Use the run’s model in the editor", ("Ctrl+E",), "edit"),
    ActionSpec("export_model", "E&xport a model…", "Write a model as one file"),
    ActionSpec("import_model", "&Import a model…", "Read a model from a file"),
)

MENUS: Menus = {
    "&File": ("new_job", None, "import_model", "export_model", None, "quit"),
    "&Run": (
        *("pause", "resume", "stop_keep", "sample_now", None),
        *("rename", "compare", "longer", None),
        *("open_folder", "copy_command", None, "discard"),
    ),
    "&Model": ("keep_model", "edit_with", None, "export_model", "import_model"),
    "&View": (">theme",),
    "&Help": ("shortcuts", "about"),
}
SUBMENUS: dict[str, tuple[str, tuple[str, ...]]] = dict(COLOURS)
TOOLBAR: ToolBarItems = (
    *("new_job", None, "pause", "resume", "stop_keep", "sample_now", None),
    *("keep_model", "edit_with", None, "discard"),
)
WITH_TEXT = ("new_job", "pause", "resume", "stop_keep", "sample_now")
OTHER_KEYS = (
    ("Up, Down", "Among the runs: choose another. In the samples: an older or newer one"),
    ("Tab", "To the next control"),
    ("Esc", "Close a message"),
)
