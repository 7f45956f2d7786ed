"""What the add-ons of a run that were measured with its model say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.errors import RunError

if TYPE_CHECKING:
    from analysis.store import Run


def published(run: Run, field: str) -> dict[str, dict[str, Any]]:
    """Name of the add-on to what its manifest has under `field`, for all that have it."""
    from analysis.store.publish import addon_manifests, read_manifest

    found = {}
    for path in addon_manifests(run.path):
        try:
            facts = read_manifest(path).get(field)
        except RunError:  # a damaged add-on is left out, as in the run's tables; `verify` says so
            continue
        if facts is not None:
            found[path.stem.removeprefix("add-")] = facts
    return found


def measured_before(run: Run, name: str, spec: Mapping[str, Any], field: str) -> dict[str, Any] | None:
    """The manifest of what an earlier call of the same settings has published, None where there is none.

    Args:
        name: Of the add-on.
        spec: Everything that decides what comes out, as plain values.
        field: Where the manifest says what was found.

    Raises:
        RunError: It was a call of other settings.
    """
    from analysis.store.publish import read_manifest

    path = run.path / f"add-{name}.json"
    if not path.exists():
        return None
    manifest = read_manifest(path)
    if manifest.get("spec") != spec:
        facts = manifest.get(field, {})
        raise RunError(
            f"Run {run.run_id} has {name} already, measured on {facts.get('n_inputs')} inputs with seed "
            f"{facts.get('seed')}, and results are never changed: ask for that again, or extract the run again under "
            "another --run-id to measure with other settings."
        )
    return manifest


def made_from(run: Run) -> dict[str, Any]:
    """What the manifest of an add-on says of the run's own origin."""
    return {part: run.manifest.get(part) for part in ("model", "model_revision", "data", "data_hash")}
