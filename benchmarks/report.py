"""What a run shows in the terminal."""

import statistics

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.compare import Change
from benchmarks.programs import PASSES
from benchmarks.results import Results
from benchmarks.rivals import JAX_PEERS
from benchmarks.shapes import MIDDLE, Shape

BUSY = 0.5  # of the cores, by others

console = Console(highlight=False)


def say(line: str) -> None:
    """One line, never wrapped."""
    console.print(line, soft_wrap=True, markup=False)


def show_machine(results: Results) -> None:
    """What the figures hold for."""
    machine, versions = results["machine"], results["versions"]
    threads = ", ".join(f"{name} {count}" for name, count in machine["threads"].items())
    say(f"{machine['processor']}, {machine['cores']} cores, device {machine['device']}; threads: {threads}")
    say(", ".join(f"{name} {version}" for name, version in versions.items()) + f"; {machine['date']}")
    load, cores = machine["load"], machine["cores"]
    if load and load > BUSY * cores:
        say(f"warning: the machine is busy (load {load} on {cores} cores), its figures mean little")


def show_shape(results: Results, name: str) -> None:
    """A line for each library: time and ratio of each pass, compile time and temporary memory of training."""
    table = new_table("library")
    for which in PASSES:
        add_columns(table, which, "ratio", "quartiles")
    add_columns(table, "compile", "MB")
    rows = {(row["rival"], row["pass"]): row for row in results["rows"] if row["shape"] == name}
    programs = {(entry["library"], entry["pass"]): entry for entry in results["programs"] if entry["shape"] == name}
    for library in dict.fromkeys(library for library, _ in programs):
        cells = [library]
        for which in PASSES:
            entry, row = programs.get((library, which)), rows.get((library, which))
            cells.append(digits(entry["milliseconds"]) if entry else "")
            cells += [times(row["ratio"]), f"{times(row['ratio_low'])}-{times(row['ratio_high'])}"] if row else ["", ""]
        last = programs.get((library, "train"), {})
        cells.append(digits(last["first_call_milliseconds"]) if last else "")
        cells.append(digits(last["temporary_bytes"] / 1e6) if last and last["temporary_bytes"] is not None else "")
        table.add_row(*cells)
    sizes = next(entry for entry in results["programs"] if entry["shape"] == name)
    say(f"\n{name}: {Shape(*(sizes[field] for field in Shape._fields))} (ms; MB)")
    console.print(table)


def show_sweeps(results: Results, names: tuple[str, ...]) -> None:
    """Milliseconds of the training pass, a line for each shape of the sweeps."""
    entries = [entry for entry in results["programs"] if entry["shape"] in names]
    libraries = list(dict.fromkeys(entry["library"] for entry in entries))
    table = new_table("train, ms")
    add_columns(table, *libraries)
    for name in dict.fromkeys(entry["shape"] for entry in entries):
        found = {entry["library"]: entry["milliseconds"] for entry in entries if entry["shape"] == name}
        table.add_row(name, *(digits(found[library]) if library in found else "" for library in libraries))
    say(f"\nAround {MIDDLE}")
    console.print(table)


def new_table(first: str) -> Table:
    """A table without frames, its first column never cut."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def digits(value: float) -> str:
    """Three digits, and never an exponent: 0.0731, 1.23, 281, 4010."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".removesuffix(".")


def times(ratio: float) -> str:
    """Two decimals, or three digits: 0.93, 1.48, 33.1."""
    return f"{ratio:.2f}" if ratio < 10 else digits(ratio)


def add_columns(table: Table, *titles: str) -> None:
    """Columns of numbers."""
    for title in titles:
        table.add_column(title, justify="right")


def show_summary(results: Results, names: tuple[str, ...]) -> None:
    """The geometric mean and the smallest ratio over the named shapes, for each rival and pass."""
    table = new_table("rival")
    for which in PASSES:
        add_columns(table, f"{which}, mean", "least", "at")
    rivals: dict[str, tuple[str, ...]] = {
        rival: (rival,) for rival in dict.fromkeys(row["rival"] for row in results["rows"])
    }
    if sum(rival in JAX_PEERS for rival in rivals) > 1:
        rivals["best JAX peer"] = JAX_PEERS
    for title, group in rivals.items():
        cells = [title]
        for which in PASSES:
            ratios = least_ratios(results, group, which, names)
            least = min(ratios, key=ratios.__getitem__, default="")
            mean = f"{statistics.geometric_mean(ratios.values()):.2f}" if ratios else ""
            cells += [mean, f"{ratios[least]:.2f}" if ratios else "", least]
        table.add_row(*cells)
    say(f"\nRatio, above 1 where jaxlstm is faster; geometric mean over {', '.join(names)}")
    console.print(table)


def least_ratios(results: Results, rivals: tuple[str, ...], which: str, names: tuple[str, ...]) -> dict[str, float]:
    """By shape, the ratio to the fastest of the rivals."""
    found: dict[str, float] = {}
    for row in results["rows"]:
        if row["rival"] in rivals and row["pass"] == which and row["shape"] in names:
            found[row["shape"]] = min(row["ratio"], found.get(row["shape"], row["ratio"]))
    return found


def show_changes(changes: list[Change]) -> None:
    """What got slower by more than its own spread."""
    slower = [change for change in changes if change.slower]
    for change in slower:
        say(f"slower: {change}")
    faster = sum(change.faster for change in changes)
    say(f"{len(changes)} rows compared: {len(slower)} slower and {faster} faster by more than their spread")
