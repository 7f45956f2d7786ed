"""Where a model's weights are kept, and in how many bits: spread by accelerate, in 8 bits by bitsandbytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analysis.errors import ModelError

LOADS_IN = ("8bit",)
"""Other than in the numbers of the dtype."""

DeviceMap = dict[str, str | int]
"""Name of a part of the model, as in ``layers.0``, to ``cpu``, ``disk``, or a GPU by number or as ``cuda:1``."""


def read_device_map(given: str | Path | Mapping[str, str | int] | None) -> DeviceMap | str | None:
    """A device map as asked for: ``auto``, a JSON file of one, one as it is, or (``none``) no map.

    Raises:
        ModelError: It is none; or accelerate, which spreads a model by it, is not installed.
    """
    if given is None or str(given) == "none":
        return None
    if find_spec("accelerate") is None:
        raise ModelError(
            "A device map needs the package accelerate, which is not installed: pip install accelerate, or leave "
            "--device-map out."
        )
    if given == "auto":
        return "auto"
    found = dict(given) if isinstance(given, Mapping) else _read_file(Path(given).expanduser())
    if not isinstance(found, dict) or not found or not all(_is_device(device) for device in found.values()):
        raise ModelError(
            f"The device map {given} is none: expected JSON such as "
            '{"embed_tokens": 0, "layers.0": 1, "layers.1": "cpu", "norm": "disk"}.'
        )
    _check_devices(found)
    return found


def loading_options(model_class: Any, config: Any, device_map: DeviceMap | str | None, load_in: str | None) -> dict:
    """What `from_pretrained` is told beside the dtype.

    Args:
        model_class: The auto class that loads the model.

    Raises:
        ModelError: The map names parts that the model has not, or leaves some out; 8 bits cannot be had here.
    """
    options: dict[str, Any] = {}
    if load_in is not None:
        options["quantization_config"] = _in_bits(load_in)
    if isinstance(device_map, dict):
        device_map = _fitted(device_map, model_class, config)
    if device_map is not None:
        options |= {"device_map": device_map, "offload_folder": _offload_folder()}
    return options


def is_placed(module: Any) -> bool:
    """True for a model whose weights are already where they stay: spread over devices, or in 8 bits."""
    return getattr(module, "is_quantized", False) or any(hasattr(part, "_hf_hook") for part in module.modules())


def put_on(module: Any, device: str) -> Any:
    """The module on this device, or as it is where it is placed already."""
    return module if is_placed(module) else module.to(device)


def input_device(module: Any) -> str:
    """Where a batch for this module goes: to the device of its first part, wherever the weights wait meanwhile."""
    for part in module.modules():
        for hook in _hooks(part) if part is not module else ():
            if hook.execution_device is not None:
                return _named(hook.execution_device)
    return next((_named(weight.device) for weight in module.parameters() if weight.device.type != "meta"), "cpu")


def devices_of(module: Any) -> tuple[str, ...]:
    """Every place that holds weights of a module, in its order; ``disk`` or ``cpu`` for those that wait there."""
    found: dict[str, None] = {}
    for part in module.modules():
        waits = [hook.weights_map for hook in _hooks(part) if getattr(hook, "weights_map", None) is not None]
        for name, weight in part.named_parameters(recurse=False):
            if weight.device.type != "meta":
                found[_named(weight.device)] = None
            elif waits:
                on_disk = getattr(getattr(waits[0], "dataset", None), "index", {})
                found["disk" if f"{getattr(waits[0], 'prefix', '')}{name}" in on_disk else "cpu"] = None
    return tuple(found) or ("cpu",)


def _hooks(part: Any) -> list[Any]:
    """The hooks that accelerate has put on one module to move its weights and inputs."""
    hook = getattr(part, "_hf_hook", None)
    hooks = getattr(hook, "hooks", (hook,))
    return [hook for hook in hooks if hasattr(hook, "execution_device")]


def _named(device: Any) -> str:
    return f"cuda:{device}" if isinstance(device, int) else str(device)


_OFFLOADED: list[TemporaryDirectory] = []
"""Weights that wait on the disk. They last as long as the process: the hooks of accelerate read them at every pass."""


def _offload_folder() -> str:
    _OFFLOADED.append(TemporaryDirectory(prefix="qk-atlas-offloaded-", ignore_cleanup_errors=True))
    return _OFFLOADED[-1].name


def _read_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"There is no device map {path}: give auto, none, or a JSON file that names a device for each part."
        ) from error
    except ValueError as error:
        raise ModelError(f"The device map {path} is no JSON ({error}).") from error


def _is_device(device: Any) -> bool:
    return isinstance(device, str | int) and not isinstance(device, bool)


def _check_devices(found: DeviceMap) -> None:
    import torch

    n_gpus = torch.cuda.device_count()
    known = {"cpu", "disk", *range(n_gpus), *(f"cuda:{number}" for number in range(n_gpus))}
    if unknown := [device for device in found.values() if device not in known and device != "cuda"]:
        gpus = f"{n_gpus} GPU{'s' * (n_gpus != 1)}, numbered from 0" if n_gpus else "no GPU"
        raise ModelError(f"The device map names {unknown[0]!r}; this machine has cpu, disk and {gpus}.")


def _fitted(given: DeviceMap, model_class: Any, config: Any) -> DeviceMap:
    """A map with the names of this class: with or without the prefix that a head puts in front, no part in another,
    and all weights covered."""
    import torch

    with torch.device("meta"):
        model = (getattr(model_class, "from_config", None) or model_class._from_config)(config)
    prefix = f"{model.base_model_prefix}."
    weights = list(model.state_dict())
    names = {"", *weights, *(name for name, _ in model.named_modules())}
    is_headed = any(name.startswith(prefix) for name in weights)
    named: DeviceMap = {}
    for name, device in given.items():
        found = name if name in names else f"{prefix}{name}" if is_headed else name.removeprefix(prefix)
        if found in names:
            named[found] = device
        elif name not in ("lm_head", "classifier", "score"):  # a head, where the model is loaded without
            raise ModelError(
                f"The device map names {name!r}, which a {type(model).__name__} has not; it has "
                f"{', '.join(dict.fromkeys(part.split('.')[0] for part in weights))}."
            )
    lacking = [name for name in weights if _nearest(name, named) is None]
    of_heads = [name for name in lacking if is_headed and not name.startswith(prefix)]
    if len(of_heads) < len(lacking):
        lacking = [name for name in lacking if name not in of_heads]
        raise ModelError(
            f"The device map has no device for {', '.join(lacking[:3])} of a {type(model).__name__}: name one for each "
            "of its parts."
        )
    last = [device for device in named.values() if device != "disk"] or ["cpu"]
    tied = getattr(model, "all_tied_weights_keys", None) or {}  # a head that shares its weights lies where they do
    places = {name.split(".")[0]: _nearest(tied.get(name, ""), named) for name in of_heads}
    return _apart(model, "", named | {name: last[-1] if place is None else place for name, place in places.items()})


def _apart(module: Any, name: str, named: DeviceMap) -> DeviceMap:
    """The same map with no name inside another: accelerate takes each as a whole."""
    inside = f"{name}." if name else ""
    if not any(key != name and key.startswith(inside) for key in named):
        device = _nearest(name, named)
        return {} if device is None else {name: device}
    found: DeviceMap = {}
    for child_name, child in module.named_children():
        found |= _apart(child, f"{inside}{child_name}", named)
    for own_name in (*module._parameters, *module._buffers):
        if (device := _nearest(f"{inside}{own_name}", named)) is not None:
            found[f"{inside}{own_name}"] = device
    return found


def _nearest(name: str, named: DeviceMap) -> str | int | None:
    """The device of the longest name in the map that holds this one."""
    holding = [key for key in named if key == "" or name == key or name.startswith(f"{key}.")]
    return named[max(holding, key=len)] if holding else None


def _in_bits(load_in: str) -> Any:
    if load_in not in LOADS_IN:
        raise ModelError(f"A model can be loaded in {' or '.join(LOADS_IN)}; got {load_in!r}.")
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            "Loading in 8 bits needs the package bitsandbytes, which is not installed: pip install bitsandbytes, or "
            "leave --load-in out (--dtype float16 or bfloat16 halves the memory without it)."
        )
    # At every layer of every batch it would tell anew that fp32 is rounded to fp16 on the way.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)
