"""Prices: the market it makes, its yardsticks against plain loops, and the experiment at a small size."""

import jax
import numpy as np
import pytest
from commands import check_result, error_of, run

from experiments import prices

CONFIG = prices.Config()


def test_the_market_follows_its_equations():
    market = prices.draw(jax.random.key(0), 3, CONFIG)
    assert market.returns.shape == market.sigma.shape == (3, CONFIG.days)
    omega = (1 - CONFIG.alpha - CONFIG.beta) * CONFIG.volatility**2
    variance = omega + CONFIG.alpha * market.returns[:, :-1] ** 2 + CONFIG.beta * market.sigma[:, :-1] ** 2
    np.testing.assert_allclose(market.sigma[:, 1:] ** 2, variance, rtol=1e-4)
    many = prices.draw(jax.random.key(1), 2000, CONFIG)
    assert many.returns.std() == pytest.approx(CONFIG.volatility, rel=0.02)
    assert np.std(many.returns / many.sigma) == pytest.approx(1, rel=0.01)


def test_no_forecast_sees_the_day_it_is_for():
    returns = prices.draw(jax.random.key(2), 2, CONFIG).returns[:, :20]
    params = prices.models.init_tagger(jax.random.key(3), 2, 8, 2)
    changed = returns.copy()
    changed[:, 10] += 0.05
    for forecast in (
        lambda returns: np.asarray(prices.forecast(params, returns[:, :-1])[1]),
        lambda returns: prices.riskmetrics(returns, 0.01),
    ):
        before, after = forecast(returns), forecast(changed)
        np.testing.assert_array_equal(before[:, :10], after[:, :10])  # entry t is for day t + 1
        assert (before[:, 10] != after[:, 10]).all()


def test_the_moving_average_is_that_of_riskmetrics():
    returns = np.array([[0.01, -0.02, 0.03, 0.0]])
    first = 0.94 * 0.01**2 + 0.06 * 0.01**2
    second = 0.94 * first + 0.06 * 0.02**2
    third = 0.94 * second + 0.06 * 0.03**2
    np.testing.assert_allclose(prices.riskmetrics(returns, 0.01), np.sqrt([[first, second, third]]))


def test_prices(tmp_path):
    settings = ["--series", "64", "--days", "200", "--alpha", "0.3", "--beta", "0.6", "--epochs", "6"]
    folder, result = run(tmp_path, "prices", *settings, "--learning-rate", "0.02")
    check_result(folder, result, "prices", {"share_known"}, ["forecast.png", "learning.png"])
    metrics = result["metrics"]
    assert metrics["constant_log_likelihood"] < metrics["log_likelihood"] < metrics["truth_log_likelihood"]
    assert metrics["price_error_over_last_price"] == pytest.approx(1, abs=0.02)


def test_a_market_without_a_long_run(capsys):
    line = error_of(capsys, "prices", "--alpha", "0.5", "--beta", "0.5")
    assert line == "error: --alpha and --beta: expected at least 0 each and less than 1 together, got 0.5, 0.5"
