"""Computes the frozen blocks below the lowest trained one once per text, and lets training start above them.

What lies below the lowest trained layer gives the same hidden states for a text in every epoch, seed and trial,
so they are computed once and kept in a memory-mapped file: in the fit's own folder, or in a cache that fits which
freeze the same blocks of the same backbone share, where `Runtime.states` names one. Dropout is off there, with or
without the file: a state that is kept cannot be dropped anew.

States have the precision of the device's matrix products. In bfloat16 they are rounded where they are handed to
the first trained block, kept or not, so that what is kept changes no result by more than the batches it was
computed in do.

Where a study allows fewer bytes than the states of all texts take, those of the remaining texts are computed each
time they are needed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from filelock import FileLock

from tunewise.artifacts import is_whole, new_folder, sha256_of_json
from tunewise.code_hash import code_sha256
from tunewise.contracts import StateCache
from tunewise.training.batches import collate, passes
from tunewise.training.blocks import blocks_of, norm_above
from tunewise.training.classifier import SCORING_TOKENS, autocast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from tunewise.contracts import Backbone, Device, Inputs, Progress
    from tunewise.training.batches import Batch, Encoded
    from tunewise.training.classifier import Classifier

BYTES_ALONE = 4 << 30
"""What a fit keeps that was given no cache."""
KIND, STATES, FACTS = "states", "states.npy", "states.json"
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
ITEM_BYTES = {"bfloat16": 2, "float32": 4}

log = logging.getLogger(__name__)


class _Reached(Exception):  # noqa: N818 - no error: ends a forward pass where its rest is not needed
    """Carries the states that the first trained block was given."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def n_frozen_blocks(model: PreTrainedModel) -> int:
    """Return how many of the lowest blocks can be left out of training: those below the lowest trained one.

    It is 0 where something is trained outside the blocks and the norm above them, such as token embeddings, or
    where the blocks of the architecture are not known.
    """
    from tunewise.errors import BackboneError

    try:
        blocks = blocks_of(model)
    except BackboneError:
        return 0
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    lowest = blocks.n - 1
    norm = norm_above(model)
    accounted = set() if norm is None else {id(parameter) for parameter in norm.parameters()}
    for i in reversed(range(blocks.n)):
        own = {id(parameter) for parameter in model.get_submodule(blocks.named(i)).parameters()}
        accounted |= own
        lowest = i if own & trained else lowest
    # Vectors that are put before the text, or beside its keys, are trained outside the model and reach every block.
    return lowest if trained and trained <= accounted else 0


@contextmanager
def above_frozen_blocks(classifier: Classifier, parts: Sequence[Encoded], inputs: Inputs) -> Iterator[list[Batch]]:
    """Leave the blocks below the lowest trained layer out of every forward pass inside.

    Yields for each of ``parts`` what makes the trunk's batch of some of its rows; where nothing can be left out,
    the whole batch.
    """
    n, device = n_frozen_blocks(classifier.pretrained), classifier.device.kind
    if not n:
        yield [partial(_whole_batch, part, device) for part in parts]
        return
    frozen = FrozenBlocks(classifier, n)
    cache = inputs.runtime.states or StateCache(inputs.work / "states", BYTES_ALONE)
    with inputs.monitor.untimed():
        states = [
            states_of(frozen, part, cast("Backbone", inputs.runtime.backbone), cache, inputs.monitor.progress) for part in parts
        ]
    inputs.monitor.count_features(sum(one.seconds for one in states))
    with frozen.left_out():
        yield [partial(frozen.batch, part, one) for part, one in zip(parts, states, strict=True)]


def _whole_batch(part: Encoded, device: str, rows: np.ndarray) -> dict[str, Tensor]:
    return collate(part, rows, device)


@dataclass(frozen=True, eq=False)
class States:
    """Hidden states of some texts, those of one text after those of another. Shapes: values (n_tokens, width)."""

    values: np.ndarray
    starts: np.ndarray
    """First row of each text; -1 where its states are not kept. Shape: (n_texts,)."""
    seconds: float
    """What computing them took, by whoever did."""

    @property
    def n_kept(self) -> int:
        """Return how many texts' states are kept."""
        return int((self.starts >= 0).sum())

    def padded(self, rows: np.ndarray, lengths: np.ndarray) -> Tensor:
        """Return the states of ``rows``, zeros after each. Shape: (n_rows, longest, width)."""
        batch = np.zeros((len(rows), int(lengths.max()), self.values.shape[1]), dtype=self.values.dtype)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            start = self.starts[row]
            batch[i, :length] = self.values[start : start + length]
        return _as_tensor(batch)


class FrozenBlocks:
    """Stands for the lowest ``n`` blocks of a classifier: gives the first trained block what they would give."""

    def __init__(self, classifier: Classifier, n: int) -> None:
        self.n = n
        self._classifier, self._model = classifier, classifier.pretrained
        blocks = blocks_of(self._model)
        self._below = [self._model.get_submodule(blocks.named(i)) for i in range(n)]
        self._first = self._model.get_submodule(blocks.named(n))
        self._given: Tensor | None = None
        self._gives_tuples = False

    @property
    def device(self) -> Device:
        """Return where states are computed."""
        return self._classifier.device

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave the blocks out of every forward pass inside; each has to be prepared by `batch`."""
        hook = self._first.register_forward_pre_hook(self._hand_over, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()
            self._restore()

    def batch(self, encoded: Encoded, states: States, rows: np.ndarray) -> dict[str, Tensor]:
        """Return the padded batch of ``rows`` for the trunk, whose next forward pass begins with their states."""
        device = self.device.kind
        batch = collate(encoded, rows, device)
        is_kept = (states.starts[rows] >= 0).all()
        given = states.padded(rows, encoded.lengths[rows]).to(device) if is_kept else self.compute(batch)
        self._skip()
        self._given = given.float()
        return batch

    def compute(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the states of a padded batch, without gradients and dropout. Shape: (n_rows, longest, width)."""
        self._restore()
        self._given = None
        training = [module for module in self._model.modules() if module.training]
        for module in training:
            module.training = False
        hooks = [
            self._below[0].register_forward_hook(self._note_form),
            self._first.register_forward_pre_hook(_stop, with_kwargs=True, prepend=True),
        ]
        try:
            with torch.no_grad(), autocast(self._classifier.device):
                self._model(**batch, **self._classifier.options)
        except _Reached as reached:
            return reached.states.to(DTYPES[self._classifier.device.dtype])
        finally:
            for hook in hooks:
                hook.remove()
            for module in training:
                module.training = True
        raise AssertionError(f"Block {self.n} was not reached.")

    def _note_form(self, module: nn.Module, given: Any, found: Any) -> None:  # noqa: ARG002 - a hook's signature
        self._gives_tuples = isinstance(found, tuple)

    def _skip(self) -> None:
        for block in self._below:
            block.forward = self._pass_on

    def _restore(self) -> None:
        for block in self._below:
            block.__dict__.pop("forward", None)

    def _pass_on(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor | tuple[Tensor, None]:
        return (hidden_states, None) if self._gives_tuples else hidden_states

    def _hand_over(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ARG002 - a hook's
        if given:
            return (self._given, *given[1:]), named
        return given, named | {"hidden_states": self._given}


def states_of(frozen: FrozenBlocks, encoded: Encoded, backbone: Backbone, cache: StateCache, progress: Progress) -> States:
    """Return the states of every text that the cache's bytes allow, computing those that no fit computed before.

    Args:
        frozen: The blocks.
        encoded: Tokens of the texts.
        backbone: Whose blocks they are.
        cache: Where states are kept.
        progress: Told how far computing has come.
    """
    device = frozen.device
    if not len(encoded.lengths):
        return States(np.empty((0, backbone.hidden_size), np.float32), np.empty(0, np.int64), 0.0)
    # What the blocks return is asked once, since states that were kept come without it.
    probe = collate(encoded, np.arange(1), device.kind)
    width = frozen.compute(probe).shape[-1]
    kept = _affordable(encoded.lengths, width, device, cache.max_bytes)
    if kept < len(encoded.lengths):
        log.warning(
            "States of %d of %d texts fit into %.1f GB; those of the others are computed whenever they are needed.",
            kept,
            len(encoded.lengths),
            cache.max_bytes / 1e9,
        )
    folder = cache.root / _key(encoded, kept, backbone, device, frozen.n)
    cache.root.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not is_whole(folder):
            _make_room(cache, int(encoded.lengths[:kept].sum()) * width * ITEM_BYTES[device.dtype])
            with new_folder(folder, KIND) as staging:
                _write(frozen, encoded, kept, width, staging, progress)
    os.utime(folder)
    facts = json.loads((folder / FACTS).read_text())
    starts = np.full(len(encoded.lengths), -1, dtype=np.int64)
    starts[:kept] = np.concatenate([[0], np.cumsum(encoded.lengths[:kept])])[:kept]
    return States(np.load(folder / STATES, mmap_mode="r", allow_pickle=False), starts, facts["seconds"])


def _write(frozen: FrozenBlocks, encoded: Encoded, kept: int, width: int, folder: Path, progress: Progress) -> None:
    start, done = time.perf_counter(), 0
    lengths = encoded.lengths[:kept]
    ends = np.cumsum(lengths)
    dtype = np.int16 if frozen.device.dtype == "bfloat16" else np.float32
    shape = (int(lengths.sum()), width)
    values = np.lib.format.open_memmap(folder / STATES, mode="w+", dtype=dtype, shape=shape)
    for rows in passes(np.arange(kept), lengths, SCORING_TOKENS[frozen.device.kind]):
        states = _as_numbers(frozen.compute(collate(encoded, rows, frozen.device.kind)))
        for row, found in zip(rows, states, strict=True):
            values[ends[row] - lengths[row] : ends[row]] = found[: lengths[row]]
        done += len(rows)
        progress("states of frozen blocks", done, kept)
    values.flush()
    (folder / FACTS).write_text(json.dumps({"seconds": time.perf_counter() - start, "n_texts": kept}))


def _affordable(lengths: np.ndarray, width: int, device: Device, max_bytes: int) -> int:
    """Return how many of the first texts' states fit into ``max_bytes``."""
    return int(np.searchsorted(np.cumsum(lengths) * (width * ITEM_BYTES[device.dtype]), max_bytes, side="right"))


def _key(encoded: Encoded, kept: int, backbone: Backbone, device: Device, n: int) -> str:
    digest = hashlib.sha256()
    for ids in encoded.tokens.ids[:kept]:
        digest.update(np.asarray(ids, dtype=np.int64).tobytes())
        digest.update(b"|")
    for ids in (encoded.tokens.segments or ())[:kept]:
        digest.update(np.asarray(ids, dtype=np.int64).tobytes())
    code = code_sha256("tunewise.training.frozen_blocks")
    return sha256_of_json([digest.hexdigest(), kept, backbone.fingerprint, asdict(device), n, code, version("transformers")])


def _make_room(cache: StateCache, n_bytes: int) -> None:
    """Remove the states that were used longest ago until so many bytes more are within the cache's limit.

    A file that another process has mapped stays readable to it until it ends.
    """
    folders = sorted((path for path in cache.root.iterdir() if is_whole(path)), key=lambda path: path.stat().st_mtime)
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in folders}
    for path in folders:
        if sum(sizes.values()) + n_bytes <= cache.max_bytes:
            return
        shutil.rmtree(path, ignore_errors=True)
        del sizes[path]


def _as_numbers(states: Tensor) -> np.ndarray:
    """Return states as an array; NumPy has no bfloat16, whose bits stand as integers."""
    return (states.view(torch.int16) if states.dtype == torch.bfloat16 else states).cpu().numpy()


def _as_tensor(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(values)
    return tensor.view(torch.bfloat16) if values.dtype == np.int16 else tensor


def _stop(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:  # noqa: ARG001 - a hook's signature
    raise _Reached(given[0] if given else named["hidden_states"])
