"""The "cudnn" implementation, where there is no cuDNN: `lstm_ref`, by which JAX documents it, in its place."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest
from cases import CASES
from compare import assert_close
from derivatives import draw_cotangents
from jax.experimental import rnn
from jax.interpreters import mlir
from problem import draw

from jaxlstm import lstm
from jaxlstm.implementations import deciding_for

pytestmark = [
    pytest.mark.usefixtures("float64", "_no_gpu"),
    pytest.mark.skipif(hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"), reason="has a real cuDNN"),
]

RIGHT_PADDED = ["plain", "reverse", "lengths", "lengths-reverse"]
run = partial(lstm, implementation="cudnn")


def lstm_ref(x, h_0, c_0, weights, seq_lengths, *sizes_and_more):
    *sizes, dropout, bidirectional, _ = sizes_and_more
    weights = rnn.unpack_lstm_weights(weights, *sizes, bidirectional)
    return rnn.lstm_ref(x, h_0, c_0, *weights, seq_lengths, *sizes, dropout, bidirectional)


@pytest.fixture
def _no_gpu(monkeypatch):
    """JAX as it is with CUDA, as far as Python goes."""
    monkeypatch.setattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes", lambda *_: (64, 128), raising=False)
    with deciding_for("cuda"):
        yield
    jax.clear_caches()


@pytest.fixture
def _stand_in(monkeypatch):
    monkeypatch.setattr(rnn, "lstm", lstm_ref)


@pytest.mark.usefixtures("_stand_in")
@pytest.mark.parametrize("name", RIGHT_PADDED)
def test_values_and_gradients(name):
    problem, case = draw(dtype=np.float32), CASES[name]
    options = {"lengths": case.lengths, "reverse": case.reverse}
    if case.lengths is None:
        del options["lengths"]
    cotangents = draw_cotangents(problem)
    actual = jax.vjp(lambda *problem: run(*problem, **options), *problem[:3])
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), (problem, cotangents))
    expected = jax.vjp(lambda *problem: naive.lstm(*problem, **options), *wide[0][:3])
    assert_close(actual[0], expected[0], 3e-6)
    assert_close(actual[1](cotangents), expected[1](wide[1]), 3e-6)


@pytest.mark.usefixtures("_stand_in")
def test_lengths_that_are_traced_may_be_zero_or_too_long():
    problem = draw(dtype=np.float32)

    @jax.jit
    def last(lengths):
        return run(*problem[:3], lengths=lengths)

    state, ys = last(jnp.array([0, 3, 9]))
    expected = naive.lstm(*problem[:3], lengths=np.array([0, 3, 7]))
    assert_close((state, ys), expected, 3e-6)
    np.testing.assert_array_equal(state.h[0], problem.state.h[0])


def train(problem):
    return jax.grad(lambda params, xs: jnp.sum(run(params, xs)[1]), argnums=(0, 1))(*problem[:2])


@pytest.mark.parametrize(
    ("transformed", "message"),
    [
        (lambda p: jax.vmap(lambda xs: run(p.params, xs))(p.xs[None]), "does no vmap"),
        (lambda p: jax.vmap(jax.jit(lambda xs: run(p.params, xs)))(p.xs[None]), "does no vmap"),
        (lambda p: jax.jvp(lambda xs: run(p.params, xs), (p.xs,), (p.xs,)), "has no forward-mode derivative"),
        (lambda p: jax.jvp(jax.jit(lambda xs: run(p.params, xs)), (p.xs,), (p.xs,)), "has no forward-mode derivative"),
        (lambda p: jax.jacrev(lambda xs: run(p.params, xs)[1])(p.xs), "does no vmap"),
        (lambda p: jax.grad(lambda xs: jnp.sum(train(p._replace(xs=xs))[1]))(p.xs), "has no second derivative"),
        (lambda p: jax.jvp(lambda xs: train(p._replace(xs=xs)), (p.xs,), (p.xs,)), "has no second derivative"),
    ],
    ids=["vmap", "vmap-jit", "jvp", "jvp-jit", "jacrev", "grad-grad", "hessian-product"],
)
def test_what_a_kernel_does_not_do_is_named(transformed, message):
    with pytest.raises(ValueError, match=f"^implementation: 'cudnn' {message}"):
        jax.jit(transformed).trace(draw(dtype=np.float32)).lower(lowering_platforms=("cuda",))


def test_it_lowers_for_cuda():
    descriptor = SimpleNamespace(build_rnn_descriptor=lambda *sizes: repr(sizes).encode())
    for primitive, lowering in (
        (rnn.rnn_fwd_p, rnn.gpu_rnn._rnn_fwd_lowering),
        (rnn.rnn_bwd_p, rnn.gpu_rnn._rnn_bwd_lowering),
    ):
        mlir.register_lowering(primitive, partial(lowering, descriptor, "cu"), platform="cuda")
    problem = draw(dtype=np.float32)
    text = jax.jit(train).trace(problem).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@cudnn_rnn_ffi") == 1
    assert text.count("@cudnn_rnn_bwd_ffi") == 1
    # inputs, hidden, layers, batch, steps, dropout, bidirectional, TF32 allowed
    assert "(5, 4, 1, 3, 7, 0.0, False, False, 64, 128)" in text
