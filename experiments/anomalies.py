"""Anomalies: which steps of a long series look like nothing before them?

Malhotra et al. (2016): an LSTM autoencoder learns to rebuild windows of a series in which all is well, its decoder
from the last step back; a step that it cannot rebuild is an anomaly. The score of a step is its squared error, the
mean over all windows that hold it. The series is number 135 of the UCR anomaly archive (Keogh et al. 2021), 1,200
steps of a patient's record to learn from and 6,301 to watch, 12 of which are anomalous. Beside it, in the same run and
with windows of the same size: two of aeon's detectors, KMeansAD (Yairi et al. 2001) and DWT-MLEAD (Thill et al. 2017).

The epoch is chosen on windows from the end of the training series; nothing is chosen on the series that is watched.
"""

from dataclasses import dataclass

import jax
import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from experiments.checks import require_at_least, require_positive, require_share
from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, follow
from jaxlstm import losses, models, plots
from jaxlstm.batches import batches_of, map_batches
from jaxlstm.data.series import internal_bleeding
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.training import EarlyStopping, fit


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the anomalies system."""

    window: int = 64
    """Steps that are rebuilt at once."""
    hidden_size: int = 32
    """Units of each LSTM, and entries of the code."""
    learning_rate: float = 0.005
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 32
    """Windows in a step."""
    epochs: int = 150
    """Most epochs."""
    patience: int = 40
    """Epochs without a lower error on the validation windows after which training stops."""
    validation_fraction: float = 0.2
    """Share of the training series, its end, to choose the epoch on."""
    baselines: bool = True
    """Run aeon's detectors too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(self, 2, "window")
        require_at_least(self, 1, "hidden_size", "batch_size", "epochs", "patience")
        require_share(self, "validation_fraction")


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Anomalies: the steps of a series that an autoencoder cannot rebuild."""
    train, watched = internal_bleeding()
    check_window(config, len(train), len(watched.values))
    run = begin("anomalies", config, options)
    config = run.config
    mean, deviation = train.mean(), train.std()
    usual = (train - mean) / deviation
    held_out = round(config.validation_fraction * len(train))
    learnt, validation = (windows_of(part, config.window) for part in (usual[:-held_out], usual[-held_out:]))

    key_params, key_training = jax.random.split(jax.random.key(config.seed))
    params = models.init_autoencoder(key_params, 1, config.hidden_size)
    show_parameters("anomalies", params)

    def loss(params: models.AutoencoderParams, xs: jax.Array, key: jax.Array | None):
        return losses.squared_error(rebuild(params, xs), xs), {}

    measure = jax.jit(lambda params: loss(params, jax.numpy.asarray(validation), None)[0])
    batches = batches_of(learnt, batch_size_for(len(learnt), config, options))
    with follow(run, config.epochs) as on_epochs:
        fitted = fit(
            loss,
            params,
            cosine_adam(config.learning_rate, config.epochs * batches.steps, clip=config.clip),
            batches,
            epochs=config.epochs,
            key=key_training,
            validate=lambda params: {"loss": float(measure(params))},
            stopping=EarlyStopping("validation_loss", config.patience),
            checkpoints=run.checkpoints(),
            checkpoint_every=25,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)
    console.print(f"parameters of epoch {fitted.best_epoch}, the best on the validation windows")

    xs = windows_of((watched.values - mean) / deviation, config.window)
    errors = np.square(map_batches(rebuild, fitted.params, xs, 512) - xs)[..., 0]
    scores = {"LSTM autoencoder": over_windows(errors)}
    if config.baselines:
        scores |= aeon_scores(train, watched.values, config.window, config.seed)
    metrics: dict[str, float] = {}
    curves = {}
    for name, score in scores.items():
        area = float(roc_auc_score(watched.labels, score))
        false_positives, true_positives, _ = roc_curve(watched.labels, score)
        curves[name] = (false_positives, true_positives, area)
        prefix = "" if not metrics else f"{name.lower().replace('-', '_')}_"
        metrics[f"{prefix}auc"] = area
        metrics[f"{prefix}steps_off"] = float(steps_off(score, watched.labels))

    own = scores["LSTM autoencoder"]
    plots.save(plots.roc(curves), run.folder / "roc.png")
    plots.save(plots.anomalies(watched.values, own, watched.labels), run.folder / "scores.png")
    draw_learning(run, fitted.rows)
    show_result(run.finish(metrics, {}, fitted.params, fitted.seconds))


def rebuild(params: models.AutoencoderParams, xs: jax.Array) -> jax.Array:
    """xs [B, W, 1] from its code, from the last step back."""
    return models.reconstruct(params, xs, reverse=True)


def check_window(config: Config, steps: int, watched: int) -> None:
    """Raises a UserError unless a window fits into each part of a training series and into what is watched."""
    held_out = round(config.validation_fraction * steps)
    most = min(held_out, steps - held_out, watched)
    if config.window > most:
        raise UserError(
            f"--window: expected at most {most}, with {held_out} of {steps} steps held out, got {config.window}"
        )


def windows_of(series: np.ndarray, size: int) -> np.ndarray:
    """A series [T] -> all its windows [T - size + 1, size, 1]."""
    return np.lib.stride_tricks.sliding_window_view(series, size)[..., None].astype(np.float32)


def over_windows(errors: np.ndarray) -> np.ndarray:
    """The error of each step in each window [N, size] -> of each step [N + size - 1], the mean over its windows."""
    count, size = errors.shape
    total, held = np.zeros(count + size - 1), np.zeros(count + size - 1)
    for offset in range(size):
        total[offset : offset + count] += errors[:, offset]
        held[offset : offset + count] += 1
    return total / held


def steps_off(scores: np.ndarray, labels: np.ndarray) -> int:
    """How far the highest score is from the nearest anomalous step."""
    return int(np.abs(np.flatnonzero(labels) - np.argmax(scores)).min())


def aeon_scores(train: np.ndarray, values: np.ndarray, window: int, seed: int) -> dict[str, np.ndarray]:
    """What two of aeon's detectors say of each step; the second one learns from the watched series itself."""
    from aeon.anomaly_detection.series.distance_based import KMeansAD
    from aeon.anomaly_detection.series.distribution_based import DWT_MLEAD

    console.print("aeon's KMeansAD and DWT_MLEAD")
    clusters = KMeansAD(window_size=window, random_state=seed).fit(train.astype(np.float64))
    with np.errstate(invalid="ignore"):  # DWT_MLEAD takes a quantile of log-likelihoods, some of them -inf
        return {
            "KMeansAD": np.asarray(clusters.predict(values.astype(np.float64))),
            "DWT-MLEAD": np.asarray(DWT_MLEAD().fit_predict(values.astype(np.float64))),
        }
