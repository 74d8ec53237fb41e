"""Random keys of models that learn the same thing, each differently at random."""

import jax


def keys_for(count: int, key: jax.Array) -> list[jax.Array]:
    """A key for each of the models; one that learns alone takes `key` itself."""
    return [key] if count == 1 else list(jax.random.split(key, count))
