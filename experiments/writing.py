"""What a trained model of characters writes: a prompt goes in, and the text goes on to a length or a character."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.checks import require_at_least
from jaxlstm import models
from jaxlstm.data.text import START, UNKNOWN, Alphabet
from jaxlstm.decoding import decode
from jaxlstm.errors import UserError
from jaxlstm.reporting import console
from jaxlstm.sampling import Choose, Filter, greedy, nucleus, sample, temperature, top_k, without

MOST_CHARACTERS = 2**31  # that an int32 counts


@dataclass(frozen=True)
class Writing:
    """What is written by the trained model."""

    prompt: str = ""
    """What the model reads first and goes on from."""
    sample_length: int = 500
    """Characters to write at the most."""
    stop: str | None = None
    """A character after which it stops."""
    temperature: float = 0.8
    """Below 1 it keeps to the likely, above 1 it dares more; at 0 it takes the likeliest character each time."""
    top_k: int | None = None
    """Draw from so many of the likeliest characters only."""
    nucleus: float | None = None
    """Draw from the likeliest characters that have this probability together."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "sample_length", *(["top_k"] if self.top_k is not None else []))
        if self.sample_length >= MOST_CHARACTERS:
            raise UserError(f"--sample-length: expected less than {MOST_CHARACTERS:,}, got {self.sample_length}")
        require_at_least(self, 0, "temperature")
        if self.temperature == math.inf:
            raise UserError("--temperature: expected a finite number, got inf")
        if self.nucleus is not None and not 0 < self.nucleus <= 1:
            raise UserError(f"--nucleus: expected a probability above 0 and at most 1, got {self.nucleus}")

    def choose(self) -> Choose:
        """The choice that these settings describe."""
        if self.temperature == 0:
            return greedy
        filters: list[Filter] = [without(START, UNKNOWN), temperature(self.temperature)]
        if self.top_k is not None:
            filters.append(top_k(self.top_k))
        if self.nucleus is not None:
            filters.append(nucleus(self.nucleus))
        return sample(*filters)


def check_characters(writing: Writing, alphabet: Alphabet) -> None:
    """Raises a UserError if the prompt or the stop is not made of characters that the model knows."""
    if writing.stop is not None and len(writing.stop) != 1:
        raise UserError(f"--stop: expected one character, got {writing.stop!r}")
    for name, text in (("prompt", writing.prompt), ("stop", writing.stop or "")):
        unknown = sorted(set(text) - set(alphabet.characters))
        if unknown:
            raise UserError(f"--{name}: expected characters of the text that was learnt from, got {unknown[0]!r}")


def write(params: models.TaggerParams, alphabet: Alphabet, writing: Writing, seed: int) -> str:
    """The prompt and what the model makes of it."""
    before = jnp.array([[START, *alphabet.encode(writing.prompt)]])
    state, _ = models.read_symbols(params, None, before[:, :-1])
    _, decoded = decode(
        Partial(models.next_symbol, params),
        state,
        writing.choose(),
        start=before[:, -1],
        end=None if writing.stop is None else int(alphabet.encode(writing.stop)[0]),
        max_length=writing.sample_length,
        key=jax.random.key(seed),
    )
    through_the_stop = int(decoded.lengths[0]) + 1
    return writing.prompt + alphabet.decode(np.asarray(decoded.symbols[0, :through_the_stop]))


def show(text: str) -> None:
    """Prints a text as it is: square brackets are no markup in it, and a line is not broken."""
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
