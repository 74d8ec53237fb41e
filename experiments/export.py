"""The models of a finished run, written for other runtimes."""

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.systems import open_finished
from jaxlstm.errors import UserError
from jaxlstm.reporting import console

NEEDS = {"onnx": "onnx", "stablehlo": "flatbuffers"}


def main(
    run: Annotated[Path, tyro.conf.Positional],
    format: Literal["onnx", "stablehlo"] = "stablehlo",
) -> None:
    """Export: the models of a finished run as files for other runtimes, in RUN/export.

    Args:
        run: Its folder.
        format: ONNX for any runtime, or StableHLO for JAX without this library.
    """
    system, finished = open_finished(run)
    if importlib.util.find_spec(NEEDS[format]) is None:
        raise UserError(f"--format {format}: the package {NEEDS[format]} is not installed; the extra export brings it")
    writer = importlib.import_module(f"jaxlstm.deploy.{format}")
    models = system.deployed(finished)
    (run / "export").mkdir(exist_ok=True)
    for name, model in models.items():
        path = run / "export" / f"{name}.{format}"
        writer.save(path, model)
        inputs = ", ".join(f"{name} [{', '.join(map(str, input.shape))}]" for name, input in model.inputs.items())
        line = f"{path}: {inputs} -> {', '.join(model.outputs)}; {path.stat().st_size:,} bytes"
        console.print(line, markup=False, soft_wrap=True)
