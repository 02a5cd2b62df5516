"""Which layer of an artifact is the first to differ from the reference, found in few runs.

Layers are only partly ordered: the branches of the head do not read each other, and a damaged one shows in what reads
it alone. So each run gives out several tensors. The first run gives the layers that nothing reads. Of the worst one
that differs, all that it reads is suspected, less what one that agrees reads. A further run asks for the borders of the
first quarter, half and three quarters of the suspects in the order of execution, which leaves a quarter or less. The
last run asks for what the found layer reads. That makes 2 + log4(layers) runs. All tensors at once would be one run of
another artifact: a runtime does not fuse what an output divides.

An error thins out downstream, where other branches join it, and may fall below what the precision itself loses. Where
the search ends at a layer that is hardly worse than what it reads, or where nothing that is read last differs, one more
run gives all layers and what they read. Each layer of the network is then given what the artifact's read, so that it
answers for its own error alone, and the worst is named. Quantised artifacts, whose layers all differ from the
network's, the more the deeper they are, start with that run.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import UsageError, needs_extra
from edgeseg.layers import Layer, matched, with_activations
from edgeseg.tensors import Array

if TYPE_CHECKING:
    from edgeseg.model.layers import NetworkLayers
    from edgeseg.probe import Probe


LIMITS: Mapping[str, float] = {"fp32": 60.0, "fp16": 40.0, "bf16": 20.0, "w8a16": 12.0, "int8": 12.0}
"""Signal to noise, in dB, below which a layer of an artifact of some precision differs.

A weight that is off by 10 % leaves 20 dB, one off by 1 % leaves 40. What sound layers have is in docs/parity.md."""

QUANTISED = ("int8", "w8a16")
"""Precisions whose layers all differ; they are compared behind their activations, each alone."""

OUTPUT_DB = 5.0
"""The limit of their last layers: exporters leave out of the ranges what decoding makes nothing of, such as class
logits below -9, which costs all but 7 dB."""

LEAST_DROP_DB = 8.0
"""A layer whose signal to noise is worse by less than what it reads has its error from there. Healthy layers lose up
to 4.3 dB where rounding adds up: the most that the official n in fp16 was seen to."""

PARTS = 4
"""Parts that a run divides the suspects into."""

RANKED = 5
"""How many of the worst layers are reported where each was compared alone."""


@dataclass(frozen=True)
class LayerError:
    """One measured layer.

    Attributes:
        layer: module path.
        sqnr_db: energy of the reference's tensor over the error's, in dB; minus infinity for what is not finite.
        run: in which run it was measured, from 1.
    """

    layer: str
    sqnr_db: float
    run: int


@dataclass
class BisectReport:
    """What was found.

    Attributes:
        layer: module path of the first layer that differs; empty where none does.
        verdict: the same in a sentence.
        method: ``bisect``, or ``rank`` where one run gave all layers and each was compared alone.
        runs: runs that were made.
        runs_max: most runs that are ever made.
        layers: how many layers the artifact shows.
        threshold_db: signal to noise below which a layer differs.
        inputs: layers that `layer` reads, all of which agree.
        measured: every layer asked for, in the order of runs.
        alone: of ``rank``, the layers nearest to or below their limit, worst first, each given what it really reads.
        picture: what was run.
        execution: how it ran.
    """

    layer: str = ""
    verdict: str = ""
    method: str = "bisect"
    runs: int = 0
    runs_max: int = 0
    layers: int = 0
    threshold_db: float = 0.0
    inputs: list[str] = field(default_factory=list)
    measured: list[LayerError] = field(default_factory=list)
    alone: list[LayerError] = field(default_factory=list)
    picture: str = ""
    execution: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        layers = {name: [vars(one) for one in getattr(self, name)] for name in ("measured", "alone")}
        return {**vars(self), **layers, "execution": dict(self.execution)}


def bisect(weights: Path, artifact: Path, images: Images, **run_options: Any) -> BisectReport:
    """Name the first layer of an artifact that differs from the reference.

    Args:
        weights: of the reference.
        artifact: a file or folder of a target that shows inner tensors.
        images: the same picture for both.
        **run_options: of the target.

    Raises:
        UsageError: the format shows no inner tensors, or the artifact's graph is not the network's.
        EnvironmentMissingError: a package that this needs is not here.
    """
    with open_probe(artifact, **run_options) as probe:
        layers, found = layers_of(weights, probe, str(artifact))
        quantised = images.precision in QUANTISED
        found = with_activations(found) if quantised else found
        search = _Search(_Comparison(layers, probe, images), found, images.precision)
        report = search.ranked() if quantised else search.bisected()
        report.picture, report.execution = images.source, probe.execution
    return report


@dataclass(frozen=True)
class Images:
    """One picture, as each side takes it.

    Attributes:
        reference: (1, 3, H, W) float32.
        artifact: (B, 3, H, W) float32, whose first picture counts.
        precision: the artifact's.
        source: its name.
    """

    reference: Array
    artifact: Array
    precision: str
    source: str = ""


def open_probe(path: Path, **run_options: Any) -> Probe:
    """Open an artifact so that its inner tensors can be read.

    Raises:
        UsageError: this format shows none; the hint lists those that do.
    """
    from edgeseg import registry
    from edgeseg.target import Artifact

    target = registry.recognize(path)
    if not target.capabilities.intermediate:
        able = [entry.name for entry in registry.entries().values() if _shows_layers(entry.target)]
        raise UsageError(
            f"{path}: the {target.name} runtime shows no intermediate tensors",
            hint="formats that do: " + ", ".join(able),
        )
    options = registry.parse_run_options(target, run_options)
    return target.probe(Artifact(path, target.read_metadata(path)), options)


def _shows_layers(target: Any) -> bool:
    return target is not None and bool(target.capabilities.intermediate)


def layers_of(weights: Path, probe: Probe, where: str) -> tuple[NetworkLayers, list[Layer]]:
    """The reference's layers in the form that the artifact has, and the artifact's own.

    Args:
        weights: of the reference.
        probe: the artifact's inside.
        where: the artifact, for errors.

    Raises:
        UsageError: the artifact's graph is not the network's in any form.
        EnvironmentMissingError: torch is not here.
    """
    problems = []
    for halves in (True, False):
        layers = network_layers(weights, halves=halves)
        try:
            return layers, matched(layers.convolutions, probe.operations, where)
        except UsageError as error:
            problems.append(error)
    raise problems[0]


def network_layers(weights: Path, *, halves: bool = True) -> NetworkLayers:
    """The reference's layers; see `edgeseg.model.fuse.fused` for `halves`."""
    try:
        from edgeseg.model.layers import NetworkLayers
        from edgeseg.model.reference import load_network
    except ModuleNotFoundError as error:
        raise needs_extra("torch", "build", f"reading the layers of {weights}") from error
    return NetworkLayers(load_network(weights, halves=halves)[0])


class _Comparison:
    """Runs both sides with some tensors given out, and counts the artifact's runs."""

    def __init__(self, network: NetworkLayers, probe: Probe, images: Images) -> None:
        self._network, self._probe, self._images = network, probe, images
        self.runs = 0

    def measure(
        self, layers: Sequence[Layer], inputs: Sequence[Layer] = ()
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Signal to noise of what `layers` give, and of what `inputs` read, by path."""
        from edgeseg.model.layers import INPUT

        self.runs += 1
        tensors = list(dict.fromkeys([one.tensor for one in layers] + [one.input for one in inputs]))
        have = self._probe.run(self._images.artifact, tensors)
        names = [one.module for one in layers] + [one.path + INPUT for one in inputs]
        want = self._network.outputs(self._images.reference, names)
        given = {one.path: sqnr_db(want[one.module], have[one.tensor][:1]) for one in layers}
        return given, {one.path: sqnr_db(want[one.path + INPUT], have[one.input][:1]) for one in inputs}

    def each_alone(self, layers: Mapping[str, Layer]) -> dict[str, float]:
        """Signal to noise of what each layer makes of what it really reads, by path; one run."""
        self.runs += 1
        read = {path: one.input or layers[one.parents[0]].tensor for path, one in layers.items() if one.parents}
        names = dict.fromkeys([*(one.tensor for one in layers.values()), *read.values()])
        have = {name: array[:1] for name, array in self._probe.run(self._images.artifact, list(names)).items()}
        # The picture is no tensor that an operation gives.
        given = {path: have[read[path]] if path in read else self._images.reference for path in layers}
        return {
            path: sqnr_db(self._network.made(given[path], dict.fromkeys((path, one.module))), have[one.tensor])
            for path, one in layers.items()
        }


class _Search:
    """The search over one artifact's layers, in the network's order of execution."""

    def __init__(self, comparison: _Comparison, layers: Sequence[Layer], precision: str) -> None:
        self._comparison, self._layers = comparison, {layer.path: layer for layer in layers}
        read = {parent for layer in layers for parent in layer.parents}
        self._last = [layer.path for layer in layers if layer.path not in read]
        threshold_db = LIMITS[precision]
        self._limits = dict.fromkeys(self._layers, threshold_db)
        if precision in QUANTISED:
            self._limits |= dict.fromkeys(self._last, OUTPUT_DB)
        self._above = _ancestors(layers)
        self._known: dict[str, float] = {}
        self._report = BisectReport(layers=len(layers), threshold_db=threshold_db)
        self._report.runs_max = 2 + math.floor(math.log2(sum(bool(layer.input) for layer in layers)))

    def bisected(self) -> BisectReport:
        """By parts; by rank where that leads nowhere."""
        self._measure(self._last)
        bad = min(self._known, key=lambda path: self._known[path])
        if not self._differs(bad):
            return self.ranked()
        while len(suspects := self._suspects(bad)) > 1:
            bad = self._narrowed(suspects) or bad
        layer = self._layers[bad]
        agrees = self._confirmed(layer)
        if self._drop(layer) < LEAST_DROP_DB and self._comparison.runs < self._report.runs_max:
            return self.ranked()
        reads = ", ".join(layer.parents)
        because = f"what it reads agrees: {reads}"
        if not agrees:
            because = f"its input differs, which is made of {reads}, and these agree"
        return self._found(layer, self._known[bad], because)

    def ranked(self) -> BisectReport:
        """By what each layer makes of what it really reads, all measured in one run."""
        report = self._report
        report.method = "rank"
        alone = self._comparison.each_alone(self._layers)
        run = self._comparison.runs
        order = sorted(alone, key=lambda path: alone[path] - self._limits[path])
        report.alone = [LayerError(path, alone[path], run) for path in order[:RANKED]]
        worst = report.alone[0]
        if not worst.sqnr_db >= self._limits[worst.layer]:
            because = "each was compared alone, given what it reads in the artifact"
            return self._found(self._layers[worst.layer], worst.sqnr_db, because)
        report.runs = run
        report.verdict = f"no layer differs, each compared alone; nearest is {worst.layer} ({worst.sqnr_db:.1f} dB)"
        return report

    def _confirmed(self, layer: Layer) -> bool:
        """Measure what a layer reads, as far as it is not known; whether its own input agrees."""
        unknown = [path for path in layer.parents if path not in self._known]
        # The picture is no tensor that an operation gives.
        reader = layer if layer.input and layer.parents else None
        return self._measure(unknown, reader) if unknown or reader else True

    def _narrowed(self, suspects: list[str]) -> str:
        """The first of some suspects on the way that differs; empty where they all agree."""
        cuts = sorted({len(suspects) * part // PARTS for part in range(1, PARTS)} - {0})
        borders = [_border(suspects[:cut], self._above) for cut in cuts]
        self._measure(dict.fromkeys(path for border in borders for path in border if path not in self._known))
        return next((path for border in borders for path in border if self._differs(path)), "")

    def _suspects(self, bad: str) -> list[str]:
        """What may be the first to differ, given that `bad` does, in the order of execution."""
        good = [path for path in self._known if not self._differs(path) and bad not in self._above[path]]
        cleared = set(good).union(*(self._above[path] for path in good))
        return [path for path in self._layers if path == bad or (path in self._above[bad] and path not in cleared)]

    def _measure(self, paths: Iterable[str], reader: Layer | None = None) -> bool:
        """Measure layers; of `reader`, what it reads too. Whether that agrees."""
        wanted = [self._layers[path] for path in paths]
        readers = [reader] if reader is not None and reader.input else []
        given, read = self._comparison.measure(wanted, readers)
        self._known |= given
        run = self._comparison.runs
        self._report.measured += [LayerError(path, value, run) for path, value in given.items()]
        return all(value >= self._report.threshold_db for value in read.values())

    def _differs(self, path: str) -> bool:
        return not self._known[path] >= self._report.threshold_db

    def _drop(self, layer: Layer) -> float:
        """What a layer loses against the worst of what it reads, in dB; the first layer loses it all."""
        lost = min((self._known[path] for path in layer.parents), default=math.inf) - self._known[layer.path]
        # Behind what is no number nothing can be lost.
        return 0.0 if math.isnan(lost) else lost

    def _found(self, layer: Layer, sqnr: float, because: str) -> BisectReport:
        report = self._report
        report.layer, report.inputs, report.runs = layer.path, list(layer.parents), self._comparison.runs
        report.verdict = (
            f"{layer.path} is the first layer that differs ({sqnr:.1f} dB); {because}"
            if layer.parents
            else f"{layer.path}, the first layer, differs ({sqnr:.1f} dB), or how it is given the picture"
        )
        return report


def _ancestors(layers: Sequence[Layer]) -> dict[str, frozenset[str]]:
    """Path to the paths of all layers that it reads, directly or not."""
    above: dict[str, frozenset[str]] = {}
    for layer in layers:
        above[layer.path] = frozenset(layer.parents).union(*(above[path] for path in layer.parents))
    return above


def _border(paths: Sequence[str], above: Mapping[str, Collection[str]]) -> list[str]:
    """Those of some layers that no other of them reads: where all of these agree, all do."""
    inside = set().union(*(above[path] for path in paths))
    return [path for path in paths if path not in inside]


def sqnr_db(reference: Array, found: Array) -> float:
    """Energy of a tensor over that of the error, in dB; infinite where they are equal."""
    if reference.shape != found.shape:
        return -math.inf
    wide = reference.astype(np.float64)
    signal, noise = float(np.square(wide).sum()), float(np.square(found - wide).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal and math.isfinite(noise) else -math.inf
