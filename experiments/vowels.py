"""Vowels: autoencoders of real series of different lengths, and what their codes know about who is speaking.

The Japanese vowels of Kudo, Toyama & Shimbo (1999): nine men say /ae/, twelve cepstral coefficients a step,
7 to 29 steps. The variants are those of Srivastava, Mansimov & Salakhutdinov (2015): a decoder that rebuilds, in
order or from the end on; one that reads its last output; and the composite, with a second decoder that predicts.
They learn from the series alone. A logistic regression on the frozen code then names the speaker, as measured by
cross-validation on the training series; the test series are looked at once. Beside it, in the same run: the same
regression on the code of an encoder that has learnt nothing and on the mean and spread of each coefficient, and two
of aeon's classifiers, ROCKET and 1-NN with DTW.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.checks import require_at_least, require_positive, require_share
from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, follow
from jaxlstm import losses, models, plots
from jaxlstm.batches import batches_of, map_batches
from jaxlstm.data.series import Series, japanese_vowels
from jaxlstm.errors import UserError
from jaxlstm.reporting import console, show_parameters, show_result
from jaxlstm.runs import Run
from jaxlstm.training import EarlyStopping, Fitted, Row, fit

VARIANTS = (
    "alone", "reverse", "conditional", "conditional-reverse",
    "composite", "composite-reverse", "composite-conditional", "composite-conditional-reverse",
)  # fmt: skip

PENALTIES = [0.001, 0.01, 0.1, 1.0, 10.0]  # scikit-learn's C, to choose from


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the vowels system."""

    variants: tuple[str, ...] = VARIANTS
    """Which autoencoders; a name says what it is: composite, conditional, reverse."""
    hidden_size: int = 100
    """Units of each LSTM, and entries of the code."""
    learning_rate: float = 0.005
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 27
    """Series in a step."""
    epochs: int = 200
    """Most epochs."""
    patience: int = 40
    """Epochs without a lower error on the validation series after which training stops."""
    validation_fraction: float = 0.2
    """Share of the training series to choose the epoch on."""
    baselines: bool = True
    """Run aeon's classifiers too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip")
        require_at_least(self, 1, "hidden_size", "batch_size", "epochs", "patience")
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown or not self.variants or len(set(self.variants)) < len(self.variants):
            got = " ".join(unknown or self.variants) or "none"
            raise UserError(f"--variants: expected some of {', '.join(VARIANTS)}, each once, got {got}")
        require_share(self, "validation_fraction")


PRESETS = named(original=Config())


def check_share(config: Config, series: int) -> None:
    """Raises a UserError where all series would choose the epoch, and none would be left to learn from."""
    if round(config.validation_fraction * series) >= series:
        expected = f"a share that leaves some of the {series} series to learn from"
        raise UserError(f"--validation-fraction: expected {expected}, got {config.validation_fraction}")


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Vowels: autoencoders of spoken vowels, and the speaker from their codes."""
    train, test = standardised(*japanese_vowels())
    if options.resume is None:
        check_share(config, len(train.xs))
    run = begin("vowels", config, options)
    config = run.config
    key_split, key_models, key_untrained = jax.random.split(jax.random.key(config.seed), 3)
    order = np.asarray(jax.random.permutation(key_split, len(train.xs)))
    held_out = max(1, round(config.validation_fraction * len(order)))
    learnt, validation = (Series(*(array[rows] for array in train)) for rows in (order[held_out:], order[:held_out]))

    def judged(name: str, codes: np.ndarray, test_codes: np.ndarray) -> dict[str, float]:
        of_train, of_test = classified(codes, train.labels, test_codes, test.labels, config.seed)
        return {f"{name}_cross_validated": of_train, f"{name}_accuracy": of_test}

    metrics = {"own_mean_error": own_mean_error(test)}
    params: dict[str, Any] = {}
    rows: dict[str, list[Row]] = {}
    seconds = 0.0
    for variant, key in zip(config.variants, jax.random.split(key_models, len(config.variants)), strict=True):
        fitted = _train(run, variant, learnt, validation, key, options)
        params[variant], rows[variant], seconds = fitted.params, fitted.rows, seconds + fitted.seconds
        console.print(f"{variant}: parameters of epoch {fitted.best_epoch}, the best on the validation series")
        metrics[f"{variant}_error"] = error_of(fitted.params, variant, test)
        metrics |= judged(variant, *(codes_of(fitted.params, part) for part in (train, test)))
    best = max(config.variants, key=lambda variant: metrics[f"{variant}_cross_validated"])
    console.print(f"{best} is the best variant in cross-validation on the training series")
    metrics = {name: metrics[f"{best}_{name}"] for name in ("accuracy", "cross_validated", "error")} | metrics
    untrained = init(key_untrained, config.variants[0], train.xs.shape[-1], config.hidden_size)
    metrics |= judged("untrained", *(codes_of(untrained, part) for part in (train, test)))
    metrics |= judged("moments", moments(train), moments(test))
    if config.baselines:
        metrics |= aeon_accuracies(train, test, config.seed)

    run.save_parameters(params)
    rebuilt = rebuild(params[best], best, test.xs[:1], test.lengths[:1])
    target, output = (xs[0, : test.lengths[0]] for xs in (test.xs, np.asarray(rebuilt)))
    for coefficient in (0, 1):
        heading = f"{best}\ncoefficient {coefficient + 1} of the first test series, standardised"
        shown = plots.reconstruction(target[:, coefficient], output[:, coefficient], heading=heading)
        plots.save(shown, run.folder / f"coefficient_{coefficient + 1}.png")
    draw_learning(run, rows[best], model=best)
    show_result(run.finish(metrics, {}, params, seconds))


def standardised(train: Series, test: Series) -> tuple[Series, Series]:
    """Each coefficient with the mean 0 and the variance 1 that it has in the training series; padding stays 0."""
    valid = train.xs[valid_steps(train)]
    mean, deviation = valid.mean(axis=0), valid.std(axis=0)

    def scaled(series: Series) -> Series:
        xs = np.where(valid_steps(series)[..., None], (series.xs - mean) / deviation, 0)
        return series._replace(xs=xs.astype(np.float32))

    return scaled(train), scaled(test)


def valid_steps(series: Series) -> np.ndarray:
    """True [N, T] where there is no padding."""
    return np.arange(series.xs.shape[1]) < series.lengths[:, None]


def init(key: jax.Array, variant: str, feature_size: int, hidden_size: int) -> Any:
    """The parameters of a variant."""
    make = models.init_composite if "composite" in variant else models.init_autoencoder
    return make(key, feature_size, hidden_size, conditional="conditional" in variant)


def rebuild(params: Any, variant: str, xs: Any, lengths: Any) -> jax.Array:
    """xs [B, T, D] of `lengths` [B], rebuilt."""
    decoder = params.reconstruction if "composite" in variant else params.decoder
    code = models.encode(params.encoder, xs, lengths=lengths)
    return models.decode(decoder, code, xs.shape[1], lengths=lengths, reverse="reverse" in variant)


def codes_of(params: Any, series: Series) -> np.ndarray:
    """The code of each series, [N, H]."""
    return map_batches(_code_of, params, (series.xs, series.lengths), 90)


def _code_of(params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    xs, lengths = batch
    return models.encode(params.encoder, xs, lengths=lengths)


def loss_of(variant: str) -> Callable[..., Any]:
    """The squared error over the valid steps of what is rebuilt, and with the composite of what is predicted."""

    def loss(params: Any, batch: Any, key: jax.Array | None):
        xs, lengths, _ = batch
        valid = jax.numpy.arange(xs.shape[1]) < lengths[:, None]
        if "composite" not in variant:
            return losses.squared_error(rebuild(params, variant, xs, lengths), xs, valid), {}
        both = models.reconstruct_and_predict(params, xs, lengths=lengths, reverse="reverse" in variant)
        error = losses.squared_error(both[0], xs, valid)
        return error + losses.squared_error(both[1], xs[:, 1:], valid[:, 1:]), {"rebuilt": error}

    return loss


def _train(run: Run, variant: str, train: Series, validation: Series, key: jax.Array, options: Options) -> Fitted:
    config: Config = run.config
    key_params, key_training = jax.random.split(key)
    params = init(key_params, variant, train.xs.shape[-1], config.hidden_size)
    show_parameters(f"vowels, {variant}", params)
    loss = loss_of(variant)
    measure = jax.jit(lambda params: loss(params, validation, None)[0])
    batches = batches_of(train, batch_size_for(len(train.xs), config, options))
    with follow(run, config.epochs, variant) as on_epochs:
        return fit(
            loss,
            params,
            cosine_adam(config.learning_rate, config.epochs * batches.steps, clip=config.clip),
            batches,
            epochs=config.epochs,
            key=key_training,
            validate=lambda params: {"loss": float(measure(params))},
            stopping=EarlyStopping("validation_loss", config.patience),
            checkpoints=run.checkpoints(variant),
            checkpoint_every=50,
            on_epochs=on_epochs,
            mesh=options.mesh,
        )


def error_of(params: Any, variant: str, series: Series) -> float:
    """The mean squared error of a coefficient at a step, rebuilt from the code."""

    def rebuilt(params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        return rebuild(params, variant, *batch)

    outputs = map_batches(rebuilt, params, (series.xs, series.lengths), 90)
    return float(np.square(outputs - series.xs)[valid_steps(series)].mean())


def own_mean_error(series: Series) -> float:
    """The same error where each series is replaced by its own mean, a code of one number for each coefficient."""
    rebuilt = np.broadcast_to(moments(series)[:, None, : series.xs.shape[-1]], series.xs.shape)
    return float(np.square(rebuilt - series.xs)[valid_steps(series)].mean())


def moments(series: Series) -> np.ndarray:
    """The mean and the standard deviation of each coefficient over the steps of a series, [N, 2 D]."""
    valid, count = valid_steps(series)[..., None], series.lengths[:, None]
    mean = (series.xs * valid).sum(axis=1) / count
    spread = (np.square(series.xs - mean[:, None]) * valid).sum(axis=1) / count
    return np.concatenate([mean, np.sqrt(spread)], axis=1)


def classified(
    codes: np.ndarray, labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray, seed: int
) -> tuple[float, float]:
    """Accuracy of a logistic regression, cross-validated on the training codes, and on the test codes.

    Its penalty is chosen by cross-validation within the training codes.
    """
    codes, test_codes = codes.astype(np.float64), test_codes.astype(np.float64)  # in float32 its optimiser gives up
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(regression, {"logisticregression__C": PENALTIES}, cv=folds)
    cross_validated = float(cross_val_score(search, codes, labels, cv=folds).mean())
    return cross_validated, float(search.fit(codes, labels).score(test_codes, test_labels))


def aeon_accuracies(train: Series, test: Series, seed: int) -> dict[str, float]:
    """What two of aeon's classifiers reach on the same series; ROCKET reads them padded with zeros."""
    from aeon.classification.convolution_based import RocketClassifier
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    def padded(series: Series) -> np.ndarray:
        return np.swapaxes(series.xs, 1, 2)

    def ragged(series: Series) -> list[np.ndarray]:
        return [one[:length].T for one, length in zip(series.xs, series.lengths, strict=True)]

    accuracies = {}
    for name, classifier, form in (
        ("rocket", RocketClassifier(random_state=seed), padded),
        ("dtw", KNeighborsTimeSeriesClassifier(distance="dtw", n_neighbors=1), ragged),
    ):
        console.print(f"aeon's {type(classifier).__name__}")
        answers = classifier.fit(form(train), train.labels).predict(form(test))
        accuracies[f"{name}_accuracy"] = float(np.mean(answers == test.labels))
    return accuracies
