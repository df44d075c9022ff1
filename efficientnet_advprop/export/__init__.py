"""Export of a trained network for use without this code."""

from efficientnet_advprop.export.saved_model import ExportError, export_saved_model

__all__ = ["ExportError", "export_saved_model"]
