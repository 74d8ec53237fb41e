"""A small bilingual sample, written for this project, where no other text is at hand."""

from importlib import resources

from jaxlstm.errors import DataError

LANGUAGES = ("english", "french")


def load_sample(language: str) -> str:
    """About 10,000 characters of plain prose in "english" or "french".

    Raises:
      DataError: another language.
    """
    if language not in LANGUAGES:
        raise DataError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
    return resources.files("jaxlstm.data").joinpath("sample", f"{language}.txt").read_text(encoding="utf-8")
