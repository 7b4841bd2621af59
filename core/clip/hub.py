"""Weights from the hub: only when a person asks for it, with the size known before.

The file goes to the program's own folder for user data, part by part, so that a download that was broken off
goes on where it stopped; it gets its name only when its SHA-256 is the one the hub gave. Weights that other
programs have put into the hub's own cache are found as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from core.clip.choices import ClipChoice
from core.errors import StudioError
from core.paths import user_data

# Names that open_clip gives weights on the hub; a .bin is read as weights only, as everything here is.
NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
TIMEOUT = 8.0  # seconds without an answer after which there is no network
BLOCK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file of weights on the hub: its address, size in bytes, SHA-256 in hexadecimal."""

    url: str
    name: str
    size: int
    sha256: str


def downloads_folder() -> Path:
    """Where downloaded weights are: `clip` in the program's folder for user data."""
    return user_data() / "clip"


def repository(choice: ClipChoice) -> str:
    """The hub's name of the repository of an open_clip tag."""
    from open_clip import get_pretrained_cfg

    return get_pretrained_cfg(choice.architecture, choice.pretrained).get("hf_hub", "").rstrip("/")


def local_weights(choice: ClipChoice) -> Path | None:
    """The weights of an open_clip tag on this machine: downloaded, or in the hub's cache. None if absent."""
    if not choice.pretrained:
        return None
    for name in NAMES:
        own = downloads_folder() / choice.key / name
        if own.is_file():
            return own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import try_to_load_from_cache

    for name in NAMES:
        found = try_to_load_from_cache(repository(choice), name)
        if isinstance(found, str):
            return Path(found)
    return None


def look_up(choice: ClipChoice) -> Remote:
    """What `download` would fetch, with its true size. StudioError within seconds without a network."""
    if not choice.pretrained:
        raise StudioError(f"{choice.title} is not on the hub.", "Choose its file or folder.")
    where = repository(choice)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for name in NAMES:
        url = f"{hub}/{where}/resolve/main/{name}"
        try:
            answer = _open(urllib.request.Request(url, method="HEAD"), follow=False)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue
            if error.code in (301, 302, 303, 307, 308):
                answer = error
            else:
                raise StudioError(
                    f"The hub does not give {choice.title}: it answers {error.code}.", "Try again later."
                ) from error
        headers = answer.headers
        answer.close()
        digest = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").strip('W/"')
        size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not size.isdigit():
            raise StudioError(
                f"The hub gives no checksum for {choice.title}: it is not downloaded.", "Try again later."
            )
        return Remote(url, name, int(size), digest)
    raise StudioError(f"The hub has no weights of {choice.title}.", "Choose another model.")


def download(
    choice: ClipChoice,
    progress: Callable[[float, str], None] = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Fetch the weights of `choice` and return their path; None if cancelled, and the next call goes on
    there.

    `progress` gets the share from 0 to 1 and a sentence. StudioError where there is no network, no space, or
    what arrives is not what the hub promised.
    """
    present = local_weights(choice)
    if present is not None:
        return present
    remote = look_up(choice)
    folder = downloads_folder() / choice.key
    part = folder / f"{remote.sha256[:16]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _need_space(folder, remote.size - (part.stat().st_size if part.exists() else 0))
        if part.exists() and part.stat().st_size > remote.size:
            part.unlink()
        digest = hashlib.sha256()
        with part.open("a+b") as file:
            file.seek(0)
            while block := file.read(BLOCK):
                digest.update(block)
            if not _fetch(file, digest, remote, choice.title, progress, cancelled):
                return None
            os.fsync(file.fileno())
        if digest.hexdigest() != remote.sha256:
            part.unlink()
            raise StudioError(f"{choice.title} arrived damaged.", "Download it again.")
        part.replace(folder / remote.name)
    except OSError as error:
        raise StudioError(
            f"{choice.title} could not be saved: {error.strerror or error}.", "Free some space, then go on."
        ) from error
    return folder / remote.name


def _need_space(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size + (64 << 20):
        raise StudioError(
            f"The disk has too little space for {size / 1e6:.0f} MB.", "Free some space, then go on."
        )


def _fetch(
    file: Any,
    digest: Any,
    remote: Remote,
    title: str,
    progress: Callable[[float, str], None],
    cancelled: Callable[[], bool],
) -> bool:
    """Append what is missing; false if cancelled."""
    done = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={done}-"} if done else {})
    if done == remote.size:
        return True
    answer = _open(request)
    with answer:
        if done and answer.status != 206:
            raise StudioError("The hub can't go on with a download that was broken off.", "Try again later.")
        while True:
            if cancelled():
                return False
            try:
                block = answer.read(BLOCK)
            except (OSError, HTTPException) as error:
                raise _no_network("The connection broke off.") from error
            if not block:
                break
            file.write(block)
            digest.update(block)
            done += len(block)
            progress(min(1.0, done / remote.size), f"{title}: {done / 1e6:.0f} of {remote.size / 1e6:.0f} MB")
    if done < remote.size:
        raise _no_network("The connection broke off.")
    return True


class _Stay(urllib.request.HTTPRedirectHandler):
    """The first answer tells the checksum; the one it leads to does not."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _open(request: urllib.request.Request, follow: bool = True) -> Any:
    opener = urllib.request.build_opener(*([] if follow else [_Stay]))
    request.add_header("User-Agent", "zerodim-studio")
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if not follow:
            raise
        raise StudioError(f"The hub answers {error.code}.", "Try again later.") from error
    except (urllib.error.URLError, OSError, HTTPException) as error:
        raise _no_network("The hub can't be reached.") from error


def _no_network(sentence: str) -> StudioError:
    return StudioError(
        sentence, "Connect to the internet and go on, or choose a file or folder that is on this machine."
    )
