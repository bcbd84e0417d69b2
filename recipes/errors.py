"""The one tree of errors that a user may meet.

An error says what is wrong (`message`), under a short `title`, and what to do (`hint`). The front ends show the three;
`exit_code` is what the command line returns: 1 the work failed, 2 bad input, 3 refused by preflight.
"""

from __future__ import annotations


class BurnishError(Exception):
    """Base of every error meant for a person: carries title, message, hint and exit code."""

    title = "Something went wrong"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(BurnishError):
    """Something that the user gave cannot be used: the message names the file, line or key."""

    title = "Bad input"
    exit_code = 2


class RecipeError(InputError):
    """A recipe or an override of it does not fit the schema."""

    title = "Bad recipe"
