"""Runs a frozen backbone over texts: sorted by length, in batches of about equal work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from tunewise.backbones.loading import load_tokenizer, load_trunk
from tunewise.embeddings.generic import Padded
from tunewise.embeddings.packed import PackedBert, is_packable
from tunewise.embeddings.tokens import Tokens, pad_token_id_of, plan, tokenize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunewise.contracts import Backbone, Device, Matrix, Texts

CPU_BUDGET = 1024
"""Tokens of a batch on a CPU: its activations stay near the cores, and even a small table gives every core work."""
GPU_BUDGET = 32_768


class Engine:
    """A loaded backbone that computes features."""

    def __init__(self, backbone: Backbone, device: Device, *, may_pack: bool = True) -> None:
        """Load tokenizer and weights.

        Args:
            backbone: Whose features.
            device: Where, in which precision and with how many threads.
            may_pack: Whether the packed forward pass may be used where the model's shape allows it.
        """
        self._tokenizer = load_tokenizer(backbone)
        self._hidden_size = backbone.hidden_size
        self._budget = CPU_BUDGET if device.kind == "cpu" else GPU_BUDGET
        dtype = torch.bfloat16 if device.dtype == "bfloat16" else torch.float32
        trunk = load_trunk(backbone)
        self.is_packed = may_pack and device.kind == "cpu" and is_packable(trunk, dtype)
        self._forward: Callable[[Tokens], np.ndarray]
        if self.is_packed:
            self._forward = PackedBert(trunk, backbone.pooling, dtype, self._budget)
            self._n_workers = device.n_threads
        else:
            self._forward = Padded(trunk, backbone.pooling, device.kind, dtype, pad_token_id_of(self._tokenizer))
            self._n_workers = 0

    def tokens(self, texts: Texts) -> Tokens:
        """Return the tokens of ``texts``, cut at the backbone's limit."""
        return tokenize(self._tokenizer, texts)

    def features(self, tokens: Tokens, note: Callable[[int], None] = lambda _: None) -> Matrix:
        """Return pooled, L2-normalised features.

        Shapes:
            n texts -> (n, d), float32

        Args:
            tokens: What `tokens` returned.
            note: Told after each batch how many texts are done.
        """
        features = np.empty((len(tokens), self._hidden_size), dtype=np.float32)
        done = 0
        for rows, answer in self._answers(tokens, plan(tokens.lengths, self._budget)):
            features[rows] = answer
            done += len(rows)
            note(done)
        return features

    def _answers(self, tokens: Tokens, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if not self._n_workers:
            yield from ((rows, self._forward(tokens.take(rows))) for rows in batches)
            return
        with _single_threaded_workers(self._n_workers) as workers:
            futures = {workers.submit(self._forward, tokens.take(rows)): rows for rows in batches}
            for future in as_completed(futures):
                yield futures.pop(future), future.result()


@contextmanager
def _single_threaded_workers(n_workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads whose torch uses one core each, and drop what is not begun when the block fails.

    A batch per core, not a core per share of every product: no core waits for another one hundreds of times a
    second, which costs most where something else runs beside; and no result depends on the number of threads.
    """
    n_threads = torch.get_num_threads()
    workers = ThreadPoolExecutor(n_workers, "embed", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield workers
    finally:
        workers.shutdown(cancel_futures=True)
        # A thread's number is also the one that later threads start with.
        torch.set_num_threads(n_threads)
