"""The plain forward pass: the one way a model is called, by capture and by whoever counts its tokens."""

from __future__ import annotations

import inspect
from typing import Any

from analysis.errors import ModelError, first_line
from analysis.models.placing import input_device


def forward_module(module: Any, inputs: dict[str, Any], *, gradients: bool = False, **options: Any) -> Any:
    """Run a model without key-value cache, with only the arguments it names.

    Images of another size than it was trained on have its position table interpolated, where it can.

    Args:
        module: In eval mode.
        inputs: Batch tensors on the module's device.
        gradients: Keep what autograd needs.
        options: Further arguments.
    """
    import torch

    known = inspect.signature(module.forward).parameters
    extras: dict[str, Any] = {}
    if "use_cache" in known:
        extras["use_cache"] = False
    if "interpolate_pos_encoding" in known and _is_unusual_size(module, inputs.get("pixel_values")):
        extras["interpolate_pos_encoding"] = True
    with torch.inference_mode(not gradients):
        return module(**{name: value for name, value in inputs.items() if name in known}, **extras, **options)


def count_image_tokens(module: Any, name: str, height: int, width: int) -> int:
    """Tokens that a vision model makes of an image of this size, counted on its own output for a blank one.

    Raises:
        ModelError: The model does not take this size, or gives no sequence of tokens.
    """
    import torch

    shape = (1, getattr(module.config, "num_channels", 3), height, width)
    pixels = torch.zeros(shape, dtype=module.dtype, device=input_device(module))
    try:
        output = forward_module(module, {"pixel_values": pixels})
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{name} does not take the {width} x {height} pixels that its image processor makes "
            f"({first_line(error, 200)}); correct preprocessor_config.json in its folder."
        ) from error
    states = getattr(output, "last_hidden_state", None)
    if states is None or states.ndim != 3:
        raise ModelError(f"{name} gives no sequence of image tokens; choose a transformer that works on patches.")
    return states.shape[1]


def _is_unusual_size(module: Any, pixels: Any) -> bool:
    expected = getattr(module.config, "image_size", None)
    if pixels is None or expected is None:
        return False
    expected = (expected, expected) if isinstance(expected, int) else tuple(expected)
    return tuple(pixels.shape[-2:]) != expected
