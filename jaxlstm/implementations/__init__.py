"""How `lstm` can run, and which way it takes: `choice` decides, in Python and before anything is computed.

| name | what it is | module |
|---|---|---|
| "scan" | the recurrence in XLA; runs everything, everywhere | `jaxlstm.recurrence` |
| "cudnn" | NVIDIA's own LSTM, float32 | `cudnn` |
| "pallas" | kernels that walk over all steps with W_h kept on chip: H of up to 512, or 256 in float32 | `pallas` |

A call names one of them (`lstm(implementation=)`), or a block of code prefers some (`preferring`), or a rule from
measurements decides. A kernel that is named refuses what it cannot do; one that nobody has named leaves it to the scan
(`fallback`): forward mode, a second derivative, `vmap` over parameters. All of it is imported where it is needed. Each
kernel has

    refusal(call) -> str | None      why it cannot run the call, or None
    run(call, params, xs, state, lengths, mask, h_scale) -> (LSTMState, hs)

with xs [T, B, D], the state [B, H], lengths [B], mask [T, B] and h_scale [B, H] or None, and hs [T, B, H].
"""

from jaxlstm.implementations.choice import (
    IMPLEMENTATIONS,
    PLATFORMS,
    Call,
    Choice,
    choose,
    current_capability,
    current_platform,
    deciding_for,
    module_of,
    preferring,
)

__all__ = [
    "IMPLEMENTATIONS",
    "PLATFORMS",
    "Call",
    "Choice",
    "choose",
    "current_capability",
    "current_platform",
    "deciding_for",
    "module_of",
    "preferring",
]
