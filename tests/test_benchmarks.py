"""The benchmarks: every library computes the same, the figures are what they say, and faults are lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("psutil", reason="the benchmarks read the free memory with psutil, from the extra bench")

from benchmarks import __main__ as command
from benchmarks import compare, measure, memory, plots, programs, report, results, rivals, timing
from benchmarks.ours import Setting
from benchmarks.rivals import RIVALS
from benchmarks.shapes import FULL_SWEEPS, MIDDLE, QUICK_SWEEPS, SHAPES, Shape, sweep_shapes
from jaxlstm import lstm

ROOT = Path(__file__).parent.parent
SMALL = Shape(3, 7, 5, 6)
COMPARED = [name for name in RIVALS if name != "floor"]


@pytest.fixture(autouse=True)
def _compilation_cache():
    before = jax.config.jax_enable_compilation_cache
    yield
    jax.config.update("jax_enable_compilation_cache", before)


def prepare_of(name):
    found, missing = rivals.load((name,))
    if missing:
        pytest.skip(missing[0])
    return found[name]


def made_up_row(**changes):
    row = dict.fromkeys(results.ROW, "") | {"shape": "echo", "rival": "torch", "pass": "train", "dtype": "float32"}
    return (
        row
        | {"milliseconds": 2.0, "rival_milliseconds": 3.0, "ratio": 1.5, "ratio_low": 1.4, "ratio_high": 1.6}
        | changes
    )


def made_up_results(rows=(), entries=(), **machine):
    described = {"processor": "A", "cores": 2, "device": "cpu", "devices": 1, "date": "2026-01-02", **machine}
    return {"machine": described, "versions": {}, "rows": list(rows), "programs": list(entries)}


# What is timed


@pytest.mark.parametrize("which", programs.PASSES)
@pytest.mark.parametrize("name", COMPARED)
def test_every_library_computes_the_same(name, which):
    problem = programs.draw_problem(SMALL)
    mine, theirs = (prepare(problem, which) for prepare in (Setting().prepare, prepare_of(name)))
    expected, got = mine.outputs(mine.run()), theirs.outputs(theirs.run())
    leaves = 1 if which == "forward" else 5  # ys; and d w_x, d w_h, d b, d xs
    assert len(jax.tree.leaves(got)) == leaves
    assert programs.relative_difference(got, expected) < 2e-6


def test_our_weight_gradients_are_those_of_jax():
    problem = programs.draw_problem(SMALL)
    program = Setting().prepare(problem, "train")
    _, d_params, d_xs = program.outputs(program.run())

    def loss(params, xs):
        return jnp.vdot(lstm(params, xs)[1], problem.d_ys)

    expected = jax.grad(loss, argnums=(0, 1))(problem.params, problem.xs)
    assert programs.relative_difference((d_params, d_xs), expected) < 2e-6


def test_two_devices_give_what_one_gives():
    code = """
from benchmarks import programs
from benchmarks.ours import Setting
from benchmarks.shapes import Shape
from jaxlstm import parallel

mesh = parallel.make_mesh(2)  # first, before JAX has started
problem = programs.draw_problem(Shape(4, 7, 5, 6))
one, two = (setting.prepare(problem, "train") for setting in (Setting(), Setting(mesh=mesh)))
results = [program.outputs(program.run()) for program in (one, two)]
assert Setting(mesh=mesh).label == "default, 2 devices"
assert len(results[1][0].sharding.device_set) == 2
assert programs.relative_difference(*results) < 2e-6, programs.relative_difference(*results)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_best_peer_is_another_one_at_each_shape():
    rows = [
        made_up_row(shape="echo", rival="keras", ratio=1.2),
        made_up_row(shape="echo", rival="haiku", ratio=1.4),
        made_up_row(shape="medium", rival="keras", ratio=1.5),
        made_up_row(shape="medium", rival="haiku", ratio=1.1),
        made_up_row(shape="medium", rival="torch", ratio=0.5),
    ]
    found = report.least_ratios(made_up_results(rows), rivals.JAX_PEERS, "train", ("echo", "medium"))
    assert found == {"echo": 1.2, "medium": 1.1}


def test_the_bias_takes_part_so_that_no_library_can_lose_it():
    problem = programs.draw_problem(SMALL)
    without = problem._replace(params=problem.params._replace(b=jnp.zeros_like(problem.params.b)))
    a, b = (program.outputs(program.run()) for program in (Setting().prepare(p, "forward") for p in (problem, without)))
    assert programs.relative_difference(a, b) > 0.01


def test_relative_difference_sees_shapes_and_nan():
    one = np.ones(3)
    assert programs.relative_difference([one, 2 * one], [one, 2 * one]) == 0
    assert programs.relative_difference([one, 2 * one], [one, 2.5 * one]) == pytest.approx(0.2)
    assert programs.relative_difference(one, np.ones((3, 1))) == np.inf
    assert programs.relative_difference(one * np.nan, one) == np.inf


@pytest.mark.parametrize("which", programs.PASSES)
def test_the_floor_does_the_products_of_the_pass_and_no_others(which):
    prepare_of("floor")
    from benchmarks.rivals import floor

    counted = 0

    class Counting:
        @staticmethod
        def matmul(a, b, out):
            nonlocal counted
            assert out.shape == (a.shape[0], b.shape[1])
            counted += a.shape[0] * a.shape[1] * b.shape[1]
            np.matmul(a, b, out=out)

    batch, steps, inputs, hidden = SMALL
    arrays = (np.ones(shape) for shape in ((batch, steps, inputs), (inputs, 4 * hidden), (hidden, 4 * hidden)))
    floor.products(Counting, lambda *shape: np.zeros(shape), *arrays, train=which == "train")()
    forward = batch * steps * 4 * hidden * (inputs + hidden)
    assert counted == (forward if which == "forward" else 3 * forward)


@pytest.mark.parametrize("which", programs.PASSES)
def test_the_floor_takes_the_fastest_library(which, monkeypatch):
    from benchmarks.rivals import floor

    seconds = {"in_jax": 3.0, "in_numpy": 1.0, "in_torch": 2.0}
    for name in seconds:
        monkeypatch.setattr(floor, name, lambda problem, which, name=name: lambda: name)
    monkeypatch.setattr(floor, "installed", lambda package: True)
    monkeypatch.setattr(floor, "fastest_of_three", lambda run: seconds[run()])
    assert floor.prepare(programs.draw_problem(SMALL), which).run() == "in_numpy"


@pytest.mark.parametrize("build", ["in_jax", "in_numpy", "in_torch"])
def test_the_floor_runs_in_every_library(build):
    from benchmarks.rivals import floor

    if build == "in_torch":
        pytest.importorskip("torch")
    for which in programs.PASSES:
        run = getattr(floor, build)(programs.draw_problem(SMALL), which)
        assert floor.fastest_of_three(run) > 0


def test_sweeps_vary_one_size_around_the_middle():
    for sweeps in (QUICK_SWEEPS, FULL_SWEEPS):
        shapes = sweep_shapes(sweeps)
        assert not set(shapes) & set(SHAPES)
        assert len(set(shapes.values())) == len(shapes)
        for name, shape in shapes.items():
            different = {field for field, a, b in zip(Shape._fields, shape, MIDDLE, strict=True) if a != b}
            axis = {"T": {"steps"}, "B": {"batch"}, "H": {"inputs", "hidden"}, "m": set()}[name[0]]
            assert different == axis


# Timing


def test_turns_are_taken_by_all_in_every_round(monkeypatch):
    clock = 0.0
    called = []

    def program(name, seconds):
        def run():
            nonlocal clock
            called.append(name)
            clock += seconds[0] if len(called) % 2 else seconds[-1]

        return run

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    seconds = timing.in_turns({"a": program("a", [0.25]), "b": program("b", [0.5])}, rounds=4)
    assert seconds["a"].tolist() == [0.25] * 4
    assert seconds["b"].tolist() == [0.5] * 4
    turns = called[4:]  # after two calls of each to see how long they take
    assert all(sorted(turns[2 * n : 2 * n + 2]) == ["a", "b"] for n in range(4))


def test_a_short_program_warms_up_and_its_calls_are_averaged(monkeypatch):
    clock, calls = 0.0, 0

    def run():
        nonlocal clock, calls
        calls += 1
        clock += 0.004  # three of them fill TURN_SECONDS

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    seconds = timing.in_turns({"a": run}, rounds=2)
    assert calls == 2 + 2 * (3 + 3)
    np.testing.assert_allclose(seconds["a"], 0.004, rtol=1e-12)


def test_most_seconds_ends_after_a_whole_round(monkeypatch):
    clock = 0.0

    def run():
        nonlocal clock
        clock += 1.0

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    assert len(timing.in_turns({"a": run}, rounds=100, most_seconds=7.5)["a"]) == 8
    assert len(timing.in_turns({"a": run}, rounds=100, most_seconds=0)["a"]) == timing.LEAST_ROUNDS


def test_spread_is_the_quartiles():
    assert timing.spread(np.array([5.0, 1.0, 2.0, 4.0, 3.0])) == timing.Spread(3.0, 2.0, 4.0)


# Results


def stand_in(scale=1.0, gradient_scale=1.0):
    """A rival that is jaxlstm, but for a factor."""

    def prepare(problem, which):
        program = Setting().prepare(problem, which)

        def outputs(result):
            ys, *gradients = jax.tree.leaves(program.outputs(result))
            return jax.tree.unflatten(
                jax.tree.structure(program.outputs(result)),
                [scale * ys, *(gradient_scale * gradient for gradient in gradients)],
            )

        return program._replace(outputs=outputs)

    return prepare


def measured(rival, which, lines):
    found = made_up_results()
    unequal = measure.measure(
        found,
        "small",
        SMALL,
        which,
        {"stand-in": rival},
        rounds=3,
        most_seconds=60,
        setting=Setting(),
        say=lines.append,
    )
    return found, unequal


def test_rows_have_the_form_of_the_issue(monkeypatch):
    turns = {"jaxlstm": np.array([1.0, 2.0, 4.0]), "stand-in": np.array([3.0, 4.0, 4.0])}
    monkeypatch.setattr(measure, "in_turns", lambda runs, rounds, most_seconds: turns)
    lines = []
    found, unequal = measured(stand_in(), "train", lines)
    assert (unequal, lines) == ([], [])
    (row,) = found["rows"]
    assert tuple(row) == results.ROW
    assert row["temporary_bytes"] > 0
    expected = {
        "shape": "small",
        "rival": "stand-in",
        "pass": "train",
        "implementation": "default",
        "dtype": "float32",
        "milliseconds": 2000.0,
        "rival_milliseconds": 4000.0,
        "ratio": 2.0,  # of 3, 2 and 1, the ratios of the rounds
        "ratio_low": 1.5,
        "ratio_high": 2.5,
        "temporary_bytes": row["temporary_bytes"],
    }
    assert row == expected
    assert [entry["library"] for entry in found["programs"]] == ["jaxlstm", "stand-in"]
    assert all(entry["first_call_milliseconds"] > 0 for entry in found["programs"])
    assert found["programs"][0]["temporary_bytes"] == row["temporary_bytes"]
    assert [found["programs"][0][field] for field in Shape._fields] == list(SMALL)


@pytest.mark.parametrize(("rival", "which"), [(stand_in(1.0001), "forward"), (stand_in(1, 1.0001), "train")])
def test_a_rival_that_computes_something_else_is_not_timed(rival, which):
    lines = []
    found, unequal = measured(rival, which, lines)
    assert unequal == ["stand-in"]
    assert found["rows"] == []
    assert [entry["library"] for entry in found["programs"]] == ["jaxlstm"]
    assert len(lines) == 1
    assert f"small, {which}: stand-in left out, its outputs differ from those of jaxlstm by 0.0001" in lines[0]


def test_a_failed_allocation_is_named():
    def prepare(problem, which):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    lines = []
    found, unequal = measured(prepare, "forward", lines)
    assert (found["rows"], unequal) == ([], [])
    assert lines == ["small, forward: stand-in left out, an allocation failed"]


def test_another_error_of_a_rival_is_not_hidden():
    def prepare(problem, which):
        raise RuntimeError("a fault of its own")

    with pytest.raises(RuntimeError, match="a fault of its own"):
        measured(prepare, "forward", [])


def test_a_program_too_large_for_the_memory_does_not_run(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 100)
    with pytest.raises(memory.DoesNotFitError, match=r"it needs about .* GiB, 9\.31e-08 GiB are free"):
        Setting().prepare(programs.draw_problem(SMALL), "train")


def test_what_training_holds_is_at_least_what_jaxlstm_needs():
    program = Setting().prepare(programs.draw_problem(SHAPES["echo"]), "train")
    assert program.temporary_bytes < memory.training_bytes(SHAPES["echo"])


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "results.json"
    results.save(made_up_results([made_up_row()]), path)
    assert results.load(path)["rows"] == [made_up_row()]
    with pytest.raises(TypeError):
        results.save({"rows": [object()]}, path)
    assert results.load(path)["rows"] == [made_up_row()]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


# Comparing


@pytest.mark.parametrize(
    ("low", "ratio", "high", "slower", "faster"),
    [
        (1.2, 1.3, 1.39, True, False),
        (1.2, 1.3, 1.41, False, False),  # within the spread
        (1.61, 1.7, 1.8, False, True),
        (1.59, 1.7, 1.8, False, False),
    ],
)
def test_slower_means_by_more_than_the_spread(low, ratio, high, slower, faster):
    old = made_up_results([made_up_row()])
    new = made_up_results([made_up_row(ratio=ratio, ratio_low=low, ratio_high=high)])
    (change,) = compare.changes(old, new)
    assert (change.slower, change.faster) == (slower, faster)


def test_only_the_same_measurements_are_compared(capsys):
    old = made_up_results([made_up_row(), made_up_row(rival="keras"), made_up_row(shape="medium", ratio_low=9)])
    news = [made_up_row(**{"pass": "forward"}), made_up_row(shape="medium"), made_up_row(shape="large")]
    changes = compare.changes(old, made_up_results(news))
    assert [change.new["shape"] for change in changes] == ["medium"]
    command.show_changes(changes)
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "slower: medium, train, against torch: ratio 1.5 (1.4 to 1.6), was 1.5 (9 to 1.6); 2 ms, was 2",
        "1 rows compared: 1 slower and 0 faster by more than their spread",
    ]


def test_another_machine_is_seen():
    here = made_up_results()["machine"]
    assert compare.other_machine({**here, "date": "2020-01-01"}, here) is None
    assert compare.other_machine({**here, "cores": 64}, here) == "cores 64 there, 2 here"


# The pictures


def test_pictures_use_the_sweeps_alone(tmp_path):
    def entry(name, shape, library, milliseconds):
        times = {"milliseconds": milliseconds, "milliseconds_low": milliseconds, "milliseconds_high": milliseconds}
        rest = {"pass": "train", "first_call_milliseconds": 1.0, "temporary_bytes": None}
        return {"shape": name, **shape._asdict(), "library": library, **times, **rest}

    shapes = sweep_shapes({"T": (16, 64, 256), "B": (4,), "H": (32,)})
    entries = [
        entry(name, shape, library, factor * shape.steps)
        for library, factor in (("jaxlstm", 1.0), ("torch", 2.0), ("floor", 0.5))
        for name, shape in {**shapes, "sentiment": SHAPES["sentiment"]}.items()
    ]
    rows = [made_up_row(), made_up_row(rival="floor"), made_up_row(**{"pass": "forward"})]
    found = made_up_results(rows, entries)
    times = plots.points(found, "T", "torch")
    assert {size: point["milliseconds"] for size, point in times.items()} == {16: 32, 64: 128, 256: 512}
    assert list(plots.points(found, "H", "jaxlstm")) == [32, 128]
    drawn = plots.draw(found, tmp_path)
    assert [file.name for file in drawn] == ["ratio.png", "time.png", "compile.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)
    figure = plots.times(found, {name: plots.style(name, n) for n, name in enumerate(("jaxlstm", "torch", "floor"))})
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}
    assert lines == {"jaxlstm": [16, 64, 256], "torch": [32, 128, 512], "floor": [8, 32, 128]}
    assert plots.draw(made_up_results(), tmp_path) == []


# The command


def options(tmp_path, *shapes, **changes):
    defaults = {"shapes": shapes or ("cumsum",), "rivals": ("flax-linen",), "rounds": 2, "out": tmp_path}
    return command.Options(**(defaults | changes))


def rows_of(tmp_path):
    return [(row["shape"], row["pass"]) for row in results.load(tmp_path / "results.json")["rows"]]


def test_a_peer_that_is_not_installed_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")
    monkeypatch.setattr(rivals, "installed", lambda package: package != "dm-haiku")
    assert command.run(options(tmp_path, rivals=("haiku", "flax-linen"))) == 0
    assert "haiku: left out, the package dm-haiku is not installed" in capsys.readouterr().out.splitlines()
    assert {row["rival"] for row in results.load(tmp_path / "results.json")["rows"]} == {"flax-linen"}


def test_a_shape_that_does_not_fit_is_skipped_with_a_line(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")
    monkeypatch.setattr(memory, "free_bytes", lambda: 2**24)
    assert command.run(options(tmp_path, "large", "cumsum")) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert lines == ["large, forward: skipped, it needs about 0.438 GiB, 0.0156 GiB are free"]
    assert rows_of(tmp_path) == [("cumsum", "forward"), ("cumsum", "train")]


def test_an_interrupted_run_keeps_its_rows(tmp_path, monkeypatch, capsys):
    prepare_of("flax-linen")

    def interrupted_in_training(found, name, shape, which, *arguments, **keywords):
        if which == "train":
            raise KeyboardInterrupt
        return measure.measure(found, name, shape, which, *arguments, **keywords)

    monkeypatch.setattr(command, "measure", interrupted_in_training)
    assert command.run(options(tmp_path)) == 130
    assert "interrupted: the 1 rows measured so far are kept" in capsys.readouterr().out
    assert rows_of(tmp_path) == [("cumsum", "forward")]


def test_rivals_that_differ_end_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load", lambda names: ({"flax-linen": stand_in(2.0)}, []))
    assert command.run(options(tmp_path)) == 1


def test_results_of_another_machine_are_refused(tmp_path, capsys):
    prepare_of("flax-linen")
    old = tmp_path / "old.json"
    results.save(made_up_results([made_up_row()]), old)
    with pytest.raises(
        command.BadOptionError, match=r"--compare: .*old.json is from another machine: processor A there"
    ):
        command.run(options(tmp_path, compare=old))
    assert not (tmp_path / "results.json").exists()
    assert command.run(options(tmp_path, compare=old, force=True)) == 0
    shown = capsys.readouterr().out
    assert f"warning: {old} is from another machine" in shown
    assert "0 rows compared" in shown


def call(*arguments, module="benchmarks"):
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_the_quick_command(tmp_path):
    prepare_of("flax-linen")
    arguments = ("--shapes", "cumsum", "--rivals", "flax-linen", "--rounds", 2, "--out", tmp_path / "out")
    code, shown, errors = call(*arguments)
    assert code == 0, errors
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"processor", "cores", "device", "threads", "date"} <= set(found["machine"])
    assert {"python", "jax", "jaxlib", "jaxlstm", "flax"} <= set(found["versions"])
    assert [(row["shape"], row["rival"], row["pass"]) for row in found["rows"]] == [
        ("cumsum", "flax-linen", "forward"),
        ("cumsum", "flax-linen", "train"),
    ]
    for row in found["rows"]:
        assert set(row) == set(results.ROW)
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["temporary_bytes"] > 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"results.json", "ratio.png"}
    assert "cumsum: batch 32, steps 10, inputs 1, hidden 20" in shown
    assert "…" not in shown  # nothing is cut at 80 columns

    again = (*arguments[:-1], tmp_path / "again", "--compare", tmp_path / "out" / "results.json")
    code, shown, errors = call(*again)
    assert code == 0, errors
    assert "2 rows compared" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--shapes", "huge"), f"--shapes: expected some of {', '.join(SHAPES)}, got huge"),
        (("--rivals", "mxnet"), "--rivals: expected some of flax-linen, flax-nnx, haiku, equinox, keras, torch, floor"),
        (("--rounds", "0"), "--rounds: expected at least 1, got 0"),
        (("--compare", "absent.json"), "absent.json: expected a result file of these benchmarks: No such file"),
        (("--compare", "pyproject.toml"), "pyproject.toml: expected a result file of these benchmarks, it is not JSON"),
    ],
)
def test_bad_options_are_one_line(arguments, line, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    assert command.main() == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("text", ["[]", '{"machine": {}}', '{"machine": {}, "rows": [{"ratio": 1}]}'])
def test_a_file_that_holds_no_results_is_named(text, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(results.ResultsError, match=r"old\.json: expected a result file of these benchmarks"):
        results.load(path)


# End to end


@pytest.mark.parametrize("name", ["sentiment", "cumsum"])
def test_both_libraries_make_the_same_updates(name):
    prepare_of("keras")
    from benchmarks import keras_training

    assert keras_training.check_equal(name) < 1e-4


def test_the_end_to_end_command(tmp_path):
    prepare_of("keras")
    sizes = ("--rounds", 1, "--reviews", 40, "--updates", 3)
    code, _, errors = call(*sizes, "--out", tmp_path, module="benchmarks.end_to_end")
    assert code == 0, errors
    rows = json.loads((tmp_path / "end_to_end.json").read_text())["rows"]
    assert [(row["task"], row["samples"]) for row in rows] == [("sentiment", 40), ("cumsum", 3)]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["rival_seconds"] / row["seconds"], rel=1e-3)


def test_end_to_end_needs_keras(tmp_path, monkeypatch):
    from benchmarks import end_to_end

    monkeypatch.setattr(end_to_end, "installed", lambda package: False)
    with pytest.raises(end_to_end.OptionError, match="keras: not installed"):
        end_to_end.run(end_to_end.Options(out=tmp_path))


def test_seconds_count_where_every_figure_is_reached():
    from benchmarks import to_target

    assert to_target.reached("echo", {"accuracy": 1.0})
    assert not to_target.reached("echo", {"accuracy": 0.9999})
    assert to_target.reached("cumsum", {"step_accuracy": 0.999, "sequence_accuracy": 0.99})
    assert not to_target.reached("cumsum", {"step_accuracy": 0.9995, "sequence_accuracy": 0.98})
    errors = dict.fromkeys(to_target.TARGETS["autoencoder"], 0.003)
    assert to_target.reached("autoencoder", errors)
    assert not to_target.reached("autoencoder", errors | {"prediction_max_abs_error": 0.0031})


def test_no_gpu_is_a_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--device", "gpu"])
    assert command.main() == 2
    assert capsys.readouterr().err.startswith("--device gpu: JAX finds no GPU, its device is cpu")
