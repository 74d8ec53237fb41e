"""Which implementation runs a call, what each refuses, and why."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from problem import draw

import jaxlstm
from jaxlstm import cells, linen, lstm, which_implementation
from jaxlstm import nnx as jaxlstm_nnx
from jaxlstm.implementations import choice, cudnn, deciding_for, preferring
from jaxlstm.models.tagger import init_tagger, tag
from jaxlstm.stack import init_stack, stack

pytestmark = pytest.mark.usefixtures("strict_ranks")


@pytest.fixture
def _cuda_in_jax(monkeypatch):
    """As with a jaxlib that has CUDA."""
    from jax.experimental import rnn

    monkeypatch.setattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes", lambda *_: (1, 1), raising=False)


@pytest.fixture
def traced_for_cudnn(_cuda_in_jax, monkeypatch):
    """A list that grows by the hidden size, and whether products are rounded, of each LSTM traced for cuDNN."""
    from jax.experimental import rnn

    seen = []

    def stand_in(x, h, c, weights, steps, inputs, hidden, layers, dropout, bidirectional, precision):
        seen.append((hidden, rnn._lstm_cudnn_allow_tf32(precision)))
        return jnp.zeros((*x.shape[:2], hidden)), h, c

    monkeypatch.setattr(rnn, "lstm", stand_in)
    jax.clear_caches()
    return seen


def described(dtype=jnp.float32, batch=32, steps=80, inputs=128, hidden=128):
    """Parameters and inputs by shape and dtype alone."""
    params = jaxlstm.LSTMParams(
        *(jax.ShapeDtypeStruct(shape, dtype) for shape in [(inputs, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)])
    )
    return params, jax.ShapeDtypeStruct((batch, steps, inputs), dtype)


def assert_refused(message, *arguments, **options):
    with pytest.raises(ValueError, match="^" + re.escape(f"implementation: {message}")) as caught:
        which_implementation(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("platform", ["cpu", "rocm", "tpu", None])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_without_a_measurement_the_scan_is_taken(platform, dtype):
    assert which_implementation(*described(dtype), platform=platform) == ("scan", choice.UNMEASURED)


@pytest.mark.parametrize(("dtype", "most"), [(jnp.float32, 256), (jnp.bfloat16, 512), (jnp.float16, 512)])
def test_on_an_nvidia_gpu_the_kernel_is_taken(dtype, most):
    name, reason = which_implementation(*described(dtype, hidden=most), platform="cuda")
    assert name == "pallas"
    assert "on an H200" in reason
    for elsewhere in ({"hidden": most + 1}, {"steps": 4}):
        assert which_implementation(*described(dtype, **elsewhere), platform="cuda") == ("scan", choice.UNMEASURED)


@pytest.mark.parametrize("precision", ["highest", "float32", "F32_F32_F32", "BF16_BF16_F32_X9"])
def test_exact_products_of_float32_are_the_scans(precision):
    with jax.default_matmul_precision("tensorfloat32"):
        assert which_implementation(*described(), platform="cuda").name == "pallas"
    with jax.default_matmul_precision(precision):
        assert which_implementation(*described(), platform="cuda").name == "scan"
        assert which_implementation(*described(jnp.bfloat16), platform="cuda").name == "pallas"
        assert_refused(
            f"'pallas' multiplies float32 as TensorFloat-32 does, jax_default_matmul_precision is {precision!r}",
            *described(),
            implementation="pallas",
            platform="cuda",
        )


def test_what_is_asked_for_is_taken():
    assert which_implementation(*described(), implementation="scan") == ("scan", "it was asked for")


@pytest.mark.usefixtures("_cuda_in_jax")
def test_a_measured_rule_decides_where_it_applies_and_can_run(monkeypatch):
    rule = choice.Rule("cudnn", "cuda", "float32", range(1, 64), range(50, 1000), range(64, 512), "twice as fast")
    monkeypatch.setattr(choice, "RULES", (rule,))
    assert which_implementation(*described(), platform="cuda") == ("cudnn", "twice as fast")
    for elsewhere in (
        {"platform": "cpu"},
        {"hidden": 512},
        {"steps": 49},
        {"batch": 64},
        {"dtype": jnp.bfloat16},
        {"activation": jax.nn.relu},
    ):
        options = {name: elsewhere.pop(name) for name in ("platform", "activation") if name in elsewhere}
        answer = which_implementation(*described(**elsewhere), **({"platform": "cuda"} | options))
        assert answer == ("scan", choice.UNMEASURED)


COMMON = {
    "activation": ({"activation": jax.nn.relu}, "knows no activation but jnp.tanh"),
    "unroll": ({"unroll": 4}, "has no loop to unroll, expected unroll=None, got 4"),
    "no-steps": ({"steps": 0}, "needs something to walk over, got batch 32, steps 0, inputs 128"),
    "no-rows": ({"batch": 0}, "needs something to walk over, got batch 0, steps 80, inputs 128"),
    "no-inputs": ({"inputs": 0}, "needs something to walk over, got batch 32, steps 80, inputs 0"),
}
REFUSED = {
    "cudnn": COMMON
    | {
        "cpu": ({"platform": "cpu"}, "needs an NVIDIA GPU, the platform is cpu"),
        "rocm": ({"platform": "rocm"}, "needs an NVIDIA GPU, the platform is rocm"),
        "float64": ({"dtype": np.float64}, "computes in float32 alone, xs is float64"),
        "bfloat16": ({"dtype": jnp.bfloat16}, "computes in float32 alone, xs is bfloat16"),
        "h_scale": ({"h_scale": jax.ShapeDtypeStruct((32, 128), jnp.float32)}, "takes no h_scale"),
        "mask": (
            {"mask": jax.ShapeDtypeStruct((32, 80), bool)},
            "knows padding at the right alone: give lengths, not a mask",
        ),
    },
    "pallas": {name: ({"dtype": jnp.bfloat16} | changes, reason) for name, (changes, reason) in COMMON.items()}
    | {
        "cpu": ({"platform": "cpu"}, "needs an NVIDIA GPU, the platform is cpu"),
        "float64": ({"dtype": np.float64}, "computes in bfloat16, float16 or float32, xs is float64"),
        "hidden": (
            {"dtype": jnp.bfloat16, "hidden": 513},
            "keeps W_h on chip: expected H of at most 512 in bfloat16, got 513",
        ),
        "hidden-float32": (
            {"dtype": jnp.float32, "hidden": 257},
            "keeps W_h on chip: expected H of at most 256 in float32, got 257",
        ),
    },
}


@pytest.mark.usefixtures("_cuda_in_jax")
@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in REFUSED.items() for case in cases])
def test_refusal(name, case):
    changes, reason = REFUSED[name][case]
    changes = {"platform": "cuda"} | changes
    sizes = {key: changes.pop(key) for key in ("dtype", "batch", "steps", "inputs", "hidden") if key in changes}
    with jax.enable_x64(case == "float64"):  # without it such an array is one of float32
        assert_refused(f"{name!r} {reason}", *described(**sizes), implementation=name, **changes)


@pytest.mark.usefixtures("_cuda_in_jax")
def test_cudnn_refuses_a_precision_that_it_has_not():
    with jax.default_matmul_precision("bfloat16"):
        assert_refused(
            "'cudnn' multiplies in float32 or tensorfloat32, jax_default_matmul_precision is 'bfloat16'",
            *described(),
            implementation="cudnn",
            platform="cuda",
        )


@pytest.mark.parametrize("precision", list(cudnn.PRECISIONS))
def test_cudnn_rounds_products_where_that_is_asked_for(precision, traced_for_cudnn):
    problem = draw(dtype=np.float32)
    with jax.default_matmul_precision(precision), deciding_for("cuda"):
        jax.eval_shape(lambda: lstm(*problem[:3], implementation="cudnn"))
    assert [rounded for _, rounded in traced_for_cudnn] == [precision in ("high", "tensorfloat32", "TF32_TF32_F32")]


def test_a_jax_without_cuda_is_named():
    from jax.experimental import rnn

    if hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"):
        pytest.skip("this jaxlib has CUDA")
    assert_refused("'cudnn' needs JAX with CUDA", *described(), implementation="cudnn", platform="cuda")


@pytest.mark.usefixtures("_cuda_in_jax")
@pytest.mark.parametrize(("name", "dtype"), [("cudnn", jnp.float32), ("pallas", jnp.bfloat16)])
def test_a_mesh_of_several_devices(name, dtype):
    mesh = jax.sharding.AbstractMesh((2,), ("batch",))
    with jax.sharding.use_abstract_mesh(mesh):
        assert_refused(
            f"{name!r} runs on one device, the mesh in force has 2",
            *described(dtype),
            implementation=name,
            platform="cuda",
        )


def test_the_kernel_is_for_one_kind_of_gpu(monkeypatch):
    monkeypatch.setattr("jaxlstm.sequence.current_capability", lambda: "8.0")
    assert_refused(
        "'pallas' is written for compute capability 9.0 (H100, H200), this GPU has 8.0",
        *described(jnp.bfloat16),
        implementation="pallas",
        platform="cuda",
    )


def by_tagger(xs):
    return partial(tag, init_tagger(jax.random.key(0), 4, 8, 3))


def by_stack(xs, **options):
    return partial(stack, cells.LSTM, init_stack(jax.random.key(0), cells.LSTM, 4, (8, 8), **options))


def by_linen(xs):
    module = linen.RNN(nn.OptimizedLSTMCell(8))
    return partial(module.apply, module.init(jax.random.key(0), xs))


def by_nnx(xs):
    parts = nnx.split(jaxlstm_nnx.RNN(nnx.OptimizedLSTMCell(4, 8, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)))
    return lambda xs: nnx.merge(*parts, copy=True)(xs)


CALLERS = {  # what makes one, before anything is preferred, and how many LSTMs it runs
    "tagger": (by_tagger, 1),
    "stack": (by_stack, 2),
    "both directions": (partial(by_stack, bidirectional=True), 4),
    "linen": (by_linen, 1),
    "nnx": (by_nnx, 1),
}


@pytest.mark.parametrize("name", CALLERS)
def test_a_preference_reaches_the_calls_of_others(name, traced_for_cudnn):
    (make, count), xs = CALLERS[name], jnp.ones((2, 5, 4))
    run = make(xs)
    with deciding_for("cuda"), preferring("cudnn"):
        jax.jit(run).trace(xs).lower(lowering_platforms=("cuda",))
    assert [hidden for hidden, _ in traced_for_cudnn] == [8] * count


def test_what_is_compiled_follows_the_preference(traced_for_cudnn, monkeypatch):
    monkeypatch.setattr(choice, "RULES", ())
    problem = draw(dtype=np.float32)
    run = jax.jit(lambda *arguments: lstm(*arguments)[1])
    with deciding_for("cuda"):
        for preferred, seen in (((), 0), (("cudnn",), 1), (("cudnn",), 1), (("scan", "cudnn"), 1), ((), 1)):
            with preferring(*preferred):
                run.trace(*problem[:3]).lower(lowering_platforms=("cuda",))
            assert len(traced_for_cudnn) == seen


def test_a_preference_is_given_up_for_a_reason_and_yields_to_a_name():
    with preferring("pallas", "cudnn"):
        assert which_implementation(*described(), platform="tpu") == (
            "scan",
            "'pallas' needs an NVIDIA GPU, the platform is tpu; 'cudnn' needs an NVIDIA GPU, the platform is tpu",
        )
        assert which_implementation(*described(), implementation="scan").reason == "it was asked for"
    with pytest.raises(ValueError, match=r"^implementations: expected one of 'scan', 'cudnn', 'pallas', got 'triton'$"):
        preferring("cudnn", "triton")


def test_lstm_itself_refuses_and_says_why():
    problem = draw(dtype=np.float32)
    with pytest.raises(ValueError, match=r"^implementation: 'cudnn' needs an NVIDIA GPU, the platform is cpu"):
        lstm(*problem[:3], implementation="cudnn")


def test_bad_arguments_are_named_before_any_implementation():
    params, _ = described()
    with pytest.raises(ValueError, match=r"^xs: expected 128 features"):
        which_implementation(params, jax.ShapeDtypeStruct((32, 80, 7), jnp.float32), implementation="cudnn")
    with pytest.raises(ValueError, match=r"^platform: expected one of 'cpu', 'cuda', .*, or None, got 'gpu'$"):
        which_implementation(*described(), platform="gpu")


def test_the_platform_is_assumed_inside_of_the_block_alone():
    assert choice.current_platform() == jax.default_backend()
    with deciding_for("tpu"):
        assert choice.current_platform() == "tpu"
    assert choice.current_platform() == jax.default_backend()
