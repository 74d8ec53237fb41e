"""Exported models against the library: StableHLO reloaded without it, ONNX in onnxruntime."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import HOLES, LEFT_PADDED
from problem import draw, draw_like

from jaxlstm import cells, init_lstm, lstm, models, scan_cell
from jaxlstm.deploy.model import Input, Model
from jaxlstm.interop import BidirectionalParams, ProjectedLSTMParams

SIZES = [(3, 7), (1, 1), (5, 20)]

randomised = partial(draw_like, scale=0.7)


def inputs_of(model, batch, time):
    """Random inputs of a model; integers are symbols 0 to 5, or lengths 0 to `time` where they are so called."""
    rng, sizes = np.random.default_rng(batch), {"batch": batch, "time": time}
    arrays = []
    for name, (shape, dtype) in model.inputs.items():
        shape = tuple(sizes.get(size, size) for size in shape)
        if np.dtype(dtype).kind == "f":
            arrays.append(rng.standard_normal(shape).astype(dtype))
        else:
            arrays.append(rng.integers(0, time + 1 if name == "lengths" else 6, shape).astype(dtype))
    return arrays


XS = {"xs": Input(("batch", "time", 5), np.float32)}
IDS = {"ids": Input(("batch", "time"), np.int32)}
LENGTHS = {"lengths": Input(("batch",), np.int32)}
KEY = jax.random.key(0)


def graph_of(build):
    """What a model builds its graph with; ONNX is imported only where it is needed."""

    def graph(*arguments):
        from jaxlstm.deploy import graph as layers
        from jaxlstm.deploy import onnx

        return build(onnx, layers, *arguments)

    return graph


CLASSIFIER = randomised(models.init_classifier(KEY, 5, 4, 3))
READER = randomised(models.init_classifier(KEY, 5, 4, 1, vocabulary_size=6))
TAGGER = randomised(models.init_tagger(KEY, 5, 4, 3))
SPELLER = randomised(models.init_language_model(KEY, 6, 4))
SQUEEZER = randomised(models.init_autoencoder(KEY, 5, 4))
ASKER = randomised(models.init_autoencoder(KEY, 5, 4, conditional=True))
PAIR = randomised(BidirectionalParams(init_lstm(KEY, 5, 4), init_lstm(KEY, 5, 4)))


def bidirectional(params, xs, lengths):
    forward = lstm(params.forward, xs, lengths=lengths)[1]
    return jnp.concatenate([forward, lstm(params.backward, xs, lengths=lengths, reverse=True)[1]], axis=-1)


MODELS = {
    "classifier": Model(
        lambda params, xs, lengths: models.classify(params, xs, lengths=lengths),
        CLASSIFIER, XS | LENGTHS, ("logits",),
        graph_of(lambda onnx, _, graph, params, xs, lengths: onnx.classify(graph, params, xs, lengths=lengths)),
    ),
    "reader": Model(
        lambda params, ids: models.classify(params, ids),
        READER, IDS, ("logits",),
        graph_of(lambda onnx, _, graph, params, ids: onnx.classify(graph, params, ids)),
    ),
    "tagger": Model(
        lambda params, xs, lengths: models.tag(params, xs, lengths=lengths, activation=jax.nn.relu),
        TAGGER, XS | LENGTHS, ("logits",),
        graph_of(
            lambda onnx, _, graph, params, xs, lengths: onnx.tag(
                graph, params, xs, lengths=lengths, activation=jax.nn.relu
            )
        ),
    ),
    "language model": Model(
        lambda params, ids: models.log_probabilities(params, ids, 2),
        SPELLER, IDS, ("log_p",),
        graph_of(lambda onnx, _, graph, params, ids: onnx.log_probabilities(graph, params, ids, 2)),
    ),
    "autoencoder": Model(
        lambda params, xs: models.reconstruct(params, xs, activation=jax.nn.soft_sign),
        SQUEEZER, XS, ("rebuilt",),
        graph_of(
            lambda onnx, _, graph, params, xs: onnx.decode(
                graph, params.decoder, onnx.encode(graph, params.encoder, xs, activation=jax.nn.soft_sign), xs,
                activation=jax.nn.soft_sign,
            )
        ),
    ),
    "conditional autoencoder": Model(
        models.reconstruct,
        ASKER, XS, ("rebuilt",),
        graph_of(
            lambda onnx, _, graph, params, xs: onnx.decode(
                graph, params.decoder, onnx.encode(graph, params.encoder, xs), xs
            )
        ),
    ),
    "two directions": Model(
        bidirectional,
        PAIR, XS | LENGTHS, ("ys",),
        graph_of(
            lambda _, layers, graph, params, xs, lengths: layers.time_major(
                graph, layers.stack(graph, (params,), layers.time_major(graph, xs), lengths)
            )
        ),
    ),
    "state of a reversed layer": Model(
        lambda params, xs, lengths: lstm(params, xs, lengths=lengths, reverse=True),
        PAIR.backward, XS | LENGTHS, ("h", "c", "ys"),
        graph_of(
            lambda _, layers, graph, params, xs, lengths: batch_first(
                layers, graph, *layers.lstm(graph, params, layers.time_major(graph, xs), lengths, reverse=True)
            )
        ),
    ),
}  # fmt: skip


def batch_first(layers, graph, h, c, ys):
    zero = graph.constant([0], np.int64)
    return graph.add("Squeeze", h, zero), graph.add("Squeeze", c, zero), layers.time_major(graph, ys)


# StableHLO


@pytest.fixture
def stablehlo():
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed: jax.export cannot write files")
    from jaxlstm.deploy import stablehlo

    return stablehlo


@pytest.mark.parametrize("name", MODELS)
def test_one_stablehlo_file_serves_every_size(stablehlo, tmp_path, name):
    model = MODELS[name]
    stablehlo.save(str(tmp_path / "model.stablehlo"), model)
    exported = jax.export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    assert exported.platforms == stablehlo.PLATFORMS
    # Every operation is one that JAX promises to read later, in a form that it can read now.
    assert not exported.disabled_safety_checks
    oldest, newest = (
        jax.export.minimum_supported_calling_convention_version,
        jax.export.maximum_supported_calling_convention_version,
    )
    assert oldest <= exported.calling_convention_version <= newest
    for batch, time in SIZES:
        inputs = inputs_of(model, batch, time)
        outputs, expected = jax.tree.leaves(exported.call(*inputs)), jax.tree.leaves(model.apply(model.params, *inputs))
        assert len(outputs) == len(expected) == len(model.outputs)
        for got, want in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_a_composite_has_sizes_that_vary(stablehlo, conditional, reverse):
    params = randomised(models.init_composite(KEY, 5, 4, conditional=conditional))
    model = Model(
        lambda params, xs, lengths: models.reconstruct_and_predict(params, xs, lengths=lengths, reverse=reverse),
        params, XS | LENGTHS, ("rebuilt", "predicted"),
    )  # fmt: skip
    exported = stablehlo.exported(model)
    for batch, time in SIZES:
        inputs = inputs_of(model, batch, time)
        for got, want in zip(exported.call(*inputs), model.apply(params, *inputs), strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_segments_have_sizes_that_vary(stablehlo, reverse):
    params = randomised(cells.GRU.init(KEY, 5, 4))
    model = Model(
        lambda params, xs: scan_cell(cells.GRU, params, xs, checkpoint_every=3, reverse=reverse)[1],
        params, XS, ("ys",),
    )  # fmt: skip
    exported = stablehlo.exported(model)
    for batch, time in SIZES:
        inputs = inputs_of(model, batch, time)
        np.testing.assert_allclose(exported.call(*inputs), model.apply(params, *inputs), rtol=0, atol=1e-6)


def test_stablehlo_runs_without_the_library(stablehlo, tmp_path):
    model = MODELS["state of a reversed layer"]
    inputs = inputs_of(model, 3, 7)
    stablehlo.save(tmp_path / "model.stablehlo", model)
    np.savez(tmp_path / "inputs.npz", *inputs)
    code = f"""
import sys
sys.modules["jaxlstm"] = None  # importing it fails
import jax, numpy as np
from pathlib import Path
folder = Path({str(tmp_path)!r})
exported = jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
np.savez(folder / "outputs.npz", *exported.call(*np.load(folder / "inputs.npz").values()))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with np.load(tmp_path / "outputs.npz") as outputs:
        for got, want in zip(outputs.values(), jax.tree.leaves(model.apply(model.params, *inputs)), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_outputs_without_a_name_are_refused(stablehlo):
    with pytest.raises(ValueError, match=r"^model\.outputs: expected 3 names, got ys"):
        stablehlo.exported(MODELS["state of a reversed layer"]._replace(outputs=("ys",)))


# ONNX


@pytest.fixture
def onnx():
    pytest.importorskip("onnx", reason="ONNX is not installed")
    from jaxlstm.deploy import onnx

    return onnx


def runner_of(onnx, model):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(onnx.onnx_model(model).SerializeToString())
    return lambda inputs: session.run(None, dict(zip(model.inputs, inputs, strict=True)))


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_computes_the_same(onnx, name):
    model = MODELS[name]
    run = runner_of(onnx, model)
    for batch, time in SIZES:
        inputs = inputs_of(model, batch, time)
        expected = jax.tree.leaves(model.apply(model.params, *inputs))
        for got, want in zip(run(inputs), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_a_stack_of_both_kinds_of_layers(onnx):
    layers = randomised((init_lstm(KEY, 5, 4), BidirectionalParams(init_lstm(KEY, 4, 3), init_lstm(KEY, 4, 3))))

    def apply(params, xs, lengths):
        return bidirectional(params[1], lstm(params[0], xs, lengths=lengths)[1], lengths)

    def graph(graph, layers, xs, lengths):
        from jaxlstm.deploy.graph import stack, time_major

        return time_major(graph, stack(graph, layers, time_major(graph, xs), lengths))

    model = Model(apply, layers, XS | LENGTHS, ("ys",), graph)
    inputs = inputs_of(model, 3, 7)
    np.testing.assert_allclose(runner_of(onnx, model)(inputs)[0], apply(layers, *inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask", [LEFT_PADDED, HOLES, np.zeros((3, 7), bool)], ids=["left", "holes", "nothing valid"])
def test_any_mask_becomes_lengths(onnx, mask):
    inputs = {"mask": Input(("batch", "time"), np.bool_)} | IDS

    def apply(params, mask, ids):
        return models.classify(params, ids, mask=mask)

    def graph(graph, params, mask, ids):
        return onnx.classify(graph, params, ids, mask=mask)

    model = Model(apply, READER, inputs, ("logits",), graph)
    ids = np.random.default_rng(0).integers(0, 6, (3, 7)).astype(np.int32)
    (logits,) = runner_of(onnx, model)([mask, ids])
    np.testing.assert_allclose(logits, apply(READER, mask, ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mask", [LEFT_PADDED, HOLES, np.zeros((3, 7), bool)], ids=["left", "holes", "nothing valid"])
def test_a_pooled_classifier_under_any_mask(onnx, mask):
    params = randomised(models.init_pooled_classifier(KEY, 6, 5, 4, 3))
    inputs = IDS | {"mask": Input(("batch", "time"), np.bool_)}

    def graph(graph, params, ids, mask):
        return onnx.classify_pooled(graph, params, ids, mask)

    model = Model(models.classify_pooled, params, inputs, ("logits",), graph)
    arrays = [np.random.default_rng(0).integers(0, 6, (3, 7)).astype(np.int32), np.array(mask)]
    (logits,) = runner_of(onnx, model)(arrays)
    np.testing.assert_allclose(logits, models.classify_pooled(params, *arrays), rtol=0, atol=1e-5)

    params = randomised(models.init_pooled_classifier(KEY, (6, 9), (5, 2), 4, 3))
    ids = np.random.default_rng(1).integers(0, [6, 9], (3, 7, 2)).astype(np.int32)
    model = model._replace(params=params, inputs=inputs | {"ids": Input(("batch", "time", 2), np.int32)})
    (logits,) = runner_of(onnx, model)([ids, np.array(mask)])
    np.testing.assert_allclose(logits, models.classify_pooled(params, ids, np.array(mask)), rtol=0, atol=1e-5)


def test_what_onnx_has_no_operator_for_is_named(onnx):
    from jaxlstm.deploy.graph import Graph, lstm

    params = init_lstm(KEY, 5, 4)
    projected = ProjectedLSTMParams(*params, jnp.zeros((4, 4)))
    for arguments, message in (
        ({"activation": jnp.sin}, "activation: expected one of Tanh, Relu, Sigmoid, Softsign, got"),
        ({"layer": projected}, "layer: expected LSTMParams, got ProjectedLSTMParams"),
        ({"layer": PAIR, "reverse": True}, "reverse: expected False for a layer of two directions, got True"),
        ({"layer": draw(dtype=jnp.bfloat16).params}, "w_x: expected float32, got bfloat16"),
    ):
        with pytest.raises(ValueError, match="^" + message):
            lstm(Graph(), **{"layer": params, "xs": "xs"} | arguments)
    with pytest.raises(ValueError, match=r"^mask: expected lengths where the inputs are vectors, got a mask"):
        onnx.classify(Graph(), CLASSIFIER, "xs", mask="mask")
    with pytest.raises(ValueError, match=r"^lengths and mask: expected at most one of them, got both"):
        onnx.classify(Graph(), CLASSIFIER, "xs", mask="mask", lengths="lengths")
    with pytest.raises(ValueError, match=r"^model\.graph: expected a function that builds the nodes, got None"):
        onnx.onnx_model(MODELS["reader"]._replace(graph=None))
    with pytest.raises(ValueError, match=r"^model\.outputs: expected 1 names, got a, b"):
        onnx.onnx_model(MODELS["reader"]._replace(outputs=("a", "b")))
