"""Export of a trained network for use without this code."""

from efficientnet_advprop.export.description import Description, code_commit
from efficientnet_advprop.export.exported import ExportedNetwork, ExportedWeights, is_saved_model
from efficientnet_advprop.export.formats import export_network, require_packages
from efficientnet_advprop.export.served import ExportError, ServedNetwork, served_network
from efficientnet_advprop.export.versions import bytes_of

__all__ = [
    "Description",
    "ExportError",
    "ExportedNetwork",
    "ExportedWeights",
    "ServedNetwork",
    "bytes_of",
    "code_commit",
    "export_network",
    "is_saved_model",
    "require_packages",
    "served_network",
]
