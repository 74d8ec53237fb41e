"""`jaxlstm.linen.RNN` and `jaxlstm.nnx.RNN` in the place of Flax's own, against Flax."""

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

import jaxlstm
import jaxlstm.linen
import jaxlstm.nnx

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
    fresh = [model.init(jax.random.key(3), batch.tokens, batch.lengths) for model in (theirs, ours)]
    assert_equal(fresh[1], fresh[0])
    trained = jax.tree.map(lambda leaf: leaf + 0.1, fresh[0])
    restored = serialization.from_bytes(fresh[1], serialization.to_bytes(trained))
    assert_equal(restored, trained)
    logits, expected = (model.apply(restored, batch.tokens, batch.lengths) for model in (ours, theirs))
    assert_close(logits, expected, 1e-6)


def test_the_state_of_the_nnx_model_loads_unchanged():
    batch = batches()[0]
    theirs, ours = (NNXModel(rnn, jnp.float32) for rnn in (nnx.RNN, jaxlstm.nnx.RNN))
    states = [jax.tree.map(lambda leaf: leaf, nnx.to_pure_dict(nnx.state(model))) for model in (theirs, ours)]
    assert jax.tree.structure(states[1]) == jax.tree.structure(states[0])  # the random streams as well
    nnx.update(theirs, jax.tree.map(lambda leaf: leaf + 0.1, nnx.state(theirs, nnx.Param)))
    nnx.update(ours, nnx.state(theirs))
    assert_close(ours(batch.tokens, batch.lengths), theirs(batch.tokens, batch.lengths), 1e-6)


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


def calls(options, lengths):
    """Arguments of a call, and of its constructor, that come to the same; two are said in both."""
    options = {"return_carry": True} | options
    initial = {"initial_carry": carry_of((3,))}
    opposite = {name: not value for name, value in options.items()}
    if lengths is not None:
        initial["seq_lengths"] = lengths
    return [(options, initial), (opposite, initial | options)]


def compared(result, options, lengths):
    """What is told apart: everything, or with lengths everything but the padding."""
    carry, ys = result if options.get("return_carry", True) else (None, result)
    ys = jnp.swapaxes(ys, 0, 1) if options.get("time_major") else ys
    return carry, ys if lengths is None else np.where(VALID[..., None], ys, 0)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_linen_options(options, lengths):
    xs = jnp.swapaxes(inputs(3), 0, 1) if options.get("time_major") else inputs(3)
    for kind in LINEN_CELLS.values():
        for constructor, call in calls(options, lengths):
            theirs, ours = (rnn(kind(4), **constructor) for rnn in (nn.RNN, jaxlstm.linen.RNN))
            variables = jax.jit(theirs.init)(jax.random.key(0), xs)
            expected = compared(theirs.apply(variables, xs, **call), options, lengths)
            assert_close(compared(ours.apply(variables, xs, **call), options, lengths), expected, 1e-6)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_nnx_options(options, lengths):
    xs = jnp.swapaxes(inputs(3), 0, 1) if options.get("time_major") else inputs(3)
    for kind in NNX_CELLS.values():
        for constructor, call in calls(options, lengths):
            cell = kind(5, 4, rngs=nnx.Rngs(0))
            theirs, ours = (rnn(cell, **constructor, rngs=nnx.Rngs(0)) for rnn in (nnx.RNN, jaxlstm.nnx.RNN))
            expected = compared(theirs(xs, **call), options, lengths)
            assert_close(compared(ours(xs, **call), options, lengths), expected, 1e-6)


@pytest.mark.parametrize("batch_shape", [(), (2,), (2, 3)])
def test_batch_dimensions(batch_shape):
    xs = inputs(*batch_shape)
    theirs, ours = (rnn(nn.OptimizedLSTMCell(4), return_carry=True) for rnn in (nn.RNN, jaxlstm.linen.RNN))
    variables = jax.jit(ours.init)(jax.random.key(0), xs)
    assert_close(ours.apply(variables, xs), theirs.apply(variables, xs), 1e-6)
    cell = nnx.OptimizedLSTMCell(5, 4, rngs=nnx.Rngs(0))
    theirs, ours = (rnn(cell, return_carry=True, rngs=nnx.Rngs(0)) for rnn in (nnx.RNN, jaxlstm.nnx.RNN))
    assert_close(ours(xs), theirs(xs), 1e-6)


@pytest.mark.parametrize("dtypes", [{"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}, {"dtype": jnp.float32}])
@pytest.mark.parametrize("xs_dtype", [jnp.bfloat16, jnp.float32])
def test_dtypes_are_those_of_flax(dtypes, xs_dtype):
    xs = inputs(3).astype(xs_dtype)
    mixed = xs_dtype != dtypes.get("dtype", jnp.float32)
    tolerance = 2e-2 if jnp.bfloat16 in (xs_dtype, *dtypes.values()) or mixed else 1e-6
    pairs = []
    if dtypes != {"param_dtype": jnp.bfloat16}:  # linen's orthogonal initialiser draws no bfloat16
        theirs, ours = (
            rnn(nn.OptimizedLSTMCell(4, **dtypes), return_carry=True) for rnn in (nn.RNN, jaxlstm.linen.RNN)
        )
        variables = jax.jit(theirs.init)(jax.random.key(0), xs)
        pairs.append((ours.apply(variables, xs), theirs.apply(variables, xs)))
    cell = nnx.LSTMCell(5, 4, **dtypes, rngs=nnx.Rngs(0))
    carry = carry_of((3,), xs_dtype if dtypes == {"param_dtype": jnp.bfloat16} else jnp.float32)
    theirs, ours = (rnn(cell, return_carry=True, rngs=nnx.Rngs(0)) for rnn in (nnx.RNN, jaxlstm.nnx.RNN))
    pairs.append(tuple(rnn(xs, initial_carry=carry) for rnn in (ours, theirs)))
    for actual, expected in pairs:
        assert jax.tree.map(jnp.dtype, actual) == jax.tree.map(jnp.dtype, expected)
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
    variables, expected = (rnn.init(jax.random.key(0), xs) for rnn in (ours, theirs))
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

    assert_close(gradient(ours), gradient(theirs), 1e-5)


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


def test_a_missing_parameter_is_named_as_flax_names_it():
    rnn = jaxlstm.linen.RNN(nn.OptimizedLSTMCell(4))
    variables = rnn.init(jax.random.key(0), inputs(3))
    del variables["params"]["cell"]["if"]
    with pytest.raises(ValueError, match="if/kernel: expected this key"):
        rnn.apply(variables, inputs(3))
