"""Losses and scores for sequences, each a mean over the entries that a mask leaves.

`mask` is True where an entry counts; what it leaves out may hold anything, NaN included. All of them
return a scalar; over nothing at all it is 0.

They are computed and returned in at least float32: in half precision a sum overflows, and a share comes in coarse
steps.

All of them raise ValueError where labels or mask have another shape than said here, since they would be
broadcast in silence, and where the mask is not of booleans: weights between 0 and 1 would not be honoured.
"""

import jax.numpy as jnp
import optax
from jax import Array

from jaxlstm.cell import cell_dtype
from jaxlstm.checks import check_shape


def masked_mean(values: Array, mask: Array | None = None) -> Array:
    """The mean of `values` where `mask`, of the same shape, is True.

    Raises:
      ValueError: a mask of another shape, or one that is not boolean.
    """
    values = _wide(values)
    if mask is None:
        return jnp.mean(values) if values.size else jnp.zeros((), values.dtype)
    _check_mask(mask, values.shape)
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.maximum(jnp.sum(mask), 1)


def cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """logits [..., N], integer labels [...] and mask [...].

    The labels' values cannot be checked under `jit`: one of N or more gives NaN, a negative one counts from the end.
    What is to be ignored, a mask says.

    Raises:
      ValueError: labels or a mask of another shape, or a mask that is not boolean.
    """
    check_shape("labels", labels, logits.shape[:-1])
    logits = _wide(logits)
    if mask is not None:
        _check_mask(mask, labels.shape)
        logits = jnp.where(mask[..., None], logits, 0)
    return masked_mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels), mask)


def binary_cross_entropy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """logits, labels from 0 to 1 (the probability of 1), and mask, all [...].

    Raises:
      ValueError: labels or a mask of another shape, or a mask that is not boolean.
    """
    check_shape("labels", labels, logits.shape)
    logits = _wide(logits)
    if mask is not None:
        _check_mask(mask, labels.shape)
        logits = jnp.where(mask, logits, 0)
    return masked_mean(optax.sigmoid_binary_cross_entropy(logits, labels), mask)


def squared_error(predictions: Array, targets: Array, mask: Array | None = None) -> Array:
    """predictions and targets [..., D], mask [...].

    Raises:
      ValueError: targets or a mask of another shape, or a mask that is not boolean.
    """
    check_shape("targets", targets, predictions.shape)
    predictions, targets = _wide(predictions), _wide(targets)
    if mask is None:
        return masked_mean(optax.squared_error(predictions, targets))
    _check_mask(mask, targets.shape[:-1])
    # Masked before the square: a NaN squared would leave a NaN in the gradient, times 0.
    error = jnp.where(mask[..., None], predictions - targets, 0)
    return masked_mean(jnp.mean(jnp.square(error), axis=-1), mask)


def accuracy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """The share of entries whose largest logit is the label: logits [..., N], labels and mask [...].

    Raises:
      ValueError: labels or a mask of another shape, or a mask that is not boolean.
    """
    check_shape("labels", labels, logits.shape[:-1])
    return masked_mean(jnp.argmax(logits, axis=-1) == labels, mask)


def binary_accuracy(logits: Array, labels: Array, mask: Array | None = None) -> Array:
    """The share of entries on the right side of probability 1/2: logits, labels and mask [...].

    Raises:
      ValueError: labels or a mask of another shape, or a mask that is not boolean.
    """
    check_shape("labels", labels, logits.shape)
    return masked_mean((logits > 0) == (labels > 0.5), mask)


def _wide(values: Array) -> Array:
    return values.astype(cell_dtype(values.dtype))


def _check_mask(mask: Array, shape: tuple[int, ...]) -> None:
    check_shape("mask", mask, shape)
    if mask.dtype != bool:
        raise ValueError(f"mask: expected booleans, got {mask.dtype}")
