"""What langid reads: English and French, the Declaration of Human Rights and the book of Genesis."""

from pathlib import Path
from typing import NamedTuple

from jaxlstm.data.fetch import UnreachableError
from jaxlstm.data.genesis import load_genesis
from jaxlstm.data.sample import load_sample
from jaxlstm.data.text import split_words, typeset
from jaxlstm.data.udhr import load_udhr
from jaxlstm.reporting import console

TYPOGRAPHIC = "\N{RIGHT SINGLE QUOTATION MARK}"  # the apostrophe of the Declaration
LANGUAGES = ("english", "french")  # a score says how much likelier the first is than the second
DECLARATIONS = {"english": "eng", "french": "fra"}
TRANSLATIONS = {"english": "english-web", "french": "french"}  # of Genesis


class Corpora(NamedTuple):
    """The texts by language."""

    declaration: dict[str, str]
    genesis: dict[str, str]  # empty without it
    name: str  # what they are


class Parts(NamedTuple):
    """The text in one language, by what it is for."""

    train: str  # the first words of the Declaration
    held_out: str  # the rest of them, to be measured on
    genesis: str  # to learn from as well; empty without it


def load_corpora(data_dir: Path | None, with_genesis: bool) -> Corpora:
    """The Declaration, and Genesis if wanted; or offline the sample that comes with the package."""
    try:
        texts = {name: load_udhr(DECLARATIONS[name], data_dir) for name in LANGUAGES}
    except UnreachableError as error:
        console.print(str(error), style="yellow", markup=False, soft_wrap=True)
        console.print("Using the small bilingual sample that comes with jaxlstm instead.", style="yellow")
        return Corpora({name: load_sample(name) for name in LANGUAGES}, {}, "the bilingual sample")
    declaration = "the Universal Declaration of Human Rights"
    if not with_genesis:
        return Corpora(texts, {}, declaration)
    genesis = {name: as_typeset(load_genesis(TRANSLATIONS[name], data_dir)) for name in LANGUAGES}
    return Corpora(texts, genesis, f"{declaration}, and Genesis to learn from")


def as_typeset(text: str, characters: str = TYPOGRAPHIC) -> str:
    """A text as those learnt from are set: lowercased, one space between words, with their apostrophe.

    That is the one among their `characters`, or the straight one, of the bilingual sample.
    """
    return typeset(text.lower(), TYPOGRAPHIC if TYPOGRAPHIC in characters else "'")


def split(corpora: Corpora, train_fraction: float) -> dict[str, Parts]:
    """Each language's text, the Declaration lowercased and cut in two."""
    return {
        name: Parts(*split_words(corpora.declaration[name].lower(), train_fraction), corpora.genesis.get(name, ""))
        for name in LANGUAGES
    }
