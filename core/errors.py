"""Errors that are shown to a person."""


class StudioError(Exception):
    """Something a person must be told: what happened, and what to do next.

    `message` is one clear sentence; `hint` is the next step, or empty. The window shows both,
    the command line prints both and exits with code 1. Anything that is not a StudioError is a bug.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Diverged(StudioError):
    """A training's losses are no longer numbers; its last checkpoint is from before that."""
