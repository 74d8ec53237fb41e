"""Sharding of the user's own: meshes with explicit axes, and `jax.shard_map` around a call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close
from devices import run_on_devices
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxlstm import cells, init_lstm, lstm, parallel, scan_cell
from jaxlstm.batches import map_batches

LENGTHS = (7, 3, 0, 5)


def run_lstm(params, xs, lengths):
    return lstm(params, xs, lengths=lengths)


def run_gru(params, xs, lengths):
    return scan_cell(cells.GRU, params, xs, lengths=lengths, checkpoint_every=3)


CALLS = {"lstm": (run_lstm, init_lstm), "gru": (run_gru, cells.GRU.init)}


def problem(name):
    """A call, and its arguments."""
    run, init = CALLS[name]
    xs = jax.random.normal(jax.random.key(1), (4, 7, 3))
    return run, (init(jax.random.key(0), 3, 5), xs, jnp.array(LENGTHS))


def with_gradients(run):
    def loss(params, xs, lengths):
        state, ys = run(params, xs, lengths)
        return jnp.sum(ys**2) + jnp.sum(state.h), (state, ys)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def check_explicit_mesh(name):
    run, (params, xs, lengths) = problem(name)
    expected = with_gradients(run)(params, xs, lengths)
    with jax.set_mesh(jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Explicit,))):
        split = [jax.device_put(array, P("data")) for array in (xs, lengths)]
        assert jax.typeof(run(params, *split)[1]).sharding.spec == P("data", None, None)
        assert_close(with_gradients(run)(params, *split), expected, 1e-6)
        assert "all-gather" not in with_gradients(run).lower(params, *split).compile().as_text()


def check_two_batch_dimensions(name):
    run, (params, xs, lengths) = problem(name)
    xs, lengths = xs.reshape(2, 2, 7, 3), lengths.reshape(2, 2)
    expected = with_gradients(run)(params, xs, lengths)
    with jax.set_mesh(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))):
        split = [jax.device_put(array, P("data")) for array in (xs, lengths)]
        assert_close(with_gradients(run)(params, *split), expected, 1e-6)


def check_an_explicit_axis_beside(name):
    run, (params, xs, lengths) = problem(name)
    expected = with_gradients(run)(params, xs, lengths)
    axis_types = (AxisType.Auto, AxisType.Explicit)
    with jax.set_mesh(jax.make_mesh((2, 1), ("batch", "model"), axis_types=axis_types)):
        assert_close(with_gradients(run)(params, xs, lengths), expected, 1e-6)


def check_shard_map(name):
    run, (params, xs, lengths) = problem(name)
    expected = with_gradients(run)(params, xs, lengths)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    each = jax.shard_map(run, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P("data"))
    assert_close(with_gradients(each)(params, xs, lengths), expected, 1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_an_explicit_axis(name):
    check_explicit_mesh(name)


@pytest.mark.parametrize("name", CALLS)
def test_within_shard_map(name):
    check_shard_map(name)


def test_parameters_that_differ_on_each_device():
    mesh = Mesh(np.array(jax.devices()), ("model",))
    run, (params, xs, lengths) = problem("lstm")
    models = jax.tree.map(lambda leaf: leaf[None], params)

    def one(models, xs):
        return run(jax.tree.map(lambda leaf: leaf[0], models), xs, lengths)[1][None]

    ys = jax.shard_map(one, mesh=mesh, in_specs=(P("model"), P()), out_specs=P("model"))(models, xs)
    assert_close(ys[0], run(params, xs, lengths)[1], 1e-6)


def test_on_two_devices():
    checks = (check_explicit_mesh, check_two_batch_dimensions, check_an_explicit_axis_beside, check_shard_map)
    code = "import test_sharding as t\nfor name in t.CALLS:\n" + "\n".join(f"    t.{c.__name__}(name)" for c in checks)
    run_on_devices(code, 2)


def test_a_mesh_that_jax_makes_serves_for_batches():
    run, arguments = problem("lstm")
    mesh = jax.make_mesh((1,), ("batch",))
    assert mesh.axis_types == (AxisType.Explicit,)

    def outputs(params, batch):
        return run(params, *batch)[1]

    got = map_batches(outputs, arguments[0], arguments[1:], 2, mesh)
    assert_close(got, run(*arguments)[1], 1e-6)


def test_a_mesh_of_another_axis_is_refused():
    with pytest.raises(ValueError, match=r"^mesh: expected one axis, 'batch', got 'x', 'y'$"):
        parallel.automatic(jax.make_mesh((1, 1), ("x", "y")))
