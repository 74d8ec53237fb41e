"""The options of `lstm`, alone and together: what every dtype and every derivative is tried on.

The masks and lengths are for three rows of seven steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracle
from problem import Problem

HOLES = np.array([[0, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0]], bool)
LEFT_PADDED = np.array([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]], bool)
LENGTHS = np.array([4, 0, 7])

ACTIVATIONS = {"tanh": (jnp.tanh, np.tanh), "relu": (jax.nn.relu, oracle.relu), "sin": (jnp.sin, np.sin)}


class Case(NamedTuple):
    lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    reverse: bool = False
    activation: str = "tanh"
    scaled: bool = False  # with an h_scale

    def options(self, problem: Problem) -> dict:
        """The keyword arguments, for `jaxlstm.lstm` and `naive.lstm` alike."""
        return {
            "lengths": self.lengths,
            "mask": self.mask,
            "reverse": self.reverse,
            "activation": ACTIVATIONS[self.activation][0],
            "h_scale": problem.h_scale if self.scaled else None,
        }

    def oracle_options(self, problem: Problem) -> dict:
        return self.options(problem) | {"activation": ACTIVATIONS[self.activation][1]}

    def valid_steps(self) -> np.ndarray:
        """[3, 7], True where a step is valid, from the mask or the lengths."""
        return self.mask if self.lengths is None else np.arange(7) < self.lengths[:, None]


CASES = {
    "plain": Case(),
    "reverse": Case(reverse=True),
    "lengths": Case(lengths=LENGTHS),
    "lengths-reverse": Case(lengths=LENGTHS, reverse=True),
    "left-padding": Case(mask=LEFT_PADDED),
    "holes": Case(mask=HOLES),
    "holes-reverse": Case(mask=HOLES, reverse=True),
    "h_scale": Case(scaled=True),
    "relu": Case(activation="relu"),
    "everything": Case(mask=HOLES, reverse=True, activation="sin", scaled=True),
}
