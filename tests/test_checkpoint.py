"""Saved arrays: what comes back is what was saved, and damage never goes unnoticed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import assert_equal
from damage import damage

from jaxlstm import checkpoint, init_lstm, weights
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.errors import CheckpointError


def arrays(value=0.0):
    return {"lstm": init_lstm(jax.random.key(0), 3, 4), "value": jnp.asarray(value), "steps": jnp.arange(5)}


@pytest.mark.parametrize("folder", ["a", "with [brackets] and \N{SNOWMAN}"])
def test_what_is_saved_comes_back(tmp_path, folder):
    path = tmp_path / folder / "state.safetensors"
    path.parent.mkdir()
    checkpoint.save(path, arrays(0.1), {"rows": [{"loss": 1 / 3}]})
    loaded, record = checkpoint.load(path, jax.eval_shape(arrays))
    assert_equal(loaded, arrays(0.1))
    assert record == {"rows": [{"loss": 1 / 3}]}


def test_arrays_without_entries_and_a_path_as_text(tmp_path):
    path = str(tmp_path / "a")
    saved = {"nothing": jnp.zeros((2, 0, 3), jnp.bfloat16), "scalar": jnp.asarray(1.5), "none": jnp.zeros(0, jnp.int32)}
    checkpoint.save(path, saved)
    assert_equal(checkpoint.load(path, saved)[0], saved)
    assert_equal(checkpoint.load(path, jax.eval_shape(lambda: saved))[0], saved)
    with pytest.raises(CheckpointError, match=r"expected none to be int32\[1\], it is int32\[0\]"):
        checkpoint.load(path, saved | {"none": jnp.zeros(1, jnp.int32)})
    checkpoints = Checkpoints(str(tmp_path / "run"))
    checkpoints.save(1, saved, {})
    assert checkpoints.epochs() == [1]


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_random_keys_come_back(tmp_path, impl):
    saved = {"key": jax.random.key(3, impl=impl), "keys": jax.random.split(jax.random.key(4, impl=impl), 2), "n": 1.5}
    checkpoint.save(tmp_path / "a", saved)
    loaded, _ = checkpoint.load(tmp_path / "a", saved)
    assert loaded["key"].dtype == saved["key"].dtype
    for name in ("key", "keys"):
        np.testing.assert_array_equal(jax.random.key_data(loaded[name]), jax.random.key_data(saved[name]))
    assert loaded["n"] == 1.5


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^arrays: expected at least one, got \{'none': None\}$"):
        checkpoint.save(tmp_path / "a", {"none": None})
    with pytest.raises(ValueError, match=r"^w: expected one of float64, .*, got complex64$"):
        checkpoint.save(tmp_path / "a", {"w": jnp.zeros(2, jnp.complex64)})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "a", arrays(), {"no JSON": object()})
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces(tmp_path):
    checkpoint.save(tmp_path / "a", arrays(1.0))
    checkpoint.save(tmp_path / "a", arrays(2.0))
    assert checkpoint.load(tmp_path / "a", arrays())[0]["value"] == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_process_that_ends_while_it_writes_leaves_the_older_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "a", arrays(1.0))

    def interrupted(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "a", arrays(2.0))
    assert checkpoint.load(tmp_path / "a", arrays())[0]["value"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_damage_is_named(tmp_path):
    path = tmp_path / "a"
    checkpoint.save(path, arrays())
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged|that jaxlstm wrote|format version"):
            checkpoint.load(path, arrays())
    for damaged in (content[:-1], content + b"x", b""):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(path, arrays())


def test_other_shapes_are_named(tmp_path):
    checkpoint.save(tmp_path / "a", {"w": jnp.zeros((2, 3))})
    with pytest.raises(CheckpointError, match=r"expected w to be float32\[2, 4\], it is float32\[2, 3\]"):
        checkpoint.load(tmp_path / "a", {"w": jnp.zeros((2, 4))})
    with pytest.raises(CheckpointError, match=r"expected w to be absent"):
        checkpoint.load(tmp_path / "a", {})


def test_no_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing: expected a safetensors file, there is none that can be read"):
        checkpoint.load(tmp_path / "nothing", arrays())


def test_the_newest_few_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    assert checkpoints.epochs() == []
    assert checkpoints.load_latest(arrays()) is None
    for epoch in (1, 2, 10):
        checkpoints.save(epoch, arrays(float(epoch)), {"rows": epoch})
    assert checkpoints.epochs() == [2, 10]
    epoch, loaded, record = checkpoints.load_latest(arrays())
    assert (epoch, record) == (10, {"rows": 10})
    assert_equal(loaded, arrays(10.0))


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(epoch, arrays(float(epoch)), {})
    damage(checkpoints.path(2))
    with pytest.warns(UserWarning, match=r"2\.safetensors: damaged, .*; trying the checkpoint before it"):
        epoch, loaded, _ = checkpoints.load_latest(arrays())
    assert epoch == 1
    assert loaded["value"] == 1.0


def test_a_checkpoint_that_was_being_written_is_passed_over(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, arrays(1.0), {})
    (tmp_path / "2.safetensors.77.partial").write_bytes(b"half of it")
    (tmp_path / "\N{SUPERSCRIPT TWO}.safetensors").write_bytes(b"")  # a digit that is no number
    assert checkpoints.epochs() == [1]
    checkpoints.save(2, arrays(2.0), {})
    assert checkpoints.epochs() == [1, 2]
    assert not list(tmp_path.glob("*.partial"))


def test_a_checkpoint_that_does_not_fit_is_no_damaged_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(epoch, {"w": jnp.zeros(2)}, {})
    message = (
        r"2\.safetensors: expected w to be float32\[3\], it is float32\[2\]; this checkpoint is of another training"
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load_latest({"w": jnp.zeros(3)})


def test_a_checkpoint_of_a_newer_format_is_not_passed_over(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, arrays(), {})
    monkeypatch.setattr(weights, "FORMAT_VERSION", 2)
    checkpoints.save(2, arrays(), {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"2\.safetensors: its format version is 2, this jaxlstm reads up to 1"):
        checkpoints.load_latest(arrays())


def test_the_one_just_saved_stays_beside_damaged_ones_of_later_epochs(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for epoch in (4, 5):
        checkpoints.save(epoch, arrays(), {})
        damage(checkpoints.path(epoch))
    for epoch, kept in ((1, [1, 5]), (2, [1, 2]), (3, [2, 3])):
        checkpoints.save(epoch, arrays(float(epoch)), {})
        assert checkpoints.epochs() == kept


def test_none_to_keep_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep: expected at least 1, got 0"):
        Checkpoints(tmp_path, keep=0)
