"""A saved model at work: on tables (`Predictor`), over HTTP (`service`), as ONNX (`export`)."""

from dann_transfer.serving.tables import Predictor

__all__ = ["Predictor"]
