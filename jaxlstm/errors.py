"""What a user can put right.

The core raises `ValueError` for bad arguments, as any JAX function does. Whatever else a user can
cause (a missing file, a damaged checkpoint, a loss that diverges, settings that do not fit) is a
`UserError`. Its text is one line that names what was wrong and what would be right; the command
line prints that line and exits with code 2.
"""


class UserError(Exception):
    """Something that the user can put right; its text is one line that says how."""


def line_of(error: UserError | OSError) -> str:
    """What a command line prints of it, in one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}"
    return f"error: {error}"


class DataError(UserError):
    """A data set that is missing, damaged or not what it should be."""


class CheckpointError(UserError):
    """A run folder or checkpoint that cannot be used."""


class DamagedError(CheckpointError):
    """A checkpoint whose content is not what was written."""


class DivergedError(UserError):
    """Training met a loss or a parameter that is not a number."""


class LostProcessError(UserError):
    """One of several processes that train together is gone."""
