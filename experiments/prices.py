"""Prices: what can an LSTM know about tomorrow's? The application to markets that the original text proposes.

The prices are made here, by the model that econometrics has for them: the return of a day is a draw from a normal
distribution whose variance follows yesterday's variance and yesterday's return, the GARCH(1, 1) of Bollerslev (1986),

    r[t] = sigma[t] e[t],    sigma[t]^2 = omega + alpha r[t-1]^2 + beta sigma[t-1]^2

So it is known what can be learnt: nothing about the direction, for which the last price is the best forecast there
is, and everything about how large the move will be. The LSTM reads the returns so far and answers with a normal
distribution, a mean and a deviation, of the next. It is measured by the error of its mean beside that of the last
price, and by the log-likelihood beside a constant variance, the moving average of RiskMetrics (1996) and the
variance that the series was made with, which nothing can beat in the mean.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.checks import require_at_least, require_positive
from experiments.learning import draw_learning
from experiments.optimisers import cosine_adam
from experiments.presets import Settings, named
from experiments.session import Options, batch_size_for, begin, follow
from jaxlstm import models, plots
from jaxlstm.batches import batches_of, map_batches
from jaxlstm.errors import UserError
from jaxlstm.reporting import show_parameters, show_result
from jaxlstm.training import EarlyStopping, fit

LARGE = 0.01  # a move of one per cent, the unit of what is read and answered
MEMORY = 0.94  # of the moving average, for daily returns (RiskMetrics 1996)


class Market(NamedTuple):
    """Series of daily returns, and the deviation that each was drawn with."""

    returns: np.ndarray  # [N, T]
    sigma: np.ndarray  # [N, T]


@dataclass(frozen=True)
class Config(Settings):
    """Settings of the prices system."""

    series: int = 512
    """Series of prices to learn from; as many others are the test, and an eighth as many choose the epoch."""
    days: int = 500
    """Days of each."""
    alpha: float = 0.1
    """How much of yesterday's squared return goes into today's variance."""
    beta: float = 0.88
    """How much of yesterday's variance goes into today's."""
    volatility: float = 0.01
    """Deviation of a daily return in the long run."""
    hidden_size: int = 32
    """Units of the LSTM."""
    learning_rate: float = 0.005
    """Of Adam, at the start; it falls to zero along a cosine."""
    clip: float = 1.0
    """Largest norm of a gradient."""
    batch_size: int = 32
    """Series in a step."""
    epochs: int = 30
    """Most epochs."""
    patience: int = 10
    """Epochs without a better likelihood of the validation series after which training stops."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "learning_rate", "clip", "volatility")
        require_at_least(self, 2, "days")
        require_at_least(self, 1, "series", "hidden_size", "batch_size", "epochs", "patience")
        if min(self.alpha, self.beta) < 0 or self.alpha + self.beta >= 1:
            raise UserError(
                f"--alpha and --beta: expected at least 0 each and less than 1 together, got {self.alpha}, {self.beta}"
            )


PRESETS = named(original=Config())


def main(config: Config = Config(), options: Options = Options()) -> None:
    """Prices: tomorrow's, forecast from a market's past, beside the naive forecast."""
    run = begin("prices", config, options)
    config = run.config
    key_params, key_training, *keys = jax.random.split(jax.random.key(config.seed), 5)
    counts = config.series, max(1, config.series // 8), config.series
    train, validation, test = (draw(key, count, config) for key, count in zip(keys, counts, strict=True))

    params = models.init_tagger(key_params, 2, config.hidden_size, 2)
    show_parameters("prices", params)

    def loss(params: models.TaggerParams, returns: jax.Array, key: jax.Array | None):
        return -jnp.mean(log_likelihood(returns[:, 1:], *forecast(params, returns[:, :-1]))), {}

    measure = jax.jit(lambda params: loss(params, jnp.asarray(validation.returns), None)[0])
    batches = batches_of(train.returns, batch_size_for(config.series, config, options))
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
            on_epochs=on_epochs,
            mesh=options.mesh,
        )
    run.save_parameters(fitted.params)

    mean, deviation = map_batches(forecast, fitted.params, test.returns[:, :-1], 128)
    following, sigma = test.returns[:, 1:], test.sigma[:, 1:]
    nothing = np.zeros_like(following)
    constant = np.full_like(following, train.returns.std())
    likelihood = {
        "log_likelihood": log_likelihood(following, mean, deviation),
        "constant_log_likelihood": log_likelihood(following, nothing, constant),
        "riskmetrics_log_likelihood": log_likelihood(following, nothing, riskmetrics(test.returns, constant[0, 0])),
        "truth_log_likelihood": log_likelihood(following, nothing, sigma),
    }
    metrics = {name: float(np.mean(values)) for name, values in likelihood.items()}
    lowest, highest = metrics["constant_log_likelihood"], metrics["truth_log_likelihood"]
    # Of what a constant variance leaves to be known, how much is known; without clustering there is nothing to know.
    if highest > lowest:
        metrics["share_known"] = (metrics["log_likelihood"] - lowest) / (highest - lowest)
        metrics["riskmetrics_share_known"] = (metrics["riskmetrics_log_likelihood"] - lowest) / (highest - lowest)
    metrics["price_error_over_last_price"] = float(error(following - mean) / error(following))

    figure = plots.forecast(following[0], mean[0], deviation[0], sigma[0], quantity="return")
    plots.save(figure, run.folder / "forecast.png")
    draw_learning(run, fitted.rows)
    show_result(run.finish(metrics, {}, fitted.params, fitted.seconds))


def draw(key: jax.Array, count: int, config: Config) -> Market:
    """Fresh series, each from its long-run variance on."""
    variance = config.volatility**2
    omega = (1 - config.alpha - config.beta) * variance

    def day(variance: jax.Array, noise: jax.Array):
        sigma = jnp.sqrt(variance)
        returned = sigma * noise
        return omega + config.alpha * returned**2 + config.beta * variance, (returned, sigma)

    noise = jax.random.normal(key, (config.days, count), jnp.float32)
    _, (returns, sigma) = jax.lax.scan(day, jnp.full(count, variance, jnp.float32), noise)
    return Market(np.asarray(returns).T, np.asarray(sigma).T)


def forecast(params: models.TaggerParams, returns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns [B, T] -> mean and deviation [B, T] of the return that follows each."""
    moves = returns / LARGE
    answer = models.tag(params, jnp.stack([moves, jnp.abs(moves)], axis=-1))
    return LARGE * answer[..., 0], LARGE * jnp.exp(answer[..., 1])


def riskmetrics(returns: np.ndarray, start: float) -> np.ndarray:
    """Returns [N, T] -> the deviation [N, T - 1] expected of each but the first, by their squares' moving average."""
    variance = np.full(len(returns), start**2)
    deviations = []
    for returned in returns.T[:-1]:
        variance = MEMORY * variance + (1 - MEMORY) * returned**2
        deviations.append(np.sqrt(variance))
    return np.stack(deviations, axis=1)


def log_likelihood(values, mean, deviation):
    """log N(value; mean, deviation^2) of each value, in nats."""
    return jax.scipy.stats.norm.logpdf(values, mean, deviation)


def error(differences: np.ndarray) -> float:
    """The root mean square of the differences."""
    return float(np.sqrt(np.mean(np.square(differences))))
