"""The training loop: the same steps as written by hand, resumed bit for bit, stopped where it must."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compare import assert_equal
from damage import damage

from jaxlstm.batches import Batches, Stream, batches_of, in_order
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.errors import CheckpointError, DivergedError
from jaxlstm.training import EarlyStopping, fit

XS = np.random.default_rng(0).standard_normal((23, 3)).astype(np.float32)
YS = (XS @ np.array([1.0, -2.0, 0.5], np.float32)).astype(np.float32)
KEY = jax.random.key(7)


def loss(params, batch, key):
    xs, ys = batch
    error = xs @ params["w"] - ys
    noise = jax.random.normal(key)
    return jnp.mean(error**2) + 0 * noise, {"absolute": jnp.mean(jnp.abs(error)), "noise": noise}


def train(epochs=6, batches=None, optimiser=None, **options):
    batches = batches_of((XS, YS), 5) if batches is None else batches
    return fit(loss, {"w": jnp.zeros(3)}, optimiser or optax.adam(0.1), batches, epochs=epochs, key=KEY, **options)


def test_steps_are_those_of_gradient_descent_written_by_hand():
    fitted = train(epochs=2, optimiser=optax.sgd(0.1))
    params = np.zeros(3)
    for epoch, row in enumerate(fitted.rows):
        key_order, _ = jax.random.split(jax.random.fold_in(KEY, epoch))
        order = np.asarray(jax.random.permutation(key_order, 23))[:20].reshape(4, 5)
        losses = []
        for rows in order:
            error = XS[rows] @ params - YS[rows]
            losses.append(np.mean(error**2))
            params = params - 0.1 * 2 * XS[rows].T @ error / 5
        assert row["epoch"] == epoch + 1
        assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    np.testing.assert_allclose(fitted.params["w"], params, rtol=1e-5)
    assert fitted.best_epoch == 2


def test_it_learns():
    assert train(epochs=60).rows[-1]["loss"] < 1e-4 < train(epochs=1).rows[-1]["loss"]


def test_a_stream_takes_the_same_steps_as_data_on_the_device():
    stream = batches_of((XS, YS), 5, device_bytes=10)
    assert isinstance(stream, Stream)
    assert isinstance(batches_of((XS, YS), 5), Batches)
    streamed, resident = train(batches=stream), train()
    np.testing.assert_allclose(streamed.params["w"], resident.params["w"], rtol=1e-5)
    for ours, theirs in zip(streamed.rows, resident.rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_epochs_in_one_call_change_nothing():
    one, many = train(), train(epochs_per_call=4)
    assert one.rows == many.rows
    np.testing.assert_array_equal(one.params["w"], many.params["w"])


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, stop):
    whole = train(checkpoints=Checkpoints(tmp_path / "whole"), checkpoint_every=2)
    checkpoints = Checkpoints(tmp_path / "parts")
    train(epochs=stop, checkpoints=checkpoints, checkpoint_every=2)
    resumed = train(checkpoints=checkpoints, checkpoint_every=2)
    assert resumed.rows == whole.rows
    np.testing.assert_array_equal(resumed.params["w"], whole.params["w"])
    assert Checkpoints(tmp_path / "whole").epochs() == [2, 4, 6]


def test_a_resumption_with_another_optimiser_is_refused_and_harms_nothing(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fitted = train(optimiser=optax.sgd(0.1), checkpoints=checkpoints)
    with pytest.raises(CheckpointError, match=r"6\.safetensors: expected .*opt_state.*: use another folder"):
        train(epochs=9, checkpoints=checkpoints)
    assert checkpoints.epochs() == [4, 5, 6]
    assert train(optimiser=optax.sgd(0.1), checkpoints=checkpoints).rows == fitted.rows


def test_where_all_checkpoints_are_damaged_training_starts_over_and_keeps_what_it_saves(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    whole = train(checkpoints=checkpoints)
    for epoch in checkpoints.epochs():
        damage(checkpoints.path(epoch))
    with pytest.warns(UserWarning, match=r"\.safetensors: damaged") as warned:
        train(epochs=2, checkpoints=checkpoints)
    assert len(warned) == 3
    assert checkpoints.epochs() == [1, 2, 6]
    with pytest.warns(UserWarning, match=r"6\.safetensors: damaged"):
        resumed = train(checkpoints=checkpoints)
    assert resumed.rows == whole.rows
    assert checkpoints.epochs() == [4, 5, 6]


def test_early_stopping_keeps_the_best_parameters(tmp_path):
    values = iter([3.0, 1.0, 2.0, 1.0, 5.0, 0.0])
    seen = []

    def validate(params):
        seen.append(np.asarray(params["w"]))
        return {"loss": next(values)}

    stopping = EarlyStopping("validation_loss", patience=2)
    checkpoints = Checkpoints(tmp_path)
    fitted = train(epochs=6, validate=validate, stopping=stopping, checkpoints=checkpoints)
    assert [row["validation_loss"] for row in fitted.rows] == [3.0, 1.0, 2.0, 1.0]
    assert fitted.best_epoch == 2
    np.testing.assert_array_equal(fitted.params["w"], seen[1])
    again = train(epochs=6, validate=validate, stopping=stopping, checkpoints=checkpoints)
    assert again.rows == fitted.rows
    np.testing.assert_array_equal(again.params["w"], seen[1])


def test_early_stopping_can_maximise():
    values = iter([0.1, 0.9, 0.2])
    stopping = EarlyStopping("validation_accuracy", patience=1, maximise=True)
    fitted = train(validate=lambda params: {"accuracy": next(values)}, stopping=stopping)
    assert (fitted.best_epoch, len(fitted.rows)) == (2, 3)


@pytest.mark.parametrize(
    ("values", "best_epoch"), [([0.5, np.nan, 0.3, 0.2], 4), ([np.nan, np.inf, np.nan], 2), ([np.nan] * 3, 1)]
)
def test_early_stopping_takes_no_nan_for_the_best(values, best_epoch):
    seen = []

    def validate(params):
        seen.append(np.asarray(params["w"]))
        return {"loss": values[len(seen) - 1]}

    stopping = EarlyStopping("validation_loss", patience=5, target=-1.0)
    fitted = train(epochs=len(values), validate=validate, stopping=stopping)
    assert (fitted.best_epoch, len(fitted.rows)) == (best_epoch, len(values))
    np.testing.assert_array_equal(fitted.params["w"], seen[best_epoch - 1])
    mirrored = [{"loss": -value} for value in values]
    assert EarlyStopping("loss", 5, maximise=True).best(mirrored) == best_epoch - 1


def test_a_metric_that_there_is_not_is_named_with_those_that_there_are(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    message = "stopping.metric: expected one of epoch, loss, absolute, noise, got 'los'"
    with pytest.raises(ValueError, match=message):
        train(stopping=EarlyStopping("los", 1), checkpoints=checkpoints)
    train(epochs=1, checkpoints=checkpoints)
    with pytest.raises(ValueError, match=message):  # the rows of a resumption are known at the start
        train(stopping=EarlyStopping("los", 1), checkpoints=checkpoints)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs: expected at least 0, got -1"),
        ({"epochs_per_call": 0}, "epochs_per_call: expected at least 1, got 0"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected at least 1, got 0"),
    ],
)
def test_numbers_of_epochs_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        train(on_epochs=lambda rows: pytest.fail("began"), **options)


def test_no_epochs_leave_the_start():
    fitted = train(epochs=0, stopping=EarlyStopping("loss", 1))
    assert (fitted.rows, fitted.best_epoch) == ([], 0)
    np.testing.assert_array_equal(fitted.params["w"], np.zeros(3))


def test_early_stopping_wants_one_epoch_in_a_call():
    with pytest.raises(ValueError, match="epochs_per_call: expected 1 with early stopping, got 2"):
        train(stopping=EarlyStopping("loss", 1), epochs_per_call=2)


def test_a_nan_at_the_start_is_named():
    params = {"lstm": {"w": jnp.array([0.0, jnp.nan])}}
    with pytest.raises(DivergedError, match=r"initial parameters: expected finite numbers, lstm\.w holds a NaN"):
        fit(loss, params, optax.sgd(0.1), batches_of((XS, YS), 5), epochs=1, key=KEY)


def test_a_loss_that_turns_nan_is_named_with_epoch_step_and_checkpoint(tmp_path):
    def data(bad_step):
        ys = np.ones((4, 5), np.float32)
        if bad_step is not None:
            ys[bad_step, 0] = np.nan
        xs = np.ones((4, 5, 3), np.float32)
        return Batches(4, (xs, ys), lambda data, key: (), lambda data, _, step: jax.tree.map(lambda a: a[step], data))

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(DivergedError, match=r"the loss is nan at epoch 1, step 3; .* last good checkpoint: none"):
        train(batches=data(2), checkpoints=checkpoints)
    assert checkpoints.epochs() == []
    train(epochs=2, batches=data(None), checkpoints=checkpoints)
    with pytest.raises(DivergedError, match=rf"at epoch 3, step 4; .* last good checkpoint: {checkpoints.path(2)}$"):
        train(batches=data(3), checkpoints=checkpoints)
    assert checkpoints.epochs() == [1, 2]
    damage(checkpoints.path(2))
    with (
        pytest.warns(UserWarning, match=r"2\.safetensors: damaged"),
        pytest.raises(DivergedError, match=rf"at epoch 2, step 4; .* last good checkpoint: {checkpoints.path(1)}$"),
    ):
        train(batches=data(3), checkpoints=checkpoints)


def mean_of_inputs(params, batch, key):
    return jnp.mean((batch @ params["w"]) ** 2), {"mean": jnp.mean(batch)}


def test_a_loader_may_fill_the_same_array_again():
    data = np.random.default_rng(0).normal(size=(12, 64, 400, 16)).astype(np.float32)

    def refilled(key):
        buffer = np.empty_like(data[0])
        for part in data:
            buffer[...] = part
            yield buffer

    start = {"w": jnp.ones(16) / 4}
    rows = [
        fit(mean_of_inputs, start, optax.sgd(0.01), Stream(12, epoch), epochs=2, key=KEY).rows
        for epoch in (refilled, lambda key: iter(data))
    ]
    assert rows[0] == rows[1]


def test_the_mean_of_a_loss_in_half_precision():
    def loss(params, batch, key):
        value = (0.69 + 0 * params["w"]).astype(jnp.bfloat16)
        return value, {"same": value}

    batches = in_order(np.zeros((1000, 1), np.float32))
    (row,) = fit(loss, {"w": jnp.ones(())}, optax.sgd(0.1), batches, epochs=1, key=KEY).rows
    assert row["loss"] == pytest.approx(0.69140625, rel=1e-6)  # 0.69 as bfloat16 holds it
    assert row["same"] == pytest.approx(0.69140625, rel=1e-6)


@pytest.mark.parametrize(
    "start",
    [{"w": np.ones(3)}, {"w": 1.0}, (np.ones(3), np.ones((2, 2), np.float32))],
    ids=["float64", "number", "tuple"],
)
def test_parameters_of_numpy_train_and_resume(start, tmp_path):
    def loss(params, carry, batch, key):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) + 0 * jnp.sum(batch), (carry + 1, {})

    def trained(epochs, folder):
        batches = in_order(np.ones((2, 1), np.float32))
        options = {"carry": np.zeros(2), "checkpoints": Checkpoints(folder)}
        return fit(loss, start, optax.adam(0.1), batches, epochs=epochs, key=KEY, **options)

    whole = trained(3, tmp_path / "whole")
    trained(1, tmp_path / "apart")
    assert_equal(trained(3, tmp_path / "apart").params, whole.params)


def test_a_random_key_in_the_optimiser_resumes(tmp_path):
    noisy = optax.chain(optax.add_noise(0.01, 0.5, jax.random.key(1)), optax.sgd(0.1))
    whole = train(optimiser=noisy, epochs=3)
    for epochs in (1, 3):
        fitted = train(optimiser=noisy, epochs=epochs, checkpoints=Checkpoints(tmp_path))
    assert fitted.rows == whole.rows


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda loss: loss, r"expected it to return \(loss, metrics\), .* got the shapes \(\)"),
        (lambda loss: (loss, loss), r"a number and a dict of numbers, got the shapes \(\(\), \(\)\)"),
        (lambda loss: (loss, None), "a number and a dict of numbers"),
        (lambda loss: (loss, {}, 0), r"got the shapes \(\(\), \{\}, \(\)\)"),
        (lambda loss: (jnp.ones(2) * loss, {}), r"got the shapes \(\(2,\), \{\}\)"),
        (lambda loss: (loss, {"each": jnp.ones(3)}), r"got the shapes \(\(\), \{'each': \(3,\)\}\)"),
        (lambda loss: (loss, {"a": {"b": loss}}), "a number and a dict of numbers"),
        (lambda loss: (loss, {"loss": loss}), "expected metrics of other names than epoch and loss, got loss"),
    ],
)
def test_what_a_loss_returns_is_looked_at_before_it_is_trained(returned, message):
    def loss(params, batch, key):
        return returned(jnp.mean(batch[0] @ params["w"]))

    with pytest.raises(ValueError, match=f"^loss: .*{message}"):
        fit(loss, {"w": jnp.zeros(3)}, optax.sgd(0.1), batches_of((XS, YS), 5), epochs=1, key=KEY)


@pytest.mark.parametrize("batches", [0, 3])
def test_a_stream_of_another_length_is_named(batches):
    with pytest.raises(ValueError, match=f"^batches.epoch: expected 4 batches, got {batches}$"):
        train(batches=Stream(4, lambda key: iter([(XS[:5], YS[:5])] * batches)))


def test_a_stream_without_end_is_named():
    endless = Stream(4, lambda key: itertools.repeat((XS[:5], YS[:5])))
    with pytest.raises(ValueError, match=r"^batches.epoch: expected 4 batches, got more$"):
        train(batches=endless)


def test_no_steps_and_no_patience_are_named():
    with pytest.raises(ValueError, match=r"^batches.steps: expected at least 1, got 0$"):
        train(batches=Stream(0, lambda key: iter(())))
    with pytest.raises(ValueError, match=r"^stopping.patience: expected at least 1, got 0$"):
        train(stopping=EarlyStopping("loss", patience=0))


@pytest.mark.parametrize("device_bytes", [0, 10**6])
def test_a_loss_that_reads_other_values_than_before_is_the_one_that_is_trained(device_bytes):
    class Task:
        weight = 1.0

        def loss(self, params, batch, key):
            return self.weight * jnp.mean((batch @ params["w"] - 3) ** 2), {}

    task, optimiser = Task(), optax.sgd(0.0)
    batches = batches_of(np.ones((16, 3), np.float32), 8, device_bytes=device_bytes)
    for weight in (1.0, 100.0):
        task.weight = weight
        fitted = fit(task.loss, {"w": jnp.zeros(3)}, optimiser, batches, epochs=1, key=KEY)
        assert fitted.rows[0]["loss"] == 9 * weight


def test_what_is_no_batches_and_no_checkpoints_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^batches: expected Batches or a Stream, got dict$"):
        train(batches={"xs": XS})
    with pytest.raises(ValueError, match=r"^checkpoints: expected Checkpoints, got str$"):
        train(checkpoints=str(tmp_path))


def test_parameters_that_turn_nan_in_the_last_step_are_named():
    overflow = optax.stateless(lambda updates, params: jax.tree.map(lambda u: u * jnp.inf, updates))
    with pytest.raises(DivergedError, match="parameters after epoch 1: expected finite numbers"):
        train(epochs=1, batches=batches_of((XS, YS), 23), optimiser=overflow)


def running_loss(params, carry, batch, key):
    """The square of w times the decayed sum of all values so far; a window that is the first forgets."""
    values, is_first = batch
    carry = jnp.where(is_first, 0, carry)
    carry, sums = jax.lax.scan(lambda carry, value: (params["decay"] * carry + value,) * 2, carry, values)
    return jnp.mean((sums - 1) ** 2), (carry, {"carry": carry})


WINDOWS = (XS[:20].reshape(10, 6), np.arange(10) % 5 == 0)


def train_with_carry(epochs, **options):
    options = {"batches": in_order(WINDOWS), **options}
    start = {"decay": jnp.array(0.5)}
    return fit(running_loss, start, optax.sgd(0.01), epochs=epochs, key=KEY, carry=jnp.array(0.7), **options)


def test_a_carry_goes_from_step_to_step_without_a_gradient():
    fitted = train_with_carry(2)
    decay, carry = 0.5, 0.7
    for row in fitted.rows:
        losses, carries = [], []
        for values, is_first in zip(*WINDOWS, strict=True):
            start, total, slope = 0.0 if is_first else carry, 0.0, 0.0
            carry, gradient = start, 0.0
            for value in values:
                carry, slope = decay * carry + value, carry + decay * slope  # slope: of carry by decay
                total += (carry - 1) ** 2
                gradient += 2 * (carry - 1) * slope
            losses.append(total / 6)
            carries.append(carry)
            decay -= 0.01 * gradient / 6
        assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert row["carry"] == pytest.approx(np.mean(carries), rel=1e-5)
    assert float(fitted.params["decay"]) == pytest.approx(decay, rel=1e-5)


def test_a_carry_is_part_of_a_checkpoint(tmp_path):
    batches = in_order((WINDOWS[0], np.arange(10) == 5))  # an epoch begins with what the last one has left
    whole = train_with_carry(4, batches=batches)
    checkpoints = Checkpoints(tmp_path)
    train_with_carry(2, batches=batches, checkpoints=checkpoints)
    resumed = train_with_carry(4, batches=batches, checkpoints=checkpoints)
    assert resumed.rows == whole.rows
    assert resumed.params == whole.params


def test_a_stream_carries_too():
    def epoch(key):
        yield from zip(*WINDOWS, strict=True)

    streamed = train_with_carry(2, batches=Stream(10, epoch))
    assert streamed.params["decay"] == pytest.approx(float(train_with_carry(2).params["decay"]), rel=1e-6)


def test_a_resumption_with_another_early_stopping_is_refused(tmp_path):
    checkpoints, validate = Checkpoints(tmp_path), lambda params: {"w": float(params["w"][0])}
    train(epochs=4, validate=validate, checkpoints=checkpoints)
    stopping = EarlyStopping("validation_w", 9)  # by which the first epoch is the best, whose parameters are gone
    with pytest.raises(ValueError, match=r"^stopping: expected .* whose best epoch is 4, got one whose best is 1$"):
        train(epochs=6, validate=validate, checkpoints=checkpoints, stopping=stopping)
    again = train(epochs=4, validate=validate, checkpoints=checkpoints, stopping=stopping._replace(maximise=True))
    assert (again.best_epoch, len(again.rows)) == (4, 4)


def test_a_resumption_without_early_stopping_goes_on_with_the_last_parameters(tmp_path):
    values = iter([1.0, 2.0, 3.0])
    stopping = EarlyStopping("validation_v", 9)
    options = {"validate": lambda params: {"v": next(values)}, "stopping": stopping}
    assert train(epochs=3, checkpoints=Checkpoints(tmp_path), **options).best_epoch == 1
    resumed = train(epochs=3, checkpoints=Checkpoints(tmp_path))
    np.testing.assert_array_equal(resumed.params["w"], train(epochs=3).params["w"])
    assert resumed.best_epoch == 3


def test_a_seed_is_no_key():
    with pytest.raises(ValueError, match=r"^key: expected a random key such as jax\.random\.key\(0\), got int$"):
        fit(loss, {"w": jnp.zeros(3)}, optax.sgd(0.1), batches_of((XS, YS), 5), epochs=1, key=0)
