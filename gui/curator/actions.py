"""The Curate workspace's actions: a table, and where each is found."""

from __future__ import annotations

from gui.actions import COLOURS, ActionSpec, Menus, ToolBarItems

MOST_KEYS = 9  # values that have a key of their own

ACTIONS = (
    ActionSpec("open_folder", "&Open a folder…", "Open a folder of images", ("Ctrl+O",), "open"),
    ActionSpec("close_folder", "&Close the folder", "Back to the start page", ("Ctrl+W",)),
    ActionSpec("import_labels", "&Import labels…", "Take labels from a CSV or JSON file", ("Ctrl+I",)),
    ActionSpec(
        "export_labels", "&Export labels…", "Write the labels for other programs", ("Ctrl+E",), "save"
    ),
    ActionSpec("train", "&Train with these labels", "Go to Train with this folder", ("Ctrl+T",)),
    ActionSpec("undo", "&Undo", "Take back the last change", ("Ctrl+Z",), "undo"),
    ActionSpec("redo", "&Redo", "Do again what was taken back", ("Ctrl+Shift+Z", "Ctrl+Y"), "redo"),
    ActionSpec("select_all", "Select &all", "Select all images shown", ("Ctrl+A",)),
    *(
        ActionSpec(f"set_{i}", f"Set value &{i}", f"Set value {i} and go on", (str(i),))
        for i in range(1, MOST_KEYS + 1)
    ),
    ActionSpec("set_none", "&None of them", "Say that it is none of the values, and go on", ("0",)),
    ActionSpec("accept", "&Accept", "Accept CLIP's value and go on", ("Return", "Enter"), "check"),
    ActionSpec("reject", "&Reject", "Say that CLIP's value is wrong, and go on", ("X",)),
    ActionSpec("skip", "&Skip", "Leave it as it is and go on", ("Space",)),
    ActionSpec("unset", "&Remove the label", "Remove the label; CLIP may set it again", ("Del",)),
    ActionSpec("next_uncertain", "Next &uncertain", "Go to the next image CLIP is unsure of", ("U",)),
    ActionSpec(
        "accept_above", "Accept all &above", "Accept CLIP's values from the first to here", ("Ctrl+Shift+Up",)
    ),
    ActionSpec(
        "accept_below",
        "Accept all &below",
        "Accept CLIP's values from here to the last",
        ("Ctrl+Shift+Down",),
    ),
    ActionSpec("reject_above", "Re&ject all above", "Reject them from the first to here", ("Alt+Shift+Up",)),
    ActionSpec("reject_below", "Reject all be&low", "Reject them from here to the last", ("Alt+Shift+Down",)),
    ActionSpec("next_attribute", "Next at&tribute", "Label the next attribute", ("]",)),
    ActionSpec("previous_attribute", "&Previous attribute", "Label the attribute before", ("[",)),
    ActionSpec("large", "&Large view", "See one image large, with all scores", ("F",), "single", True),
    ActionSpec("zoom_in", "Zoom &in", "Larger tiles", ("Ctrl++", "Ctrl+="), "zoom_in"),
    ActionSpec("zoom_out", "Zoom &out", "Smaller tiles", ("Ctrl+-",), "zoom_out"),
    ActionSpec("arrange", "Arrange a&gain", "Filter and order again by what is known now", ("F5",), "reset"),
    ActionSpec("keys", "&Keys of this workspace", "All keys", ("?",)),
    ActionSpec("change_keys", "&Change keys…", "Choose other keys"),
)

# keys that are typed into the grid or the large view, and mean something else in a text or a list
GRID = (
    *(f"set_{i}" for i in range(1, MOST_KEYS + 1)),
    *("set_none", "accept", "reject", "skip", "unset", "next_uncertain", "select_all"),
    *("next_attribute", "previous_attribute", "large", "keys"),
)

MENUS: Menus = {
    "&File": (
        *("open_folder", "close_folder", None, "import_labels", "export_labels", None),
        *("train", None, "quit"),
    ),
    "&Edit": ("undo", "redo", None, "select_all", None, "change_keys"),
    "&Label": (
        *("accept", "reject", "skip", None, ">value", "set_none", "unset", None),
        *("accept_above", "accept_below", "reject_above", "reject_below", None),
        *("next_uncertain", "previous_attribute", "next_attribute"),
    ),
    "&View": ("large", "zoom_in", "zoom_out", "arrange", None, ">theme"),
    "&Help": ("keys", "shortcuts", "about"),
}
SUBMENUS: dict[str, tuple[str, tuple[str, ...]]] = {
    "value": ("Set a &value", tuple(f"set_{i}" for i in range(1, MOST_KEYS + 1))),
    **COLOURS,
}
TOOLBAR: ToolBarItems = (
    *("open_folder", "export_labels", "train", None, "undo", "redo", None),
    *("large", "zoom_out", "zoom_in", "arrange"),
)
WITH_TEXT = ("open_folder", "train")
OTHER_KEYS = (
    ("Arrows", "To the next image; with Shift select on the way"),
    ("Drag over images", "Select with a rubber band"),
    ("Ctrl+Wheel", "Larger or smaller tiles"),
    ("Esc", "Leave the large view, close a message"),
)
