"""Export of a trained network for use without this code."""

from efficientnet_advprop.export.description import Description as Description, code_commit as code_commit
from efficientnet_advprop.export.exported import ExportedWeights as ExportedWeights, is_saved_model as is_saved_model
from efficientnet_advprop.export.formats import (
    export_network as export_network,
    exported_before as exported_before,
    require_packages as require_packages,
)
from efficientnet_advprop.export.served import (
    ExportError as ExportError,
    ServedNetwork as ServedNetwork,
    served_network as served_network,
)
from efficientnet_advprop.export.versions import bytes_of as bytes_of
