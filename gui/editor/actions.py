"""The editor's actions: a table, and where each is found."""

from __future__ import annotations

from gui.actions import COLOURS, ActionSpec, Menus, ToolBarItems

ACTIONS = (
    ActionSpec("open", "&Open a photo…", "Open a photo", ("Ctrl+O",), "open"),
    ActionSpec("save_as", "&Save as…", "Save the edited photo", ("Ctrl+S", "Ctrl+Shift+S"), "save"),
    ActionSpec("open_recipe", "Open a &recipe…", "Open a photo with the edits of a saved recipe"),
    ActionSpec("save_recipe", "Save the re&cipe…", "Save these edits as a recipe, to repeat them"),
    ActionSpec("undo", "&Undo", "Take back the last change", ("Ctrl+Z",), "undo"),
    ActionSpec("redo", "&Redo", "Do again what was taken back", ("Ctrl+Shift+Z", "Ctrl+Y"), "redo"),
    ActionSpec("reset", "Reset &all", "Leave the chosen face as in the photo", ("Ctrl+R",), "reset"),
    ActionSpec("next_face", "&Next face", "Edit the next face", ("N",)),
    ActionSpec("previous_face", "&Previous face", "Edit the face before", ("Shift+N",)),
    ActionSpec(
        "refine", "&Refine the face", "Fit the model to the chosen face, or take that back", ("Ctrl+E",)
    ),
    ActionSpec(
        "adjust_frame", "&Adjust the face frame", "Move, resize or turn the face frame", ("Ctrl+F",), "frame"
    ),
    ActionSpec(
        "add_frame", "Add a &face by hand", "Place a frame around another face", ("Ctrl+Shift+F",), "face"
    ),
    ActionSpec("boxes", "Show face &marks", "Mark the faces in the photo", ("M",), "", checkable=True),
    ActionSpec(
        "split", "S&plit", "Before and after with a line to drag", ("1",), "split", True, group="compare"
    ),
    ActionSpec(
        "side_by_side", "Side &by side", "Before beside after", ("2",), "side_by_side", True, group="compare"
    ),
    ActionSpec("single", "&After only", "Only the edited photo", ("3",), "single", True, group="compare"),
    ActionSpec("zoom_in", "Zoom &in", "Zoom in", ("Ctrl++", "Ctrl+="), "zoom_in"),
    ActionSpec("zoom_out", "Zoom &out", "Zoom out", ("Ctrl+-",), "zoom_out"),
    ActionSpec("fit", "&Fit", "Show the whole photo", ("Ctrl+0",), "fit"),
    ActionSpec("actual_size", "100 &%", "One pixel of the photo on one of the screen", ("Ctrl+1",)),
)

MENUS: Menus = {
    "&File": (
        "open",
        ">recent",
        None,
        "save_as",
        None,
        "open_recipe",
        "save_recipe",
        None,
        ">model",
        None,
        "quit",
    ),
    "&Edit": ("undo", "redo", None, "reset"),
    "F&ace": ("next_face", "previous_face", None, "refine", None, "adjust_frame", "add_frame", None, "boxes"),
    "&View": (
        *("split", "side_by_side", "single", None),
        *("zoom_in", "zoom_out", "fit", "actual_size", None),
        ">theme",
    ),
    "&Help": ("shortcuts", "about"),
}
SUBMENUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "recent": ("Open &recent", ()),
    "model": ("&Model", ()),
    **COLOURS,
}
TOOLBAR: ToolBarItems = (
    *("open", "save_as", None, "undo", "redo", None),
    *("split", "side_by_side", "single", "hold", None, "adjust_frame", "add_frame"),
)
WITH_TEXT = ("open", "save_as")

# keys that are no actions, for the list of keys
OTHER_KEYS = (
    ("B (hold)", "See the photo before"),
    ("Arrows", "On the photo: move it. Among values: go to the next"),
    ("Ctrl+Left, Ctrl+Right", "On the photo: move the split"),
    ("Space, Enter", "Choose a value, or take it back"),
    ("Tab", "To the next control"),
    ("Esc", "Leave the face frame, close a message"),
)
