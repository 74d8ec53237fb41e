"""A recurrence in NumPy and float64, one row and one step at a time: what every oracle walks by."""

from collections.abc import Callable

import numpy as np

State = dict[str, np.ndarray]


def walk(
    step: Callable[[State, tuple[int, ...], int], State],
    state: State,
    steps: int,
    *,
    lengths=None,
    mask=None,
    reverse=False,
    resets=None,
) -> tuple[State, np.ndarray]:
    """A state of [..., N] -> the state after the last valid step, and ys [..., T, H], the h of each of them.

    `step` is given the state of a row, the row's indices and the step's; it gives the row's next state.
    """
    state = {name: np.array(leaf, np.float64) for name, leaf in state.items()}
    *batch_shape, hidden_size = state["h"].shape
    ys = np.zeros((*batch_shape, steps, hidden_size))
    valid = np.ones((*batch_shape, steps), bool)
    if lengths is not None:
        valid &= np.arange(steps) < np.asarray(lengths)[..., None]
    if mask is not None:
        valid &= np.asarray(mask)
    for row in np.ndindex(*batch_shape):
        s = {name: leaf[row] for name, leaf in state.items()}
        for t in reversed(range(steps)) if reverse else range(steps):
            first = t + 1 if reverse else t  # of a sequence that is packed into the row
            if resets is not None and first < steps and resets[row][first]:
                s = {name: np.zeros_like(leaf) for name, leaf in s.items()}
            if valid[row][t]:
                s = step(s, row, t)
                ys[row][t] = s["h"]
        for name, leaf in s.items():
            state[name][row] = leaf
    return state, ys
