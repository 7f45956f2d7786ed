"""Load a model and its tokenizer or image processor by bundled name, local folder or hub id, safely.

Safe means: no code from the model's folder is run, weights come as safetensors only, a hub id is checked before
anything is looked up and is never taken for a path, and the exact revision is recorded.
"""

from analysis.models.find import BUNDLED_MODELS, find_model, fingerprint
from analysis.models.forward import forward_module
from analysis.models.layout import ImageLayout
from analysis.models.load import load_model
from analysis.models.loaded import LoadedModel
from analysis.models.placing import read_device_map
from analysis.models.stages import count_stages, stage_layouts, stage_name
from analysis.models.towers import modalities
from analysis.models.with_head import CLASS, MASKED_TOKEN, NEXT_TOKEN, HeadedModel, load_with_head

__all__ = [
    "BUNDLED_MODELS",
    "CLASS",
    "MASKED_TOKEN",
    "NEXT_TOKEN",
    "HeadedModel",
    "ImageLayout",
    "LoadedModel",
    "count_stages",
    "find_model",
    "fingerprint",
    "forward_module",
    "load_model",
    "load_with_head",
    "modalities",
    "read_device_map",
    "stage_layouts",
    "stage_name",
]
