"""Models for other programs: `model` says what is deployed, `stablehlo` and `onnx` write it, `predictor` serves it."""
