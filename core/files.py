"""Writing files so that a failure never leaves half of one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from core.errors import StudioError


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write to that takes the name `path` only when the block ends without an error.

    It is a hidden file in the same folder until then; an error removes it and leaves what was at
    `path` as it was. A symbolic link stays and its target is replaced; permissions of a replaced
    file are kept. StudioError where the file exists (unless `overwrite`), is a folder, or can't be
    written; errors of the block that are not OSErrors pass through.
    """
    path = Path(path)
    try:
        final = path.resolve()
        _refuse(path, final, overwrite)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise _explained(path, error) from error
    # a short name of its own: adding to a long file name could exceed what the file system allows
    temporary = final.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # "x" makes the file with the permissions the person's umask gives, which mkstemp would not
        with temporary.open("xb") as file:
            with suppress(OSError):
                temporary.chmod(final.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse(path, final, overwrite)
        temporary.replace(final)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _refuse(path: Path, final: Path, overwrite: bool) -> None:
    if final.is_dir():
        raise StudioError(f"{path} is a folder.", "Give the name of a file.")
    if not overwrite and final.exists():
        raise StudioError(f"{path} exists already.", "Choose another name, or allow it to be overwritten.")


def _explained(path: Path, error: OSError | RuntimeError) -> StudioError:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StudioError(
            f"There is no space left to save {path.name}.", "Free some space, or choose another folder."
        )
    if number in (errno.ENOENT, errno.ENOTDIR):
        return StudioError(f"The folder {path.parent} does not exist.", "Choose another folder.")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StudioError(f"{path} may not be written.", "Choose another folder, or change its permissions.")
    return StudioError(
        f"{path.name} could not be saved: {getattr(error, 'strerror', None) or error}.",
        "Choose another name or folder.",
    )
