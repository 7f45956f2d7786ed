"""What made a run and how exactly it was captured, in words: its manifest and its certificate in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OTHERWISE = 1e-3
"""Between two implementations of a model; rounding makes less."""


def certificate_sentences(certificate: Mapping[str, Any]) -> list[str]:
    """What was checked before the capture, one sentence a check; checks that were not made are not named."""
    n_tokens = certificate.get("n_tokens")
    said = [f"Checked on the longest input, {n_tokens:,} tokens." if n_tokens else ""]
    outputs = _number(certificate.get("outputs_max_abs_diff"))
    if outputs is not None:
        same = "identical, bit for bit," if outputs == 0 else f"the same to within {outputs:.1e}"
        said.append(f"The model's outputs are {same} with and without capture.")
    said.append(_traced(certificate))
    own, eager = _number(certificate.get("attention_max_abs_diff")), certificate.get("eager", "compared")
    if own is not None:
        said.append(
            f"The recorded attention weights differ from the model's own by at most {own:.1e} (weights are 0–1)."
            + _of_rounding(certificate)
        )
    if eager != "compared":
        said.append(f"They could not be compared with the model's eager attention: {eager}.")
    said.append(_of_implementations(certificate))
    values = _number(certificate.get("values_max_abs_diff"))
    if values is not None:
        said.append(f"Weights times values give what the model's kernel returned to within {values:.1e} of its size.")
    stored = _number(certificate.get("recomputed_max_abs_diff"))
    if stored is not None:
        said.append(
            f"From the queries and keys as stored, in 16 bits, the attention comes back to within {stored:.1e}."
        )
    kept = [
        site.get("label", key) for key, site in _sites(certificate).items() if not site.get("is_recomputable", True)
    ]
    if kept:
        said.append(f"That is not exact enough at {', '.join(kept)}: there the attention itself is stored.")
    if "left_out" in certificate and not certificate["left_out"]:
        said.append("No attention site was left out.")
    return [sentence for sentence in said if sentence]


def _of_rounding(certificate: Mapping[str, Any]) -> str:
    """What half precision adds to that; empty in full precision."""
    rounding = _number(certificate.get("rounding"))
    if not rounding or certificate.get("dtype", "float32") == "float32":
        return ""
    return (
        f" It ran in {certificate.get('dtype')}: rounding its scores alone, as its own eager function does, moves "
        f"weights by up to {rounding:.1e}."
    )


def _traced(certificate: Mapping[str, Any]) -> str:
    """How many sites were found by their operations; empty where none was."""
    missing = certificate.get("left_out") or {}
    sites = _sites(certificate)
    n = sum(site.get("route") == "optrace" and key not in missing for key, site in sites.items())
    if not n:
        return ""
    begins = "One attention site goes" if n == 1 else f"{n:,} attention sites go"
    return (
        f"{begins} round transformers' attention interface, found by following the model's operations: the weights are "
        "those that it computed."
    )


def _of_implementations(certificate: Mapping[str, Any]) -> str:
    """That the model attends otherwise in eager mode than as it ran, where it does."""
    missing = certificate.get("left_out") or {}
    between = {
        site.get("label", key): figure
        for key, site in _sites(certificate).items()
        if key not in missing and (figure := _number(site.get("between_implementations_max_abs_diff"))) is not None
    }
    rounding = _number(certificate.get("rounding")) or 0.0
    far = [label for label, figure in between.items() if figure > max(OTHERWISE, 4 * rounding)]
    if not far:
        return ""
    return (
        f"In eager mode the model itself attends otherwise than as it ran here, by up to {max(between.values()):.1e} "
        f"at {', '.join(far)}: the run holds what it did as it ran."
    )


def made_by(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What made a run, as names and values; what its manifest does not say is left out."""
    spec = manifest.get("spec") or {}
    parameters = manifest.get("n_parameters")
    layers = spec.get("layers")
    versions = manifest.get("versions") or {}
    said = {
        "Model": _joined(
            manifest.get("model"), manifest.get("model_type"), f"{parameters:,} parameters" if parameters else None
        ),
        "Revision": manifest.get("model_revision"),
        "Data": manifest.get("data"),
        "Data hash": manifest.get("data_hash"),
        "Inputs": _inputs(spec),
        "Layers": "all" if "layers" in spec and not layers else layers and ", ".join(str(layer) for layer in layers),
        "Attention": spec.get("attention"),
        "Maps": ", ".join(spec["projection"]) or "none" if "projection" in spec else None,
        "Seed": spec.get("seed"),
        "Ran as": _joined(
            manifest.get("dtype"),
            "linear layers in 8 bits" if spec.get("load_in") == "8bit" else None,
            manifest.get("device") and f"on {manifest['device']}",
        ),
        "Made": manifest.get("created") and f"{str(manifest['created'])[:19].replace('T', ' ')} UTC",
        "Versions": _joined(
            manifest.get("code_version") and f"QK Atlas {manifest['code_version']}",
            *(f"{name} {version}" for name, version in versions.items()),
        ),
    }  # fmt: skip
    return [(name, str(value)) for name, value in said.items() if value not in (None, "")]


def _inputs(spec: Mapping[str, Any]) -> str | None:
    if "limit" not in spec:
        return None
    return "all" if spec["limit"] is None else f"the first {spec['limit']:,}"


def _joined(*parts: str | None) -> str:
    return ", ".join(str(part) for part in parts if part)


def _sites(certificate: Mapping[str, Any]) -> Mapping[str, Any]:
    return certificate.get("sites") or {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
