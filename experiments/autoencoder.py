"""Autoencoders: squeeze a sequence into one vector, rebuild it, and predict what comes next.

Three models on the sequence 0.1, 0.2 .. 0.9, as in the original: one that reconstructs, a composite
that reconstructs and predicts each next value from the same code, and the trained encoder standing
alone, saved and loaded again. Each trains for 300 epochs of one example. The sizes are the original's;
gradients are clipped, and Adam forgets sooner and ends with small steps, because with its usual
settings the last epochs still swing by more than the error to reach. Srivastava et al. (2015) also let
the decoder read its own last output (--conditional) and rebuild from the end on (--reverse).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.checks import require_at_least, require_positive, require_share
from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.session import Options, begin, follow
from jaxlstm import LSTMParams, losses, models, plots
from jaxlstm.batches import batches_of
from jaxlstm.deploy.model import Input, Model
from jaxlstm.deploy.predictor import Predictor
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import Fitted, fit

# The original prints its reconstruction; the largest error is that of 0.1100185 for 0.1.
ORIGINAL = {"max_abs_error": 0.0100185}


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the autoencoder system."""

    length: int = 9
    """Steps of the sequence 0.1, 0.2, ..."""
    hidden_size: int = 100
    """Units of each LSTM, and entries of the code."""
    conditional: bool = False
    """Decoders read their last output beside the code."""
    reverse: bool = False
    """Rebuild the sequence from its end to its beginning."""
    learning_rate: float = 0.005
    """Of Adam, at the start; it falls to zero along a cosine."""
    second_moment: float = 0.99
    """Adam's beta_2, the memory of squared gradients."""
    clip: float = 0.05
    """Largest norm of a gradient."""
    epochs: int = 300
    """Epochs of the one sequence."""
    checkpoint_every: int = 100
    """Epochs between checkpoints, and epochs compiled into one call."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(self, 2, "length")
        require_at_least(self, 1, "hidden_size", "epochs", "checkpoint_every")
        require_share(self, "second_moment", zero=True)


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Autoencoder: rebuild a sequence from one vector, alone and while predicting what comes next."""
    run = begin("autoencoder", config, options)
    config = run.config
    key_alone, key_composite, key_order, key_order_too = jax.random.split(jax.random.key(config.seed), 4)
    xs = jnp.arange(1, config.length + 1, dtype=jnp.float32)[None, :, None] / 10
    following = xs[:, 1:]

    rebuild, both = _models(config)

    def loss(params: models.AutoencoderParams, xs: jax.Array, key: jax.Array):
        return losses.squared_error(rebuild(params, xs), xs), {}

    def composite_loss(params: models.CompositeParams, xs: jax.Array, key: jax.Array):
        rebuilt, predicted = both(params, xs)
        return losses.squared_error(rebuilt, xs) + losses.squared_error(predicted, xs[:, 1:]), {}

    params, composite_params = init(key_alone, key_composite, config)
    alone = _train(run, "alone", loss, params, xs, key_order)
    composite = _train(run, "composite", composite_loss, composite_params, xs, key_order_too)
    rebuilt = rebuild(alone.params, xs)
    rebuilt_too, predicted = both(composite.params, xs)

    run.save_parameters({"alone": alone.params, "composite": composite.params})
    folder = run.save_parameters(alone.params.encoder, "encoder")
    encoder = run.load_parameters(alone.params.encoder, "encoder")
    code = models.encode(encoder, xs, activation=jax.nn.relu)
    console.print(
        f"feature vector of the encoder saved in {folder} and loaded again, {list(code.shape)}:", markup=False
    )
    width = min(100, console.width)
    console.print(np.array2string(np.asarray(code[0]), precision=4, suppress_small=True, max_line_width=width))

    metrics = {
        "max_abs_error": float(jnp.abs(rebuilt - xs).max()),
        "composite_max_abs_error": float(jnp.abs(rebuilt_too - xs).max()),
        "prediction_max_abs_error": float(jnp.abs(predicted - following).max()),
    }
    draw_learning(run, alone.rows, model="autoencoder")
    draw_learning(run, composite.rows, model="composite autoencoder", name="learning_composite")
    plots.save(plots.reconstruction(*_flat(xs, rebuilt)), run.folder / "reconstruction.png")
    plots.save(plots.reconstruction(*_flat(xs, rebuilt_too, following, predicted)), run.folder / "composite.png")
    seconds = alone.seconds + composite.seconds
    show_result(run.finish(metrics, ORIGINAL, (alone.params, composite.params), seconds))


def _models(config: Config) -> tuple[Callable[..., jax.Array], Callable[..., tuple[jax.Array, jax.Array]]]:
    """(parameters, xs [B, T, 1]) -> the sequence rebuilt; and that with the next steps predicted."""
    options: dict[str, Any] = {"reverse": config.reverse, "activation": jax.nn.relu}
    return partial(models.reconstruct, **options), partial(models.reconstruct_and_predict, **options)


def _train(run: Run, model: str, loss: Callable[..., Any], params: Any, xs: jax.Array, key: jax.Array) -> Fitted:
    config = run.config
    show_parameters(f"autoencoder, {model}", params)
    with follow(run, config.epochs, model) as on_epochs:
        return fit(
            loss,
            params,
            cosine_adam(config.learning_rate, config.epochs, clip=config.clip, b2=config.second_moment),
            batches_of(xs, batch_size=1),
            epochs=config.epochs,
            key=key,
            checkpoints=run.checkpoints(model),
            checkpoint_every=config.checkpoint_every,
            epochs_per_call=config.checkpoint_every,
            on_epochs=on_epochs,
        )


def _flat(*sequences: jax.Array) -> list[np.ndarray]:
    return [np.asarray(sequence[0, :, 0]) for sequence in sequences]


def init(
    key_alone: jax.Array, key_composite: jax.Array, config: Config
) -> tuple[models.AutoencoderParams, models.CompositeParams]:
    """Both models' parameters."""
    return (
        models.init_autoencoder(key_alone, 1, config.hidden_size, conditional=config.conditional),
        models.init_composite(key_composite, 1, config.hidden_size, conditional=config.conditional),
    )


def deployed(run: Run) -> dict[str, Model]:
    """The trained models on xs [B, T, 1]: the sequence rebuilt; with the next steps predicted; the code alone."""
    key, relu = jax.random.key(0), jax.nn.relu
    alone, composite = jax.eval_shape(lambda key: init(key, key, run.config), key)
    params = run.load_parameters({"alone": alone, "composite": composite})
    rebuild, both = _models(run.config)

    def rebuild_graph(graph, params: models.AutoencoderParams, xs: str) -> str:
        return decode_graph(graph, params.decoder, encode_graph(graph, params.encoder, xs), xs, run.config.reverse)

    def both_graph(graph, params: models.CompositeParams, xs: str) -> tuple[str, str]:
        code = encode_graph(graph, params.encoder, xs)
        rebuilt = decode_graph(graph, params.reconstruction, code, xs, run.config.reverse)
        predicted = decode_graph(graph, params.prediction, code, xs)
        bounds = (graph.constant([bound], np.int64) for bound in (0, -1, 1))
        return rebuilt, graph.add("Slice", predicted, *bounds)

    def encode(encoder: LSTMParams, xs: jax.Array) -> jax.Array:
        return models.encode(encoder, xs, activation=relu)

    def encode_graph(graph, encoder: LSTMParams, xs: str) -> str:
        from jaxlstm.deploy import onnx

        return onnx.encode(graph, encoder, xs, activation=relu)

    def decode_graph(graph, decoder: models.TaggerParams, code: str, xs: str, reverse: bool = False) -> str:
        from jaxlstm.deploy import onnx

        return onnx.decode(graph, decoder, code, xs, reverse=reverse, activation=relu)

    inputs = {"xs": Input(("batch", "time", 1), np.float32)}
    return {
        "alone": Model(rebuild, params["alone"], inputs, ("rebuilt",), rebuild_graph),
        "composite": Model(both, params["composite"], inputs, ("rebuilt", "predicted"), both_graph),
        "encoder": Model(encode, params["alone"].encoder, inputs, ("code",), encode_graph),
    }


def predictor(run: Run) -> Predictor:
    """Sequences [N, length, 1] -> rebuilt [N, length, 1], and the next steps predicted [N, length - 1, 1]."""
    return Predictor(deployed(run)["composite"], [run.config.length], pads=False)
