"""The benchmark of weights in eight bits: every way of serving a model gives what the model gives."""

import jax
import numpy as np
import pytest

from jaxlstm import models
from jaxlstm.deploy.model import Input, Model
from jaxlstm.errors import UserError
from jaxlstm.runs import Run


def test_the_benchmark_serves_the_same_model_in_five_ways(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("jaxlstm.deploy.onnx", reason="ONNX is not installed")
    from benchmarks.int8 import by_batch, ways_of

    params = models.init_classifier(jax.random.key(0), 16, 32, 2, vocabulary_size=40)

    def apply(params, ids):
        return models.classify(params, ids)

    def graph(graph, params, ids):
        return onnx.classify(graph, params, ids)

    model = Model(apply, params, {"ids": Input(("batch", "time"), np.int32)}, ("logits",), graph)
    ways = ways_of(model, tmp_path)
    ids = np.random.default_rng(0).integers(0, 40, (3, 9)).astype(np.int32)
    exact, *others = (by_batch(way.ask, ids) for way in ways)
    for way, got in zip(ways[1:], others, strict=True):
        off = np.abs(got - exact).max() / np.abs(exact).max()
        assert 1e-3 < off < 0.05 if "int8" in way.name else off < 1e-5, way.name
    sizes = {way.name: way.bytes for way in ways}
    assert sizes["int8, in memory"] == sizes["int8, widened once"] < 0.31 * sizes["float32"]
    assert sizes["onnx int8"] < sizes["onnx float32"]


def test_a_run_of_the_other_system_is_named(tmp_path):
    from benchmarks.int8 import Options, measure
    from experiments import langid

    folder = Run.create(tmp_path, "langid", langid.Config()).folder
    with pytest.raises(UserError, match=r"expected a run of sentiment, this is one of langid$"):
        measure("sentiment", folder, Options(langid=folder, sentiment=folder), tmp_path)
