"""Tiny backbones and toy tasks for tests, benchmarks and examples; everything here runs in a second on one core.

A toy text is filler words with words of its class among them, so that random frozen features and
fine-tuning both learn it, and nothing but the class words tells the classes apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, cast

from tunewise.artifacts import sha256_of_json
from tunewise.backbones.loading import bare_model, load_tokenizer, load_trunk, quiet
from tunewise.backbones.opening import open_folder
from tunewise.backbones.pooling import pool
from tunewise.contracts import Backbone, Device, Inputs, Kind, Need, Part, Runtime, Split, Text
from tunewise.rng import Rng
from tunewise.study import BackboneSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from tunewise.contracts import Embed, Matrix, Texts

CPU = Device("cpu", "float32", 1)
MAX_CLASSES = 128
WORDS_PER_CLASS = 2
_SYLLABLES = [f"{one}{two}" for one, two in product("bdfgklmnprstvz", "aeiou")]
_WORDS = [f"{one}{two}" for one, two in product(_SYLLABLES, repeat=2)][:: len(_SYLLABLES) // 7]
"""Made-up words of two syllables, spread over the alphabet."""
CLASS_WORDS = [tuple(_WORDS[i * WORDS_PER_CLASS : (i + 1) * WORDS_PER_CLASS]) for i in range(MAX_CLASSES)]
FILLERS = tuple(_WORDS[MAX_CLASSES * WORDS_PER_CLASS :][:64])
_UNKNOWN = {"unk_token": "[UNK]"}
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_POSITIONS = 64
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
# Wide enough that a position tells of the words before it, narrow enough that layers keep what they are given.
_WIDTH = {"initializer_range": 0.1, "vocab_size": 0, "pad_token_id": 0}


def tiny_encoder(folder: Path, *, architecture: str = "bert", seed: int = 0) -> Backbone:
    """Write an encoder with random weights and a real fast tokenizer into ``folder`` and open it.

    Args:
        folder: A folder, made if it is missing.
        architecture: ``bert``, ``distilbert``, ``roberta``, ``modernbert`` or ``deberta-v2``.
        seed: Seed of the weights.
    """
    return _tiny(folder, "encoder", architecture, seed)


def tiny_decoder(folder: Path, *, architecture: str = "llama", seed: int = 0) -> Backbone:
    """Write a causal language model with random weights into ``folder`` and open it.

    Args:
        folder: A folder, made if it is missing.
        architecture: ``llama``, ``qwen2``, ``qwen3``, ``gemma``, ``gemma3_text`` or ``gpt2``.
        seed: Seed of the weights.
    """
    return _tiny(folder, "decoder", architecture, seed)


def toy_split(n: int = 240, n_classes: int = 2, seed: int = 0, *, pairs: bool = False) -> Split:
    """Return 60% training, 20% development and 20% test rows, classes in equal numbers.

    Args:
        n: Number of rows; five per class hold every class in every part.
        n_classes: 2 to 128.
        seed: Seed of the texts.
        pairs: Whether each text is a pair; both sides then hold words of the class.
    """
    if not 2 <= n_classes <= MAX_CLASSES:
        raise ValueError(f"n_classes={n_classes} was given; the toy words serve 2 to {MAX_CLASSES}.")
    generator = Rng(seed).child("toy").numpy()
    labels = [i % n_classes for i in range(n)]
    texts = [_toy_text(label, generator, pairs=pairs) for label in labels]
    bounds = (0, n * 3 // 5, n * 4 // 5, n)
    train, development, test = (_part(texts, labels, start, end) for start, end in pairwise(bounds))
    classes = tuple(f"class_{i}" for i in range(n_classes))
    return Split(classes, train, development, test, sha256_of_json([texts, labels, bounds]), "CC0-1.0")


@dataclass
class RecordingMonitor:
    """Keeps what a fit reports: progress, the curve, how often the clock was stopped and a checkpoint was taken up."""

    stages: list[tuple[str, int, int]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    n_untimed: int = 0
    n_resumes: int = 0

    def progress(self, stage: str, done: int, total: int) -> None:
        """Keep the stage and how far it has come."""
        self.stages.append((stage, done, total))

    def record(self, step: int, **values: float) -> None:
        """Keep the values of one step."""
        self.curve.append({"step": step, **values})

    def count_features(self, seconds: float) -> None:
        """Ignore the seconds."""

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Count the block."""
        self.n_untimed += 1
        yield

    def so_far(self) -> dict[str, Any]:
        """Return the curve."""
        return {"curve": list(self.curve)}

    def go_on_from(self, measured: dict[str, Any]) -> None:
        """Take that curve, and count."""
        self.curve = list(measured["curve"])
        self.n_resumes += 1


@dataclass(frozen=True)
class Toy:
    """What `toy_inputs` may be asked for besides what a method needs."""

    kind: Kind = "encoder"
    architecture: str = ""
    n: int = 240
    n_classes: int = 2
    pairs: bool = False
    epochs: int = 3
    metric: str = "accuracy"


def toy_inputs(
    folder: Path,
    *,
    needs: frozenset[Need] = frozenset(),
    seed: int = 0,
    toy: Toy | None = None,
    split: Split | None = None,
    backbone: Backbone | None = None,
) -> Inputs:
    """Return inputs on a toy task, with a tiny backbone where ``needs`` asks for one.

    The monitor is a `RecordingMonitor`; the device is one CPU thread in float32.

    Args:
        folder: Where backbone and work folder are made.
        needs: The method's needs.
        seed: Seed of the texts and the weights.
        toy: Size and shape of the task.
        split: Rows to use instead of toy rows.
        backbone: The backbone to use instead of a tiny one.
    """
    import numpy as np

    toy = toy or Toy()
    split = split or toy_split(toy.n, toy.n_classes, seed, pairs=toy.pairs)
    if needs and backbone is None:
        backbone = _tiny(folder / f"tiny_{toy.kind}", toy.kind, toy.architecture or _DEFAULT[toy.kind], seed)
    embed = plain_embed(backbone) if backbone and Need.EMBEDDINGS in needs else None
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    return Inputs(
        classes=split.classes,
        train=split.train,
        development=split.development,
        runtime=Runtime(CPU, backbone if needs else None, embed),
        monitor=RecordingMonitor(),
        work=work,
        epochs=toy.epochs,
        class_weights=np.ones(len(split.classes), dtype=np.float32),
        metric=toy.metric,
    )


def plain_embed(backbone: Backbone) -> Embed:
    """Return the slow way to pooled, L2-normalised features: one padded forward pass over all texts, in float32."""
    tokenizer, trunk = load_tokenizer(backbone), load_trunk(backbone)

    def embed(texts: Texts) -> Matrix:
        import numpy as np
        import torch

        if not len(texts):
            return np.zeros((0, backbone.hidden_size), dtype=np.float32)
        batch = encode(tokenizer, texts)
        with torch.inference_mode():
            hidden = trunk(**batch).last_hidden_state
            features = torch.nn.functional.normalize(pool(hidden, batch["attention_mask"], backbone.pooling), dim=1)
        return features.numpy()

    return embed


def encode(tokenizer: PreTrainedTokenizerFast, texts: Texts) -> dict[str, Any]:
    """Return the padded batch of texts or pairs as tensors, cut at the tokenizer's limit."""
    first = [text if isinstance(text, str) else text[0] for text in texts]
    second = None if isinstance(texts[0], str) else [text[1] for text in texts]
    return dict(tokenizer(first, second, padding=True, truncation=True, return_tensors="pt"))


def _toy_text(label: int, generator: np.random.Generator, *, pairs: bool) -> Text:
    if pairs:
        return _toy_sentence(label, generator), _toy_sentence(label, generator)
    return _toy_sentence(label, generator)


def _toy_sentence(label: int, generator: np.random.Generator) -> str:
    fillers = generator.choice(FILLERS, size=generator.integers(2, 7))
    own = generator.choice(CLASS_WORDS[label], size=generator.integers(2, 6))
    return " ".join(generator.permutation([*fillers, *own]))


def _part(texts: list[Text], labels: list[int], start: int, end: int) -> Part:
    import numpy as np

    ids = tuple(f"row{i:05}" for i in range(start, end))
    return Part(ids, tuple(texts[start:end]), np.array(labels[start:end], dtype=np.int64))


_DEFAULT: dict[Kind, str] = {"encoder": "bert", "decoder": "llama"}


def _tiny(folder: Path, kind: Kind, architecture: str, seed: int) -> Backbone:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tiny_tokenizer(kind)
    tokenizer.save_pretrained(folder)
    with Rng(seed).child("weights").torch(), quiet():
        model = bare_model(_tiny_config(architecture, len(tokenizer)))
        _weaken_positions(model)
        model.save_pretrained(folder)
    name = f"tiny_{architecture.replace('-', '_')}"
    return open_folder(BackboneSpec(name=name, source=str(folder), kind=kind, max_tokens=None), folder)


def _weaken_positions(model: PreTrainedModel) -> None:
    """Let a token say more of its word than of its place, as it does in a trained model."""
    import torch

    with torch.no_grad():
        for name, table in model.named_parameters():
            if "position" in name or name.endswith("wpe.weight"):
                table.mul_(0.1)


def _tiny_config(architecture: str, n_tokens: int) -> PreTrainedConfig:
    from transformers import AutoConfig

    sizes = {
        "qwen2": {**_SIZES, "num_key_value_heads": 2},
        "qwen3": {**_SIZES, "num_key_value_heads": 2, "head_dim": 8},
        "gemma": {**_SIZES, "num_key_value_heads": 1, "head_dim": 8},
        # One block sees a window, the other everything, as in the models of that name.
        "gemma3_text": {
            **_SIZES,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        # As version 3 has it: positions are relative, in buckets, and known to attention alone.
        "deberta-v2": {
            **_SIZES,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        },
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64},
    }
    shape = sizes.get(architecture, _SIZES)
    # RoBERTa counts positions from the padding's number plus one.
    table = {"n_positions" if architecture == "gpt2" else "max_position_embeddings": _POSITIONS + (architecture == "roberta")}
    special = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    return AutoConfig.for_model(architecture, **{**_WIDTH, "vocab_size": n_tokens, **shape, **table, **special})


def _tiny_tokenizer(kind: Kind) -> PreTrainedTokenizerFast:
    """Split words that the vocabulary lacks into letters, so that any plain text can be read."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    words = [word for group in CLASS_WORDS for word in group]
    vocabulary = [*_SPECIALS, *letters, *(f"##{letter}" for letter in letters), *FILLERS, *words]
    rules = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, **_UNKNOWN))
    rules.normalizer = cast("Any", normalizers.BertNormalizer(lowercase=True))
    rules.pre_tokenizer = cast("Any", pre_tokenizers.BertPreTokenizer())
    if kind == "encoder":
        rules.post_processor = cast(
            "Any",
            processors.TemplateProcessing(
                single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
            ),
        )
    names = {**_UNKNOWN, "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    if kind == "decoder":
        names = {**_UNKNOWN, "pad_token": "[PAD]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=rules, model_max_length=_POSITIONS, **names)
