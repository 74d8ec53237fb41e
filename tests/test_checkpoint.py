"""Saved arrays: what comes back is what was saved, and damage never goes unnoticed."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from compare import assert_equal

from jaxlstm import checkpoint, init_lstm
from jaxlstm.checkpoint import Checkpoints
from jaxlstm.errors import CheckpointError


def arrays(value=0.0):
    return {"lstm": init_lstm(jax.random.key(0), 3, 4), "value": jnp.asarray(value), "steps": jnp.arange(5)}


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_comes_back(tmp_path):
    checkpoint.save(tmp_path / "a", arrays(0.1), {"rows": [{"loss": 1 / 3}]})
    like = jax.eval_shape(arrays)
    loaded, record = checkpoint.load(tmp_path / "a", like)
    assert_equal(loaded, arrays(0.1))
    assert record == {"rows": [{"loss": 1 / 3}]}


def test_arrays_without_entries_and_a_folder_as_text(tmp_path):
    saved = {"nothing": jnp.zeros((2, 0, 3), jnp.bfloat16), "scalar": jnp.asarray(1.5), "none": jnp.zeros(0, jnp.int32)}
    checkpoint.save(str(tmp_path / "a"), saved)
    assert_equal(checkpoint.load(str(tmp_path / "a"), saved)[0], saved)
    assert_equal(checkpoint.load(str(tmp_path / "a"), jax.eval_shape(lambda: saved))[0], saved)
    with pytest.raises(CheckpointError, match=r"expected none to be int32\[1\], it is int32\[0\]"):
        checkpoint.load(tmp_path / "a", saved | {"none": jnp.zeros(1, jnp.int32)})
    checkpoints = Checkpoints(str(tmp_path / "run"))
    checkpoints.save(1, saved, {})
    assert checkpoints.epochs() == [1]


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^record: expected no key 'arrays', .* got \['rows', 'arrays'\]$"):
        checkpoint.save(tmp_path / "a", arrays(), {"rows": [], "arrays": 1})
    with pytest.raises(ValueError, match=r"^arrays: expected at least one, got \{'none': None\}$"):
        checkpoint.save(tmp_path / "a", {"none": None})
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces(tmp_path):
    checkpoint.save(tmp_path / "a", arrays(1.0))
    checkpoint.save(tmp_path / "a", arrays(2.0))
    assert checkpoint.load(tmp_path / "a", arrays())[0]["value"] == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_process_killed_while_it_replaces_leaves_the_older_one(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "a", arrays(1.0))
    rename = Path.rename

    def killed(path, target):
        if path.name == "a.partial":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path / "a", arrays(2.0))
    with pytest.raises(CheckpointError, match=r"a: expected .*, there is none; the one before it is .*a\.replaced$"):
        checkpoint.load(tmp_path / "a", arrays())
    assert checkpoint.load(tmp_path / "a.replaced", arrays())[0]["value"] == 1.0
    checkpoint.save(tmp_path / "a", arrays(3.0))
    assert checkpoint.load(tmp_path / "a", arrays())[0]["value"] == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_save_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "a", arrays(), {"no JSON": object()})
    assert list(tmp_path.iterdir()) == []


def test_every_damaged_file_is_named(tmp_path):
    folder = tmp_path / "a"
    checkpoint.save(folder, arrays())
    for name in files_of(folder):
        path = folder / name
        content = path.read_bytes()
        for damaged in (content[:-1] + bytes([content[-1] ^ 1]) if content else b"x", content + b"\n"):
            path.write_bytes(damaged)
            if name.name == "digests.json" and damaged == content + b"\n":
                continue  # white space after JSON says nothing else
            with pytest.raises(CheckpointError, match=r"damaged|unreadable"):
                checkpoint.load(folder, arrays())
        path.unlink()
        with pytest.raises(CheckpointError, match="missing"):
            checkpoint.load(folder, arrays())
        path.write_bytes(content)
    assert_equal(checkpoint.load(folder, arrays())[0], arrays())


def test_a_file_too_many_is_named(tmp_path):
    checkpoint.save(tmp_path / "a", arrays())
    (tmp_path / "a" / "arrays" / "more").write_text("")
    with pytest.raises(CheckpointError, match="arrays/more is not part of it"):
        checkpoint.load(tmp_path / "a", arrays())


def test_other_shapes_are_named(tmp_path):
    checkpoint.save(tmp_path / "a", {"w": jnp.zeros((2, 3))})
    with pytest.raises(CheckpointError, match=r"expected w to be float32\[2, 4\], it is float32\[2, 3\]"):
        checkpoint.load(tmp_path / "a", {"w": jnp.zeros((2, 4))})
    with pytest.raises(CheckpointError, match=r"expected w to be absent"):
        checkpoint.load(tmp_path / "a", {})


def test_no_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing: expected a folder of saved arrays, there is none"):
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
    (checkpoints.path(2) / "record.json").write_text("{")
    with pytest.warns(UserWarning, match=r"2: record\.json is damaged; trying the checkpoint before it"):
        epoch, loaded, _ = checkpoints.load_latest(arrays())
    assert epoch == 1
    assert loaded["value"] == 1.0


def test_a_checkpoint_that_was_being_written_is_passed_over(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, arrays(1.0), {})
    (tmp_path / "2.partial").mkdir()
    assert checkpoints.epochs() == [1]
    checkpoints.save(2, arrays(2.0), {})
    assert checkpoints.epochs() == [1, 2]


def test_a_checkpoint_that_does_not_fit_is_no_damaged_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(epoch, {"w": jnp.zeros(2)}, {})
    message = r"2: expected w to be float32\[3\], it is float32\[2\]; this checkpoint is of another training: use"
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load_latest({"w": jnp.zeros(3)})


def test_the_one_just_saved_stays_beside_damaged_ones_of_later_epochs(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for epoch in (4, 5):
        checkpoints.save(epoch, arrays(), {})
        (checkpoints.path(epoch) / "record.json").write_text("{")
    for epoch, kept in ((1, [1, 5]), (2, [1, 2]), (3, [2, 3])):
        checkpoints.save(epoch, arrays(float(epoch)), {})
        assert checkpoints.epochs() == kept


def test_none_to_keep_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep: expected at least 1, got 0"):
        Checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("content", ["null", "[]", "5"])
def test_digests_that_are_none_are_damage(tmp_path, content):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(epoch, arrays(float(epoch)), {})
    (checkpoints.path(2) / "digests.json").write_text(content)
    (tmp_path / "\N{SUPERSCRIPT TWO}").mkdir()  # a digit that is no number
    with pytest.warns(UserWarning, match=r"2: digests\.json is missing or unreadable; trying the checkpoint before"):
        epoch, loaded, _ = checkpoints.load_latest(arrays())
    assert epoch == 1
    assert_equal(loaded, arrays(1.0))
