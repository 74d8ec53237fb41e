"""What the systems check of their settings, and of texts that they are asked about, before anything is computed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from jaxlstm.errors import UserError


def require_at_least(config: Any, minimum: float, *names: str) -> None:
    """Raises a UserError for the first named setting that is below `minimum`."""
    for name in names:
        value = getattr(config, name)
        if not value >= minimum:
            raise UserError(f"{option(name)}: expected at least {minimum}, got {value}")


def require_positive(config: Any, *names: str) -> None:
    """Raises a UserError for the first named setting that is not above 0, or not finite."""
    for name in names:
        value = getattr(config, name)
        if not 0 < value < math.inf:
            raise UserError(f"{option(name)}: expected more than 0, got {value}")


def require_share(config: Any, *names: str, zero: bool = False, below: float = 1) -> None:
    """Raises a UserError for the first named setting that is not a share `below` a bound; only `zero` admits 0."""
    expected = f"0 or more and less than {below}" if zero else f"a share between 0 and {below}"
    for name in names:
        value = getattr(config, name)
        if not (0 < value < below or (zero and value == 0)):
            raise UserError(f"{option(name)}: expected {expected}, got {value}")


def texts_in(texts: Any, words_of: Callable[[str], Sequence[str]] = str.split) -> list[Any]:
    """The texts as a list; raises a UserError for one text where several are wanted, and for one without words."""
    if isinstance(texts, str):
        raise UserError("texts: expected a list of them, got one text")
    texts = list(texts)
    for number, text in enumerate(texts):
        if isinstance(text, str):
            check_text(f"texts[{number}]", text, words_of)
    return texts


def check_text(name: str, text: str, words_of: Callable[[str], Sequence[str]] = str.split) -> None:
    """Raises a UserError for a text without words, under the name that the user knows it by."""
    if not words_of(text):
        raise UserError(f"{name}: expected at least one word, got none")


def option(name: str) -> str:
    """The option of the command line that sets the setting of that name."""
    return f"--{name.replace('_', '-')}"
