"""A system's named settings: what `--preset NAME` starts from; the other options change them.

    PRESETS = named(original=Config(), best=Config(hidden_size=256))

in a system's file is all there is to it. `original`, the default, is what the original text describes.
"""

import argparse
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from types import ModuleType
from typing import Literal, TypeVar

from jaxlstm.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What the settings of every system begin with."""

    preset: str = "original"
    """Named settings to start from; the other options change them."""
    seed: int = 0
    """Source of all randomness."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # as JSON gives back a tuple
                object.__setattr__(self, field.name, tuple(value))
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed: expected 0 to {2**32 - 1}, got {self.seed}")


Config = TypeVar("Config", bound=Settings)


def named(**presets: Config) -> dict[str, Config]:
    """The presets of a system by name; each knows its own."""
    return {name: replace(config, preset=name) for name, config in presets.items()}


def main_of(system: ModuleType, arguments: Sequence[str]) -> Callable[..., None]:
    """The system's `main`, its settings by default those of the preset that the arguments name.

    Raises:
      UserError: the system has no such preset.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?", default="original", const="")
    name = parser.parse_known_args(arguments)[0].preset
    if name not in system.PRESETS:
        raise UserError(f"--preset: expected one of {', '.join(system.PRESETS)}, got {name!r}")

    system.Config.__annotations__["preset"] = Literal[tuple(system.PRESETS)]  # so that --help lists them

    @wraps(system.main)
    def main(*arguments, **options) -> None:
        system.main(*arguments, **options)

    signature = inspect.signature(system.main)
    settings = signature.parameters["config"].replace(default=system.PRESETS[name])
    parameters = {**signature.parameters, "config": settings}
    main.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
    return main
