"""What a result file says of the machine."""

import pytest

from benchmarks import machine

CPUINFO = """processor\t: 0
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC

processor\t: 1
cpu family\t: 99
model name\t: another
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [(CPUINFO, "AMD EPYC, family 26, model 2"), ("model name : Cortex\n", "Cortex"), ("", "as Python calls it")],
)
def test_the_processor_is_the_first_one_that_linux_lists(tmp_path, monkeypatch, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "processor", lambda: "as Python calls it")
    assert machine.processor() == name
