"""Parameters in safetensors files: what comes back is what was saved, and damage never goes unnoticed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from compare import assert_equal

from jaxlstm import init_lstm, weights
from jaxlstm.errors import CheckpointError


def params(seed=0):
    return {"lstm": init_lstm(jax.random.key(seed), 2, 1), "step": jnp.asarray(7), "flags": jnp.array([True, False])}


@pytest.fixture
def path(tmp_path):
    weights.save(tmp_path / "a.safetensors", params(), {"hidden_size": 1, "name": 'with "quotes"'})
    return tmp_path / "a.safetensors"


def test_what_is_saved_comes_back(path):
    loaded, config = weights.load(path, jax.eval_shape(params))
    assert_equal(loaded, params())
    assert config == {"hidden_size": 1, "name": 'with "quotes"'}
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, jnp.uint32])
def test_dtypes(tmp_path, dtype):
    array = jnp.arange(6).reshape(2, 3).astype(dtype)
    weights.save(tmp_path / "a", (array, array.T, array[:0]))
    assert_equal(weights.load(tmp_path / "a", (array, array.T, array[:0]))[0], (array, array.T, array[:0]))


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.complex64, jnp.int4])
def test_a_dtype_that_could_not_be_read_is_not_written(tmp_path, dtype):
    with pytest.raises(
        ValueError, match=rf"^a\.b: expected one of float64, float32, .*, uint8, got {jnp.dtype(dtype)}$"
    ):
        weights.save(tmp_path / "a", {"a": {"b": jnp.zeros(3, dtype)}})
    assert not list(tmp_path.iterdir())


def test_two_arrays_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^a\.b: expected one array of this name, got two; rename a key"):
        weights.save(tmp_path / "a", {"a.b": jnp.zeros(3), "a": {"b": jnp.ones(2)}})
    assert not list(tmp_path.iterdir())


def test_the_same_arrays_are_the_same_file(tmp_path):
    for number in range(8):
        weights.save(tmp_path / str(number), params(), {"name": "a"})
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1


def test_a_path_may_be_text(path):
    text = str(path.with_name("b"))
    weights.save(text, params(1))
    assert_equal(weights.load(text, params())[0], params(1))


def test_other_programs_can_read_it(path):
    arrays = safetensors.numpy.load_file(path)
    assert arrays.keys() == {"lstm.w_x", "lstm.w_h", "lstm.b", "step", "flags"}
    np.testing.assert_array_equal(arrays["lstm.w_x"], params()["lstm"].w_x)


def test_the_names_alone_are_enough_to_read_it(path):
    arrays, config = weights.read(path)
    assert arrays["lstm.b"].shape == (4,)
    assert config["hidden_size"] == 1


def test_every_byte_counts(path):
    content = path.read_bytes()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(CheckpointError):
            weights.read(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            weights.read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="damaged, its content is not what was written"):
        weights.read(path)
    path.write_bytes(content)
    weights.read(path)


def test_a_newer_format_version_is_refused_by_name(path, monkeypatch):
    monkeypatch.setattr(weights, "FORMAT_VERSION", 2)
    weights.save(path, params())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="its format version is 2, this jaxlstm reads up to 1; a newer one"):
        weights.read(path)


def test_files_of_others_are_refused(tmp_path):
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "a")
    with pytest.raises(CheckpointError, match="damaged, or no safetensors file that jaxlstm wrote"):
        weights.read(tmp_path / "a")
    header = {"format": "pt", "format_version": "1", "sha256": "0"}
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "a", header)
    with pytest.raises(CheckpointError, match="expected a file that jaxlstm wrote, its format is 'pt'"):
        weights.read(tmp_path / "a")
    with pytest.raises(CheckpointError, match="nothing: expected a safetensors file, there is none"):
        weights.read(tmp_path / "nothing")


def test_other_shapes_are_named(path):
    other = params() | {"lstm": init_lstm(jax.random.key(0), 3, 1)}
    with pytest.raises(CheckpointError, match=r"expected lstm\.w_x to be float32\[3, 4\], it is float32\[2, 4\]"):
        weights.load(path, other)
    with pytest.raises(CheckpointError, match="expected flags to be absent, it is bool"):
        weights.load(path, {key: value for key, value in params().items() if key != "flags"})


def test_a_save_that_fails_leaves_the_older_file(path, monkeypatch):
    with pytest.raises(TypeError):
        weights.save(path, params(1), {"no JSON": object()})

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        weights.save(path, params(1))
    monkeypatch.undo()
    assert_equal(weights.load(path, params())[0], params())
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_the_header_is_json_as_safetensors_says(path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"]["format_version"] == "1"
    assert header["lstm.w_h"]["shape"] == [1, 4]


def test_the_name_of_the_header_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^__metadata__: expected another name for an array"):
        weights.save(tmp_path / "a", {"__metadata__": jnp.zeros(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("array", [np.array([2**40]), np.array([1 / 3])])
def test_what_jax_would_narrow_is_refused(tmp_path, array):
    weights.save(tmp_path / "a", {"w": array})
    with pytest.raises(CheckpointError, match=rf"w is {array.dtype}, which JAX holds with jax_enable_x64 alone$"):
        weights.load(tmp_path / "a", {"w": array})
    np.testing.assert_array_equal(weights.read(tmp_path / "a")[0]["w"], array)
