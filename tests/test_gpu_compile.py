"""Launches counted in the text of a compiled program; and compiling for a GPU where its plugin is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_compile
from benchmarks.gpu_hlo import read
from jaxlstm.errors import UserError

ROOT = Path(__file__).parent.parent

# A loop of five turns within one of three, as XLA prints them, shortened.
TEXT = """HloModule jit_train, is_scheduled=true

%gemm (p0: f32[2,4], p1: f32[4,4]) -> f32[2,4] {
  %p0 = f32[2,4]{1,0} parameter(0)
  %p1 = f32[4,4]{1,0} parameter(1)
  ROOT %dot.1 = f32[2,4]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%fused_tanh (p0.1: f32[2,4]) -> (f32[2,4], f32[2,4]) {
  %p0.1 = f32[2,4]{1,0} parameter(0)
  %tanh.1 = f32[2,4]{1,0} tanh(%p0.1)
  ROOT %tuple.1 = (f32[2,4]{1,0}, f32[2,4]{1,0}) tuple(%tanh.1, %tanh.1)
}

%fused_save (p0.2: f32[5,2,4], p1.2: f32[2,4], p2.2: s32[]) -> f32[5,2,4] {
  %p0.2 = f32[5,2,4]{2,1,0} parameter(0)
  %p1.2 = f32[2,4]{1,0} parameter(1)
  %bitcast.1 = f32[1,2,4]{2,1,0} bitcast(%p1.2)
  %p2.2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %dus.1 = f32[5,2,4]{2,1,0} dynamic-update-slice(%p0.2, %bitcast.1, %p2.2, %zero, %zero)
}

%body (arg: (s32[], f32[2,4], f32[5,2,4])) -> (s32[], f32[2,4], f32[5,2,4]) {
  %arg = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %h = f32[2,4]{1,0} get-tuple-element(%arg), index=1
  %hs = f32[5,2,4]{2,1,0} get-tuple-element(%arg), index=2
  %gemm_fusion = f32[2,4]{1,0} fusion(%h, %h), kind=kCustom, calls=%gemm
  %tanh_of_gemm = (f32[2,4]{1,0}, /*index=1*/f32[2,4]{1,0}) fusion(%gemm_fusion), kind=kLoop, calls=%fused_tanh
  %new = f32[2,4]{1,0} get-tuple-element(%tanh_of_gemm), index=0
  %save-start = ((f32[5,2,4]{2,1,0}, s32[]), f32[5,2,4]{2,1,0}, u32[]) fusion-start(%hs, %new, %i), calls=%fused_save
  %save-done = f32[5,2,4]{2,1,0} fusion-done(%save-start)
  %next = s32[] fusion(%i), kind=kLoop, calls=%fused_add
  ROOT %tuple.2 = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) tuple(%next, %new, %save-done)
}

%condition (arg.1: (s32[], f32[2,4], f32[5,2,4])) -> pred[] {
  %arg.1 = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  ROOT %less = pred[] fusion(%i.1), kind=kLoop, calls=%fused_compare
}

%outer (arg.2: (s32[], f32[2,4], f32[5,2,4])) -> (s32[], f32[2,4], f32[5,2,4]) {
  %arg.2 = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) parameter(0)
  %custom = f32[2,4]{1,0} custom-call(%arg.2), custom_call_target="__cublas$gemm"
  ROOT %while.1 = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) while(%arg.2), condition=%condition, body=%body, \
metadata={op_name="jit(train)/transpose(jvp())/while"}, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main (x: f32[2,4]) -> f32[2,4] {
  %x = f32[2,4]{1,0} parameter(0)
  %copy.1 = f32[2,4]{1,0} copy(%x)
  %while.2 = (s32[], f32[2,4]{1,0}, f32[5,2,4]{2,1,0}) while(%copy.1), condition=%condition, body=%outer, \
backend_config={"known_trip_count":{"n":"3"}}
  ROOT %out = f32[2,4]{1,0} get-tuple-element(%while.2), index=1
}
"""

SAID = """ptxas info    : Compiling entry function 'a' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 182 registers, used 16 barriers, 1 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90a'
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 16 barriers, 1 bytes smem
"""


def test_launches_of_the_innermost_loop():
    (loop,) = read(TEXT).loops
    # What the operand is called does not make a kernel a product.
    expected = [
        ("product", "gemm_fusion"),
        ("kernel", "tanh_of_gemm"),
        ("copy", "save-start"),
        ("counter", "next"),
    ]
    assert list(loop.launches) == expected
    assert [launch.name for launch in loop.condition] == ["less"]
    assert loop.turns == 5
    assert "transpose" in loop.op_name


def test_launches_of_a_call():
    assert read(TEXT).total == 1 + 3 * (1 + 5 * 4)
    assert read(TEXT.replace('{"known_trip_count":{"n":"5"}}', "{}")).total is None


def test_no_module_is_said():
    with pytest.raises(ValueError, match="expected an HLO module with an ENTRY"):
        read("nothing")


def test_kernels():
    assert gpu_compile.kernels(SAID) == [(182, 0), (255, 12)]


def test_without_the_plugin_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gpu_compile, "installed", lambda package: False)
    with pytest.raises(UserError, match="JAX's CUDA plugin is not installed: pip install --no-deps jax-cuda13-plugin="):
        gpu_compile.run(gpu_compile.Options())


def test_compiling(tmp_path):
    if reason := gpu_compile.obstacle():
        pytest.skip(reason)
    out = tmp_path / "gpu_compile.json"
    command = [sys.executable, "-m", "benchmarks.gpu_compile", "--tiny", "--only", "scan float32", "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    forward, train = json.loads(out.read_text())["results"]
    assert forward["launches_of_a_call"] < train["launches_of_a_call"]
