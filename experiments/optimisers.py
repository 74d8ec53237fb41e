"""The optimiser of most systems: Adam, its learning rate falling to zero along a cosine, with clipped gradients."""

import optax


def cosine_adam(
    rate: float, steps: int, *, clip: float | None = None, b2: float = 0.999
) -> optax.GradientTransformation:
    """Adam for `steps` steps, from the learning rate `rate` down to 0.

    `clip` is the largest norm of all gradients together (Pascanu, Mikolov & Bengio 2013); None clips nothing. `b2` is
    Adam's memory of squared gradients.
    """
    adam = optax.adam(optax.cosine_decay_schedule(rate, steps), b2=b2)
    return adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)
