"""`jaxlstm.linen.RNN` and `jaxlstm.nnx.RNN` in the place of Flax's own, against Flax."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_close, assert_close_by_norm, assert_equal

pytest.importorskip("flax", reason="Flax is not installed: there is nothing to take the place of")

import flax_programs
from flax import linen as nn
from flax import nnx, serialization
from flax_programs import LinenModel, NNXModel, batches
from problem import draw

import jaxlstm
import jaxlstm.linen
import jaxlstm.nnx
from jaxlstm.interop import to_flax

LENGTHS = np.array([7, 2, 5])
VALID = np.arange(7) < LENGTHS[:, None]
TRAIN = {
    "linen": (flax_programs.train_linen, nn.RNN, jaxlstm.linen.RNN),
    "nnx": (flax_programs.train_nnx, nnx.RNN, jaxlstm.nnx.RNN),
}
LINEN_CELLS = {"plain": nn.LSTMCell, "optimized": nn.OptimizedLSTMCell}
NNX_CELLS = {"plain": nnx.LSTMCell, "optimized": nnx.OptimizedLSTMCell}


def inputs(*batch_shape, dtype=np.float32):
    return jax.random.normal(jax.random.key(0), (*batch_shape, 7, 5), dtype)


def carry_of(batch_shape, dtype=np.float32):
    """c and h, not zero."""
    keys = jax.random.split(jax.random.key(1))
    return tuple(jax.random.normal(key, (*batch_shape, 4), dtype) for key in keys)


# A whole program, with one word changed


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("library", TRAIN)
def test_training_makes_the_same_losses(library, dtype, tolerance):
    train, flax_rnn, our_rnn = TRAIN[library]
    with jax.enable_x64(dtype is np.float64):
        expected, expected_params = train(flax_rnn, dtype)
        losses, params = train(our_rnn, dtype)
    assert losses.dtype == dtype
    assert losses[-1] < 0.8 * losses[0]  # it learns
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    # Adam divides by the size of the gradient, so that rounding shows in weights whose gradient is small.
    assert_close(params, expected_params, 30 * tolerance)


def test_a_checkpoint_of_the_linen_model_loads_unchanged():
    batch = batches()[0]
    theirs, ours = (LinenModel(rnn, jnp.float32) for rnn in (nn.RNN, jaxlstm.linen.RNN))
    fresh = [jax.jit(model.init)(jax.random.key(3), batch.tokens, batch.lengths) for model in (theirs, ours)]
    assert_equal(fresh[1], fresh[0])
    trained = jax.tree.map(lambda leaf: leaf + 0.1, fresh[0])
    restored = serialization.from_bytes(fresh[1], serialization.to_bytes(trained))
    assert_equal(restored, trained)
    logits, expected = (jax.jit(model.apply)(restored, batch.tokens, batch.lengths) for model in (ours, theirs))
    assert_close(logits, expected, 1e-6)


def test_the_state_of_the_nnx_model_loads_unchanged():
    batch = batches()[0]
    theirs, ours = (NNXModel(rnn, jnp.float32) for rnn in (nnx.RNN, jaxlstm.nnx.RNN))
    states = [jax.tree.map(lambda leaf: leaf, nnx.to_pure_dict(nnx.state(model))) for model in (theirs, ours)]
    assert jax.tree.structure(states[1]) == jax.tree.structure(states[0])  # the random streams as well
    nnx.update(theirs, jax.tree.map(lambda leaf: leaf + 0.1, nnx.state(theirs, nnx.Param)))
    nnx.update(ours, nnx.state(theirs))
    logits, expected = (nnx.jit(lambda model: model(*batch[:2]))(model) for model in (ours, theirs))
    assert_close(logits, expected, 1e-6)


# Every option, against Flax. What it returns in the padding is no output of the sequence.

OPTIONS = [
    {},
    {"reverse": True},
    {"reverse": True, "keep_order": True},
    {"keep_order": True},
    {"time_major": True},
    {"time_major": True, "reverse": True},
    {"return_carry": False},
]


def arguments(options, lengths):
    """Of the constructor and of the call. With lengths, the call overrides what the constructor was told."""
    options = {"return_carry": True} | options
    call = {"initial_carry": carry_of((3,))}
    if lengths is None:
        return options, call
    return {name: not value for name, value in options.items()}, call | options | {"seq_lengths": lengths}


def compared(result, options, lengths):
    """What is told apart: everything, or with lengths everything but the padding."""
    carry, ys = result if options.get("return_carry", True) else (None, result)
    ys = jnp.swapaxes(ys, 0, 1) if options.get("time_major") else ys
    return carry, ys if lengths is None else np.where(VALID[..., None], ys, 0)


def linen_results(cell, xs, options, **call):
    """Of our RNN and of Flax's around a linen cell, in one program."""
    ours, theirs = (rnn(cell, **options) for rnn in (jaxlstm.linen.RNN, nn.RNN))

    @jax.jit
    def run(variables, xs):
        return ours.apply(variables, xs, **call), theirs.apply(variables, xs, **call)

    return run({"params": {"cell": to_flax(draw(dtype=cell.param_dtype).params)}}, xs)


def nnx_results(cell, xs, options, **call):
    """The same around an NNX cell."""
    modules = tuple(rnn(cell, **options, rngs=nnx.Rngs(0)) for rnn in (jaxlstm.nnx.RNN, nnx.RNN))
    return nnx.jit(lambda modules, xs: tuple(module(xs, **call) for module in modules))(modules, xs)


NORMAL = {"recurrent_kernel_init": nn.initializers.normal(0.5)}  # the orthogonal one draws no bfloat16
LIBRARIES = {
    "linen": (lambda kind, **options: LINEN_CELLS[kind](4, **NORMAL, **options), linen_results),
    "nnx": (lambda kind, **options: NNX_CELLS[kind](5, 4, **NORMAL, **options, rngs=nnx.Rngs(0)), nnx_results),
}
with_libraries = pytest.mark.parametrize(("make", "results"), LIBRARIES.values(), ids=LIBRARIES)


@pytest.mark.parametrize(("kind", "lengths"), [("plain", None), ("optimized", LENGTHS)], ids=["whole", "lengths"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
@with_libraries
def test_options(make, results, options, kind, lengths):
    xs = jnp.swapaxes(inputs(3), 0, 1) if options.get("time_major") else inputs(3)
    constructor, call = arguments(options, lengths)
    actual, expected = results(make(kind), xs, constructor, **call)
    assert_close(compared(actual, options, lengths), compared(expected, options, lengths), 1e-6)


@pytest.mark.parametrize("batch_shape", [(), (2, 3)])
@with_libraries
def test_batch_dimensions(make, results, batch_shape):
    actual, expected = results(make("optimized"), inputs(*batch_shape), {"return_carry": True})
    assert_close(actual, expected, 1e-6)


BFLOAT16 = jnp.bfloat16
DTYPES = {  # of the cell, of the inputs, and how near
    "computed in bfloat16": ({"dtype": BFLOAT16}, np.float32, 2e-2),
    "computed in float32": ({"dtype": np.float32}, BFLOAT16, 1e-6),
    "promoted to float32": ({}, BFLOAT16, 1e-6),
    "all in bfloat16": ({"param_dtype": BFLOAT16}, BFLOAT16, 2e-2),
}


@pytest.mark.parametrize(("options", "xs_dtype", "tolerance"), DTYPES.values(), ids=DTYPES)
@with_libraries
def test_dtypes_are_those_of_flax(make, results, options, xs_dtype, tolerance):
    actual, expected = results(make("optimized", **options), inputs(3).astype(xs_dtype), {"return_carry": True})
    assert [leaf.dtype for leaf in jax.tree.leaves(actual)] == [leaf.dtype for leaf in jax.tree.leaves(expected)]
    assert_close_by_norm(actual, expected, tolerance)


def test_activation_and_carry_initialiser():
    xs = inputs(3)
    options = {"activation_fn": jnp.sin, "carry_init": nn.initializers.normal()}
    theirs, ours = (rnn(nn.LSTMCell(4, **options), return_carry=True) for rnn in (nn.RNN, jaxlstm.linen.RNN))
    variables = jax.jit(theirs.init)(jax.random.key(0), xs)
    drawn = ours.apply(variables, xs)
    assert_close(drawn, theirs.apply(variables, xs), 1e-6)
    key = jax.random.key(7)
    other = ours.apply(variables, xs, init_key=key)
    assert_close(other, theirs.apply(variables, xs, init_key=key), 1e-6)
    assert np.any(other[1] != drawn[1])

    def module(rnn):
        return rnn(nnx.LSTMCell(5, 4, activation_fn=jnp.sin, rngs=nnx.Rngs(0)), return_carry=True, rngs=nnx.Rngs(1))

    theirs, ours = map(module, (nnx.RNN, jaxlstm.nnx.RNN))
    assert_close(ours(xs), theirs(xs), 1e-6)
    assert_close(ours(xs, rngs=nnx.Rngs(2)), theirs(xs, rngs=nnx.Rngs(2)), 1e-6)


# Inside what Flax wraps around a module


def test_partitioned_parameters_keep_their_names():
    kernel_init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    xs = inputs(3)
    theirs, ours = (rnn(nn.OptimizedLSTMCell(4, kernel_init=kernel_init)) for rnn in (nn.RNN, jaxlstm.linen.RNN))
    variables, expected = (jax.jit(rnn.init)(jax.random.key(0), xs) for rnn in (ours, theirs))
    assert_equal(variables, expected)
    assert nn.get_partition_spec(variables) == nn.get_partition_spec(expected)
    assert_close(ours.apply(variables, xs), theirs.apply(variables, xs), 1e-6)


@pytest.mark.parametrize("lift", ["remat", "vmap"])
def test_lifted(lift):
    xs = inputs(3)

    def lifted(rnn):
        if lift == "remat":
            return nn.remat(rnn)(nn.OptimizedLSTMCell(4))
        ensemble = nn.vmap(rnn, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=2)
        return ensemble(nn.OptimizedLSTMCell(4))

    theirs, ours = map(lifted, (nn.RNN, jaxlstm.linen.RNN))
    variables = jax.jit(theirs.init)(jax.random.key(0), xs)
    assert_equal(jax.jit(ours.init)(jax.random.key(0), xs), variables)

    def gradient(rnn):
        return jax.grad(lambda variables: jnp.sum(rnn.apply(variables, xs) ** 2))(variables)

    assert_close(jax.jit(lambda: gradient(ours))(), jax.jit(lambda: gradient(theirs))(), 1e-5)


def test_an_ensemble_in_nnx():
    xs = inputs(3)

    def outputs(rnn):
        @nnx.vmap(in_axes=0)
        def make(key):
            return rnn(nnx.OptimizedLSTMCell(5, 4, rngs=nnx.Rngs(key)), rngs=False)

        run = nnx.vmap(lambda module: module(xs, initial_carry=carry_of((3,))), in_axes=0)
        return run(make(jax.random.split(jax.random.key(0), 2)))

    assert_close(outputs(jaxlstm.nnx.RNN), outputs(nnx.RNN), 1e-6)


# Where it differs from Flax: the padding


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_padding_gives_zeros_and_takes_no_gradient(reverse):
    xs = jnp.where(VALID[..., None], inputs(3), jnp.nan)
    rnn = jaxlstm.linen.RNN(nn.OptimizedLSTMCell(4), return_carry=True, reverse=reverse)
    variables = rnn.init(jax.random.key(0), xs)

    def loss(variables, xs):
        (c, h), ys = rnn.apply(variables, xs, seq_lengths=LENGTHS)
        return jnp.sum(c) + jnp.sum(h) + jnp.sum(ys**2)

    (_, _), ys = rnn.apply(variables, xs, seq_lengths=LENGTHS)
    np.testing.assert_array_equal(ys[~VALID], 0)
    by_variables, by_xs = jax.grad(loss, argnums=(0, 1))(variables, xs)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(by_variables))
    np.testing.assert_array_equal(by_xs[~VALID], 0)


def test_length_zero_returns_the_initial_carry():
    carry = carry_of((3,))
    rnn = jaxlstm.nnx.RNN(nnx.LSTMCell(5, 4, rngs=nnx.Rngs(0)), return_carry=True, rngs=nnx.Rngs(0))
    last, _ = rnn(inputs(3), initial_carry=carry, seq_lengths=jnp.array([7, 0, 5]))
    assert_equal(jax.tree.map(lambda leaf: leaf[1], last), jax.tree.map(lambda leaf: leaf[1], carry))


# What it refuses


class DoubledLSTMCell(nn.OptimizedLSTMCell):
    pass


LINEN_ERRORS = {
    "another-cell": (lambda: jaxlstm.linen.RNN(nn.GRUCell(4)), {}, "cell: expected LSTMCell or OptimizedLSTMCell, got"),
    "subclass": (lambda: jaxlstm.linen.RNN(DoubledLSTMCell(4)), {}, "cell: .*, got DoubledLSTMCell"),
    "gate": (lambda: jaxlstm.linen.RNN(nn.LSTMCell(4, gate_fn=nn.hard_sigmoid)), {}, "gate_fn: expected sigmoid"),
    "axes": (lambda: jaxlstm.linen.RNN(nn.LSTMCell(4), variable_axes={"cache": 0}), {}, "variable_axes: expected Flax"),
    "rngs": (
        lambda: jaxlstm.linen.RNN(nn.LSTMCell(4), split_rngs={"params": True}),
        {},
        "split_rngs: expected Flax's default",
    ),
    "state": (
        lambda: jaxlstm.linen.RNN(nn.LSTMCell(4)),
        {"initial_carry": jaxlstm.zero_state((3,), 4)},
        r"initial_carry: expected Flax's \(c, h\), got an LSTMState",
    ),
    "carry": (lambda: jaxlstm.linen.RNN(nn.LSTMCell(4)), {"initial_carry": jnp.zeros((3, 4))}, "initial_carry: exp"),
    "carry-shape": (
        lambda: jaxlstm.linen.RNN(nn.LSTMCell(4)),
        {"initial_carry": carry_of((2,))},
        r"initial_carry: c: expected shape \[3, 4\], got \[2, 4\]",
    ),
    "too-long": (
        lambda: jaxlstm.linen.RNN(nn.LSTMCell(4)),
        {"seq_lengths": np.array([7, 8, 1])},
        "lengths: expected 0 to 7, the steps of xs, got 8",
    ),
}


@pytest.mark.parametrize("name", LINEN_ERRORS)
def test_linen_errors(name):
    make, call, message = LINEN_ERRORS[name]
    with pytest.raises(ValueError, match=message):
        make().init(jax.random.key(0), inputs(3), **call)


def nnx_rnn(cell=nnx.LSTMCell, options=None, **cell_options):
    return jaxlstm.nnx.RNN(cell(5, 4, rngs=nnx.Rngs(0), **cell_options), rngs=nnx.Rngs(0), **(options or {}))


def adapted():
    rnn = nnx_rnn(nnx.OptimizedLSTMCell)
    rnn.cell.dense_h = nnx.LoRA(4, 2, 16, base_module=rnn.cell.dense_h, rngs=nnx.Rngs(0))
    return rnn


NNX_ERRORS = {
    "another-cell": (lambda: nnx_rnn(nnx.GRUCell), "cell: expected LSTMCell or OptimizedLSTMCell, got GRUCell"),
    "gate": (lambda: nnx_rnn(gate_fn=nnx.hard_sigmoid), "gate_fn: expected sigmoid"),
    "axes": (lambda: nnx_rnn(options={"state_axes": {nnx.Cache: 0}}), "state_axes: expected Flax's default"),
    "rngs": (lambda: nnx_rnn(options={"broadcast_rngs": "dropout"}), "broadcast_rngs: expected Flax's default"),
    "adapted": (adapted, r"cell\.dense_h: expected nnx\.Linear, got LoRA"),
}


@pytest.mark.parametrize("name", NNX_ERRORS)
def test_nnx_errors(name):
    make, message = NNX_ERRORS[name]
    with pytest.raises(ValueError, match=message):
        make()(inputs(3))


def test_a_copy_of_a_model_is_the_same_model():
    module = jaxlstm.nnx.RNN(nnx.OptimizedLSTMCell(5, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(1), (3, 6, 5))
    np.testing.assert_array_equal(copy.deepcopy(module)(xs), module(xs))


def test_frozen_parameters_of_another_type():
    class Frozen(nnx.Variable):
        pass

    cell, xs = nnx.OptimizedLSTMCell(5, 4, rngs=nnx.Rngs(0)), jax.random.normal(jax.random.key(1), (3, 6, 5))
    expected = nnx.RNN(cell, rngs=nnx.Rngs(0))(xs)
    cell.dense_i.kernel = Frozen(cell.dense_i.kernel[...])
    np.testing.assert_allclose(jaxlstm.nnx.RNN(cell, rngs=nnx.Rngs(0))(xs), expected, atol=1e-6)


@pytest.mark.parametrize("change", ["bias", "dot_general"])
def test_a_linear_layer_that_computes_something_else_is_refused(change):
    cell = nnx.OptimizedLSTMCell(5, 4, rngs=nnx.Rngs(0))
    if change == "bias":
        cell.dense_i = nnx.Linear(5, 16, rngs=nnx.Rngs(1))
    else:
        cell.dense_i.dot_general = lambda *arguments, **options: 2 * jax.lax.dot_general(*arguments, **options)
    with pytest.raises(ValueError, match=rf"dense_i[./]{change}: expected "):
        jaxlstm.nnx.RNN(cell, rngs=nnx.Rngs(0))(jnp.ones((3, 6, 5)))


def test_a_missing_parameter_is_named_as_flax_names_it():
    rnn = jaxlstm.linen.RNN(nn.OptimizedLSTMCell(4))
    variables = rnn.init(jax.random.key(0), inputs(3))
    del variables["params"]["cell"]["if"]
    with pytest.raises(ValueError, match="if/kernel: expected this key"):
        rnn.apply(variables, inputs(3))
