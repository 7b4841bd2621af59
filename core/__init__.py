"""Everything that is not a window: photos, faces, models, editing, training. Never imports Qt."""

__version__ = "0.1.0"
