"""The window's parts alone: zoom and pan, layers, the frame tool, changes of recipes, theme, actions."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QImage, QKeySequence, QPainter
from PySide6.QtTest import QTest

from core.faces.frame import Frame
from core.paths import resources
from core.recipe import FaceEdit, Recipe, Swap
from gui import actions, main_window, theme
from gui.editor import edits
from gui.editor.frame_tool import FrameTool, first_frame
from gui.editor.layers import Layer, Picture
from gui.editor.view import EditorView
from gui.editor.viewport import Viewport
from gui.settings import TABLE, Settings
from gui.widgets.elided_label import ElidedLabel
from gui.widgets.value_choice import ValueChoice

# zoom and pan

sizes = st.floats(1, 20_000)


@given(
    sizes, sizes, st.floats(0.02, 30), st.floats(0, 1000), st.floats(0, 700), st.sampled_from([1.0, 1.5, 2.0])
)
def test_zooming_keeps_what_is_under_the_pointer(width, height, zoom, x, y, ratio):
    view = Viewport(QSizeF(width, height), QSizeF(1000, 700), ratio)
    view.fit()
    view.zoom_to(zoom)
    back = view.to_screen(view.to_photo(QPointF(x, y)))
    assert back.x() == pytest.approx(x, abs=1e-6)
    assert back.y() == pytest.approx(y, abs=1e-6)
    # far from the edges, where nothing holds it back, the point stays
    inner = Viewport(QSizeF(20_000, 20_000), QSizeF(1000, 700), ratio, 1.0, 10_000, 10_000, False)
    under = inner.to_photo(QPointF(x, y))
    inner.zoom_to(max(1.0, zoom), QPointF(x, y))
    assert (inner.to_screen(under) - QPointF(x, y)).manhattanLength() < 1e-3


@given(sizes, sizes, st.floats(-5000, 5000), st.floats(-5000, 5000), st.floats(0.02, 30))
def test_the_photo_never_leaves_the_view(width, height, dx, dy, zoom):
    view = Viewport(QSizeF(width, height), QSizeF(1000, 700))
    view.fit()
    target = view.target()
    assert target.width() <= 1000
    assert target.height() <= 700
    view.zoom_to(zoom)
    view.pan(dx, dy)
    assert view.target().intersects(QRectF(0, 0, 1000, 700))


def test_steps_reach_round_zooms():
    view = Viewport(QSizeF(4000, 3000), QSizeF(1000, 700))
    view.fit()
    seen = []
    for _ in range(30):
        view.step(1)
        seen.append(view.zoom)
    assert 1.0 in seen
    assert seen[-1] == 32.0
    view.resize(QSizeF(500, 400), 1.0)
    assert not view.fitted
    view.fit()
    view.resize(QSizeF(200, 200), 2.0)
    assert view.target().width() <= 200


# layers


def drawn(layer: Layer, width: float, height: float, ratio: float = 1.0) -> np.ndarray:
    """(h, w, 3) the layer drawn at a size."""
    image = QImage(math.ceil(width * ratio), math.ceil(height * ratio), QImage.Format.Format_RGB888)
    image.fill(0)
    image.setDevicePixelRatio(ratio)
    painter = QPainter(image)
    layer.draw(painter, QRectF(0, 0, width, height), QRectF(0, 0, width, height), ratio)
    painter.end()
    lines = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return lines[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


@pytest.mark.parametrize(
    ("scale", "ratio"), [(1, 1), (0.5, 1), (0.31, 1), (0.2, 2), (0.11, 1), (2.3, 1), (5, 1)]
)
def test_a_patch_in_place_is_the_same_as_a_whole_new_layer(qapp, scale, ratio):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (211, 317, 3)).astype(np.uint8)
    patch = rng.integers(0, 255, (60, 77, 3)).astype(np.uint8)
    layer = Layer(pixels)
    size = (317 * scale, 211 * scale, ratio)
    drawn(layer, *size)
    layer.write((101, 51, 178, 111), patch)
    expected = pixels.copy()
    expected[51:111, 101:178] = patch
    assert np.array_equal(layer.read((0, 0, 317, 211)), expected)
    fresh = drawn(Layer(expected), *size)
    assert np.abs(drawn(layer, *size).astype(int) - fresh).max() <= 1
    if scale == 1:
        assert np.array_equal(fresh, expected)


def test_patches_come_and_go(qapp):
    class Patch:
        def __init__(self, bounds, value):
            self.bounds = bounds
            self.pixels = np.full((bounds[3] - bounds[1], bounds[2] - bounds[0], 3), value, np.uint8)

    pixels = np.arange(40 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 50, 3)
    picture = Picture((100, 80), pixels)
    assert picture.scale == 0.5
    whole = (0, 0, 50, 40)
    changed = picture.show_patches([Patch((5, 5, 20, 20), 1), Patch((15, 10, 30, 30), 2)])
    assert picture.edited
    assert QRectF(10, 10, 30, 30) in changed
    assert (picture.after.read((15, 10, 30, 30)) == 2).all()
    picture.show_patches([Patch((5, 5, 20, 20), 3)])
    assert (picture.after.read((5, 5, 20, 20)) == 3).all()
    assert np.array_equal(picture.after.read((20, 10, 30, 30)), pixels[10:30, 20:30])
    picture.show_patches([])
    assert not picture.edited
    assert np.array_equal(picture.after.read(whole), pixels)
    assert np.array_equal(picture.before.read(whole), pixels)


# the frame tool


@settings(max_examples=60)
@given(st.floats(-180, 180), st.integers(0, 3), st.floats(-80, 200), st.floats(-80, 200))
@example(179.99999999999997, 0, 0.0, 0.0)
def test_dragging_a_corner_keeps_the_opposite_one(angle, corner, dx, dy):
    view = Viewport(QSizeF(2000, 2000), QSizeF(2000, 2000), 1.0, 1.0, 1000, 1000, False)
    tool = FrameTool(Frame(1000, 1000, 400, angle), (2000, 2000), 0)
    corners = tool.corners()
    assert tool.press(view.to_screen(corners[corner]), view)
    outwards = corners[corner] - corners[(corner + 2) % 4]
    length = math.hypot(outwards.x(), outwards.y())
    along = outwards / length
    to = corners[corner] + along * dx + QPointF(-along.y(), along.x()) * dy
    tool.drag(view.to_screen(to), view, snap=False)
    # -180 and 180 degrees are the same
    assert math.remainder(tool.frame.angle - angle, 360) == pytest.approx(0, abs=1e-6)
    kept = tool.corners()[(corner + 2) % 4] - corners[(corner + 2) % 4]
    assert kept.manhattanLength() < 1e-3
    assert tool.frame.side == pytest.approx(400 + dx / math.sqrt(2), abs=1e-3)


def test_a_frame_stays_at_the_photo():
    tool = FrameTool(first_frame(300, 200), (300, 200), None)
    assert tool.frame.side == pytest.approx(120)
    tool.nudge(dx=-5000, dy=5000, grow=99_999, turn=350)
    assert (tool.frame.center_x, tool.frame.center_y) == (0, 199)
    assert tool.frame.side == 900
    assert -180 <= tool.frame.angle < 180
    tool.nudge(grow=-99_999)
    assert tool.frame.side == 16


def test_turning_snaps_with_shift():
    view = Viewport(QSizeF(1000, 1000), QSizeF(1000, 1000), 1.0, 1.0, 500, 500, False)
    tool = FrameTool(Frame(500, 500, 300), (1000, 1000), 0)
    assert tool.press(tool._turn_handle(view), view)
    tool.drag(QPointF(500 + 100, 500 - 90), view, snap=True)
    assert tool.frame.angle == 45


# changes of a recipe

FRAME = Frame(50, 50, 40)


def test_edits_return_new_recipes():
    recipe = Recipe("p.png", "m", (FaceEdit(FRAME), FaceEdit(Frame(150, 50, 40))))
    one = edits.with_swap(recipe, 0, Swap("age", "old"))
    two = edits.with_swap(one, 0, Swap("smile", "smiling", 0.5))
    three = edits.with_swap(two, 0, Swap("age", "child"))
    assert recipe.faces[0].swaps == ()
    assert [s.value for s in three.faces[0].swaps] == ["child", "smiling"], "its place stays"
    assert three.faces[1] == recipe.faces[1]
    assert edits.without_swap(three, 0, "age").faces[0].swaps == (Swap("smile", "smiling", 0.5),)
    assert edits.without_swaps(three, 0) == recipe
    assert not edits.changes(recipe)
    assert edits.changes(one)
    assert edits.changes(edits.with_blend(recipe, 1, "resynthesise"))
    assert not edits.changes(edits.with_swap(recipe, 0, Swap("age", "old", 0.0)))


def test_a_recipe_gets_the_faces_it_does_not_know():
    recipe = Recipe("p.png", "m", (FaceEdit(FRAME, (Swap("age", "old"),)),))
    near, far = Frame(53, 49, 42), Frame(200, 50, 40)
    assert [f.frame for f in edits.with_found_faces(recipe, [near, far]).faces] == [FRAME, far]


# theme, icons, actions, settings


def luminance(colour: str) -> float:
    values = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in QColor(colour).getRgbF()[:3]
    ]
    return 0.2126 * values[0] + 0.7152 * values[1] + 0.0722 * values[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_can_be_read(tokens):
    for ground in (tokens.window, tokens.surface, tokens.control, tokens.control_hover):
        assert contrast(tokens.text, ground) >= 7
        assert contrast(tokens.muted, ground) >= 4.5
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5
    assert contrast(tokens.danger, tokens.danger_soft) >= 4.5
    assert contrast(tokens.text, tokens.accent_soft) >= 4.5
    assert contrast(tokens.accent, tokens.surface) >= 3


def test_the_style_sheet_uses_every_colour_it_names():
    for tokens in (theme.LIGHT, theme.DARK):
        sheet = theme.style_sheet(tokens)
        assert "$" not in sheet
        assert sheet.count("{") == sheet.count("}")
    assert {field.name for field in fields(theme.Tokens)} == {field.name for field in fields(theme.LIGHT)}


WORKSPACES = (EditorView, *main_window.OTHERS)


@pytest.mark.parametrize("workspace", WORKSPACES, ids=lambda workspace: workspace.NAME)
def test_every_action_is_found_and_no_key_is_used_twice(workspace):
    names = [spec.name for spec in (*workspace.ACTIONS, *actions.SHARED)]
    assert len(set(names)) == len(names)
    placed = {n for menu in workspace.MENUS.values() for n in menu if n and not n.startswith(">")}
    placed |= {n for _, inner in workspace.SUBMENUS.values() for n in inner}
    assert placed == set(names), "every action is in a menu, and every entry is an action"
    keys = [QKeySequence(k).toString() for spec in (*workspace.ACTIONS, *actions.SHARED) for k in spec.keys]
    keys += [QKeySequence(f"Alt+{place}").toString() for place in range(1, len(WORKSPACES) + 1)]
    assert len(set(keys)) == len(keys)
    assert all(keys)


def test_icons_are_there_and_are_drawings():
    wanted = {spec.icon for workspace in WORKSPACES for spec in workspace.ACTIONS if spec.icon}
    wanted |= {workspace.ICON for workspace in WORKSPACES}
    code = "".join(path.read_text("utf-8") for path in Path(main_window.__file__).parent.rglob("*.py"))
    for name in wanted:
        path = resources() / "icons" / f"{name}.svg"
        assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")
    for path in (resources() / "icons").glob("*.svg"):
        assert path.stem in wanted or f'"{path.stem}"' in code, f"{path.name} is used nowhere"


def test_settings_survive_nonsense(qapp):
    kept = Settings()
    for key, setting in TABLE.items():
        assert kept.get(key) == setting.default
    kept._store.setValue("window/theme", 7.5)
    kept._store.setValue("window/geometry", "nonsense")
    kept._store.setValue("files/recent", "/gone.png")
    assert isinstance(kept.get("window/theme"), str)
    assert kept.get("window/geometry").isEmpty()
    assert kept.get("files/recent") == ["/gone.png"]
    assert kept.recent() == []


# widgets


def test_a_choice_of_values(qtbot):
    few = ValueChoice("Hair", [("a", "Black"), ("b", "Brown"), ("c", "Blond")], "As in the photo")
    qtbot.addWidget(few)
    few.show()
    told: list[object] = []
    few.chosen.connect(told.append)
    chips = few.tab_widgets()
    few.show_choice("b")
    assert told == [], "showing is not choosing"
    stops = [c for c in chips if c.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert stops == [chips[1]], "Tab stops once, at the chosen value"
    QTest.mouseClick(chips[2], Qt.MouseButton.LeftButton)
    QTest.mouseClick(chips[2], Qt.MouseButton.LeftButton)
    assert told == ["c", None]
    QTest.keyClick(chips[2], Qt.Key.Key_Right)
    stops = [c for c in chips if c.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert stops == [chips[0]], "arrows go round"

    many = ValueChoice("Hat", [(str(i), f"Hat {i}") for i in range(12)], "As in the photo")
    qtbot.addWidget(many)
    many.chosen.connect(told.append)
    (box,) = many.tab_widgets()
    assert box.count() == 13
    many.show_choice("4")
    assert box.currentText() == "Hat 4"
    box.activated.emit(0)
    assert told[-1] is None


def test_long_texts_end_in_an_ellipsis(qtbot):
    label = ElidedLabel("An attribute with a name that goes on and on")
    qtbot.addWidget(label)
    label.resize(80, 20)
    label.show()
    assert label.minimumSizeHint().width() < 80
    assert label.toolTip() == label.text()
    label.resize(800, 20)
    assert label.toolTip() == ""
    values = [("a", "A value with a name far longer than any panel is wide, and then some more"), ("b", "B")]
    choice = ValueChoice("Long", values, "As in the photo")
    qtbot.addWidget(choice)
    choice.resize(200, 80)
    choice.show()
    chip = choice.tab_widgets()[0]
    assert chip.width() <= 200
    assert chip.text().endswith("…")
