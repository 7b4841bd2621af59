"""The engine: from a recipe to pixels. It lives on the worker's thread, one call at a time.

Whatever depends on less than the whole recipe is cached, each cache of a bounded size: a changed swap
costs one swap, one decode and one blend of one face at preview size.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.editing.beyond import CELLS, Surroundings, surroundings
from core.editing.blend import Decoded, blend_face, reach
from core.editing.cache import Cache
from core.editing.pixels import aligned, as_grey, carried_over, composite, is_grey, resized, through
from core.editing.requests import FaceView, OpenedPhoto, Patch, RenderRequest, RenderResult
from core.errors import StudioError
from core.faces.frame import Frame
from core.images import Photo, open_photo, save_photo
from core.recipe import FaceEdit, Recipe, Refinement

if TYPE_CHECKING:
    from core.editing.refine import Refined, Refining
    from core.faces.finder import FaceFinder
    from core.model import Codes, Model, ModelCard

THUMBNAIL = 96
# Faces are searched at this size whatever the screen's, so that they don't depend on the window.
SEARCH_SIDE = 1600

PhotoKey = tuple[str, int, int]
Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class _Preview:
    pixels: np.ndarray
    alpha: np.ndarray | None
    scale: float


@dataclass(frozen=True, eq=False)
class _Encoded:
    """A face's codes and, decoded from them unedited, its picture. `grey`: the face has no colour."""

    codes: Codes
    decoded: Decoded
    thumbnail: np.ndarray
    grey: bool


class EditEngine:
    """Opens photos, renders recipes for the screen, exports them at full resolution.

    The model is loaded with the first call that needs it. Photos are known by path, time and size: one
    that changed on disk is read again.
    """

    def __init__(self, model_folder: Path | None = None, device: str = "auto") -> None:
        """Use the model in `model_folder`, by default the starter, on `device` (auto, cuda, mps or cpu)."""
        self._folder = model_folder
        self._device = device
        self._model: Model | None = None
        self._finder: FaceFinder | None = None
        # only the last photo's pixels: one of 100 megapixels has 300 MB
        self._photo: tuple[PhotoKey, Photo] | None = None
        self._previews: Cache[_Preview] = Cache(128_000_000)
        self._encoded: Cache[_Encoded] = Cache(64_000_000)
        self._edited: Cache[np.ndarray] = Cache(32_000_000)
        # some two megabytes a face; one that was forgotten costs seconds to make again
        self._refined: Cache[tuple[Refined, Decoded]] = Cache(256_000_000)
        self._around: Cache[Surroundings] = Cache(64_000_000)
        self._patches: Cache[Patch] = Cache(64_000_000)

    def load(self) -> ModelCard:
        """Load the model where it is not, and return its card. StudioError where it can't be."""
        return self._loaded().card

    def forget(self) -> None:
        """Free the model and all caches; the next call makes them again."""
        self._model = None
        self._photo = None
        caches = self._previews, self._encoded, self._edited, self._refined, self._around, self._patches
        for cache in caches:
            cache.clear()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def open(self, path: Path, screen: int = 1600) -> OpenedPhoto:
        """Read a photo, find its faces and look at them. StudioError where it can't be read."""
        path = Path(path)
        key = photo_key(path)
        photo = self._read(key)
        preview = self._preview(key, screen)
        search = self._preview(key, SEARCH_SIDE)
        if self._finder is None:
            from core.faces.finder import FaceFinder

            self._finder = FaceFinder()
        found = [
            (face.frame.scaled(1 / search.scale), face.points) for face in self._finder.find(search.pixels)
        ]
        encoded = self._encode(key, [frame for frame, _ in found])
        faces = tuple(
            self._view(frame, None if points is None else (points + 0.5) / search.scale - 0.5, face)
            for (frame, points), face in zip(found, encoded, strict=True)
        )
        return OpenedPhoto(path, photo.width, photo.height, preview.pixels, preview.scale, faces)

    def describe(self, path: Path, frame: Frame) -> FaceView:
        """Look at the face in a frame that a person placed. StudioError where it is outside the photo."""
        face = self._encode(photo_key(path), [frame])[0]
        if not face.decoded.inside.any():
            raise StudioError("The face frame is outside the photo.", "Place the frame on a face.")
        return self._view(frame, None, face)

    def begin_refining(self, path: Path, frame: Frame, seconds: float | None = None) -> Refining:
        """Start to fit the model to the face in a frame, for at most `seconds` of work.

        `Refining.step` goes on with it; `keep` makes the result known. StudioError where no photo is there.
        """
        return self._begin(photo_key(path), frame, None, seconds)

    def keep(self, path: Path, frame: Frame, refining: Refining) -> Refined:
        """Remember a refinement, so that recipes with it needn't make it again."""
        return self._keep(photo_key(path), frame, refining)[0]

    def refine(
        self,
        path: Path,
        frame: Frame,
        seconds: float | None = None,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Refined:
        """All of it in one go. concurrent.futures.CancelledError once `cancelled()`."""
        key = photo_key(path)
        return self._work(key, frame, self._begin(key, frame, None, seconds), progress, cancelled)[0]

    def render(
        self,
        request: RenderRequest,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
    ) -> RenderResult:
        """The recipe's patches for the screen; concurrent.futures.CancelledError once `cancelled()`.

        A refinement that was not made here yet, of a saved recipe, is made first: `progress` hears of it.
        """
        started = time.perf_counter()
        self._check(request.recipe)
        key = photo_key(Path(request.recipe.photo))
        preview = self._preview(key, request.screen)
        height, width = preview.pixels.shape[:2]
        done: list[tuple[Hashable, Patch]] = []
        for edit in request.recipe.faces:
            # a frame of less than a pixel of the preview can't be seen
            if not _does_something(edit) or edit.frame.side * preview.scale < 1:
                continue
            frame = edit.frame.scaled(preview.scale)
            bounds = reach(frame, beyond=edit.beyond).bounds(width, height)
            if _empty(bounds):
                continue
            if cancelled():
                raise CancelledError
            under = [(k, patch) for k, patch in done if _overlap(patch.bounds, bounds)]
            patch_key = (
                key,
                request.screen,
                edit.frame,
                edit.active(),
                edit.blend,
                edit.refinement,
                edit.beyond,
                tuple(k for k, _ in under),
            )
            patch = self._patches.get(patch_key)
            if patch is None:
                decoded = self._decode(key, edit, progress, cancelled)
                if cancelled():
                    raise CancelledError
                region = composite(preview.pixels, bounds, [patch for _, patch in under])
                around = self._surroundings(key, edit)
                pixels = blend_face(region, bounds, frame, decoded, edit.blend, around)
                if preview.alpha is not None:
                    left, top, right, bottom = bounds
                    pixels = through(region, pixels, preview.alpha[top:bottom, left:right])
                pixels.flags.writeable = False
                patch = self._patches.put(patch_key, Patch(bounds, pixels), pixels.nbytes)
            done.append((patch_key, patch))
        milliseconds = (time.perf_counter() - started) * 1000
        return RenderResult(request.number, tuple(patch for _, patch in done), milliseconds)

    def export(
        self,
        recipe: Recipe,
        out: Path,
        *,
        overwrite: bool = False,
        quality: int = 95,
        progress: Progress | None = None,
    ) -> None:
        """Write the edited photo at full resolution in its own colour space, with what `save_photo` keeps.

        Pixels outside the frames, or outside the surroundings of those that an edit goes beyond, are the
        photo's own (as exactly as the format stores them). `progress` gets a share of 1 and what is done now.
        StudioError where anything can't be read or written.
        """
        tell = progress or (lambda fraction, text: None)
        tell(0.0, "Opening the photo")
        self._check(recipe)
        key = photo_key(Path(recipe.photo))
        photo = self._read(key)
        edits = [edit for edit in recipe.faces if _does_something(edit)]
        pixels = photo.pixels.copy() if edits else photo.pixels
        for number, edit in enumerate(edits):
            start, share = 0.2 + 0.5 * number / len(edits), 0.5 / len(edits)
            tell(start, f"Editing face {number + 1} of {len(edits)}")
            square = reach(edit.frame, beyond=edit.beyond)
            left, top, right, bottom = bounds = square.bounds(photo.width, photo.height)
            if _empty(bounds):
                continue
            decoded = self._decode(
                key,
                edit,
                lambda f, text, s=start, d=share: tell(s + d * f, text),  # type: ignore[misc]
            )
            own = pixels[top:bottom, left:right]
            before = photo.to_srgb(own)
            around = self._surroundings(key, edit)
            after = blend_face(before, bounds, edit.frame, decoded, edit.blend, around)
            own[...] = carried_over(photo, own, before, after)
        tell(0.7, "Saving")
        save_photo(photo, pixels, out, overwrite=overwrite, quality=quality)
        tell(1.0, "Saved")

    def _loaded(self) -> Model:
        if self._model is None:
            import torch

            from core.installed import default_model
            from core.model import Model

            self._model = Model.load(self._folder or default_model(), self._device)
            # a core for the window's own thread; threads that wait for a busy core are slower than none
            torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 2) - 1)))
        return self._model

    def _check(self, recipe: Recipe) -> None:
        card = self.load()
        if recipe.model and recipe.model != card.name:
            raise StudioError(
                f"The recipe was made with the model “{recipe.model}”, not with “{card.name}”.",
                f"Choose the model “{recipe.model}”.",
            )

    def _read(self, key: PhotoKey) -> Photo:
        if self._photo is None or self._photo[0] != key:
            self._photo = None  # before the next one is in memory as well
            self._photo = (key, open_photo(Path(key[0])))
        return self._photo[1]

    def _preview(self, key: PhotoKey, screen: int) -> _Preview:
        found = self._previews.get((key, screen))
        if found is not None:
            return found
        photo = self._read(key)
        scale = min(1.0, max(1, screen) / max(photo.width, photo.height))
        size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
        if size == (photo.width, photo.height):
            preview = _Preview(photo.srgb(), photo.alpha, 1.0)
        else:
            # in the file's own colours, which are converted after: far fewer pixels, and the same to the eye
            pixels, alpha = resized(photo.pixels, size), None
            if photo.alpha is not None:
                alpha = resized(photo.alpha, size)
            small = replace(photo, pixels=pixels, alpha=alpha)
            preview = _Preview(small.srgb(), alpha, scale)
        preview.pixels.flags.writeable = False
        bytes_ = preview.pixels.nbytes + (0 if preview.alpha is None else preview.alpha.nbytes)
        return self._previews.put((key, screen), preview, bytes_)

    def _encode(self, key: PhotoKey, frames: Sequence[Frame]) -> list[_Encoded]:
        """Codes of the faces in these frames; those not known yet are encoded and decoded in one batch."""
        known = {frame: face for frame in frames if (face := self._encoded.get((key, frame))) is not None}
        new = [frame for frame in dict.fromkeys(frames) if frame not in known]
        if new:
            model, photo = self._loaded(), self._read(key)
            size = model.card.image_size
            crops = [aligned(photo, frame, (size, THUMBNAIL)) for frame in new]
            pictures = np.stack([c[0][0] for c in crops])
            inside = np.stack([c[0][1] for c in crops])
            codes = model.encode(pictures, inside)
            originals = model.decode(codes)
            for i, frame in enumerate(new):
                grey = is_grey(pictures[i])
                original = as_grey(originals[i]) if grey else originals[i].copy()
                decoded = Decoded(original, original, pictures[i], inside[i])
                face = _Encoded(_row(codes, i), decoded, crops[i][1][0], grey)
                cost = original.nbytes + pictures[i].nbytes + face.thumbnail.nbytes + 8192
                known[frame] = self._encoded.put((key, frame), face, cost)
        return [known[frame] for frame in frames]

    def _begin(
        self, key: PhotoKey, frame: Frame, steps: Refinement | None, seconds: float | None
    ) -> Refining:
        from core.editing.refine import STEPS, Refining

        face = self._encode(key, [frame])[0]
        if not face.decoded.inside.any():
            raise StudioError("The face frame is outside the photo.", "Place the frame on a face.")
        decoded = face.decoded
        return Refining(self._loaded(), face.codes, decoded.aligned, decoded.inside, steps or STEPS, seconds)

    def _work(
        self,
        key: PhotoKey,
        frame: Frame,
        refining: Refining,
        progress: Progress | None,
        cancelled: Callable[[], bool],
    ) -> tuple[Refined, Decoded]:
        while not refining.done:
            if cancelled():
                raise CancelledError
            if progress is not None:
                progress(refining.fraction, "Refining the face")
            refining.step()
        return self._keep(key, frame, refining)

    def _keep(self, key: PhotoKey, frame: Frame, refining: Refining) -> tuple[Refined, Decoded]:
        face, refined = self._encode(key, [frame])[0], refining.result()
        original = refined.decode(self._loaded(), face.codes)[0]
        original = as_grey(original) if face.grey else original.copy()
        entry = (refined, replace(face.decoded, original=original, edited=original))
        return self._refined.put((key, frame, refined.refinement), entry, refined.nbytes + original.nbytes)

    def _decode(
        self,
        key: PhotoKey,
        edit: FaceEdit,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Decoded:
        frame, swaps, refinement = edit.frame, edit.active(), edit.refinement
        face = self._encode(key, [frame])[0]
        refined, decoded = None, face.decoded
        if refinement is not None:
            entry = self._refined.get((key, frame, refinement))
            if entry is None:
                refining = self._begin(key, frame, refinement, None)
                entry = self._work(key, frame, refining, progress, cancelled)
            refined, decoded = entry
        if not swaps:
            return decoded
        edited = self._edited.get((key, frame, swaps, refinement))
        if edited is None:
            model = self._loaded()
            codes = model.swap(face.codes, swaps)
            edited = (model.decode(codes) if refined is None else refined.decode(model, codes))[0]
            if face.grey:
                edited = as_grey(edited)
            self._edited.put((key, frame, swaps, refinement), edited, edited.nbytes)
        return replace(decoded, edited=edited)

    def _surroundings(self, key: PhotoKey, edit: FaceEdit) -> Surroundings | None:
        """What is around a face, where its edit goes on there."""
        if not edit.beyond:
            return None
        found = self._around.get((key, edit.frame))
        if found is None:
            ((picture, inside),) = aligned(self._read(key), surroundings(edit.frame), (CELLS,))
            found = self._around.put((key, edit.frame), Surroundings(picture, inside), Surroundings.NBYTES)
        return found

    def _view(self, frame: Frame, points: np.ndarray | None, face: _Encoded) -> FaceView:
        values = {
            attribute.name: {
                value.name: float(p) for value, p in zip(attribute.values, probabilities[0], strict=True)
            }
            for attribute, probabilities in zip(self.load().attributes, face.codes.probabilities, strict=True)
        }
        return FaceView(frame, points, face.thumbnail, values)


def photo_key(path: Path) -> PhotoKey:
    """What a photo's file is known by: its absolute path, its time of change in ns, its size in bytes."""
    try:
        full = path.absolute()
        found = full.stat()
    except FileNotFoundError:
        raise StudioError(f"There is no photo at {path}.", "Choose another photo.") from None
    except (OSError, ValueError) as error:
        raise StudioError(f"{path} could not be read: {error}.", "Choose another photo.") from error
    return str(full), found.st_mtime_ns, found.st_size


def _row(codes: Codes, index: int) -> Codes:
    """The codes of one image of a batch, still as a batch."""
    here = slice(index, index + 1)
    return replace(
        codes,
        residual=codes.residual[here].clone(),
        attributes=codes.attributes[here].clone(),
        probabilities=tuple(p[here].copy() for p in codes.probabilities),
    )


def _does_something(edit: FaceEdit) -> bool:
    return edit.blend != "keep_detail" or bool(edit.active())


def _empty(bounds: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = bounds
    return right <= left or bottom <= top


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
