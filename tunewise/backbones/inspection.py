"""What a model folder holds, and whether it may be used: nothing in it is executed."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import sha256_of_file, sha256_of_json, write_atomically
from tunewise.contracts import KINDS
from tunewise.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Progress

PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
"""Endings of weight files that run code when they are read."""

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)
_BESIDE_VOCABULARY = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
_BESIDE_CONFIG = ("1_Pooling/config.json", "sentence_bert_config.json")
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype"})
_POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_ROBERTA_SHAPED = ("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "ibert", "longformer")
_OFFSET_POSITIONS = frozenset({*_ROBERTA_SHAPED, "data2vec-text", "luke", "mpnet", "esm"})
"""Architectures that count positions from ``pad_token_id + 1``, so that the table's first rows are never used."""
_FALLBACK_TOKENS = 512
"""Where neither configuration nor tokenizer names a limit, as with ALiBi; the length BERT made customary."""


def read_facts(folder: Path, cache: Path | None, progress: Progress) -> dict[str, Any]:
    """Return what has to be known of a model folder, from ``cache`` where its files are as they were.

    Args:
        folder: The model folder.
        cache: A JSON file keyed by names, sizes and times of the files; nothing is kept without it.
        progress: Told how many bytes of weights have been hashed.

    Raises:
        BackboneError: If the folder holds no model that may be used.
    """
    key = sha256_of_json([version("transformers"), _states_of(folder)])
    if cache is not None and (known := _read_json_or_none(cache)) is not None and known.get("key") == key:
        return known["facts"]
    facts = _inspect(folder, progress)
    if cache is not None:
        write_atomically(cache, json.dumps({"key": key, "folder": str(folder), "facts": facts}, indent=1))
    return facts


def _states_of(folder: Path) -> list[list[str | int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(path, path.stat()) for path in files]
    return [[str(path.relative_to(folder)), state.st_size, state.st_mtime_ns] for path, state in states]


def _read_json_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} is no readable JSON: {error}. Fetch the model again.") from error
    if not isinstance(value, dict):
        raise BackboneError(f"{path} holds no JSON object. Fetch the model again.")
    return value


def _inspect(folder: Path, progress: Progress) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"{folder} holds no config.json, so it is no model folder. Give the folder that `save_pretrained` wrote."
        )
    config = _read_json(folder / "config.json")
    _refuse_code(folder, config)
    _refuse_unknown_architecture(folder, config)
    kind = _kind_of(config)
    if kind not in KINDS:
        raise BackboneError(
            f"{folder} holds a {config['model_type']}, which is {kind}. Use an encoder (BERT-shaped) or a causal language model."
        )
    return {
        "kind": kind,
        "architecture": config["model_type"],
        "weights_sha256": _hash_weights(folder, _weight_files(folder), progress),
        "config_sha256": sha256_of_json({name: value for name, value in config.items() if name not in _VOLATILE}),
        "tokenizer_sha256": _hash_tokenizer(folder),
        "pooling": _pooling_of(folder),
        "licence": _licence_of(folder),
        **_measure(folder, config),
    }


def _measure(folder: Path, config: dict[str, Any]) -> dict[str, int]:
    try:
        return {**_lengths(folder, config), **_sizes(folder)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(
            f"transformers {version('transformers')} cannot build the {config['model_type']} that {folder / 'config.json'} "
            f"describes: {error}. Use another model, or the version of transformers it was saved with."
        ) from error


def _refuse_code(folder: Path, config: dict[str, Any]) -> None:
    for name, value in (("config.json", config), ("tokenizer_config.json", _tokenizer_config(folder))):
        if "auto_map" in value:
            raise BackboneError(
                f"{folder / name} has an auto_map: the model brings Python code of its own, which is never run here. "
                "Use a model whose architecture transformers knows by itself."
            )
    if "quantization_config" in config:
        raise BackboneError(
            f"{folder} holds quantised weights, and training and features need them whole. Use the model it was made from."
        )


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return _read_json(path) if path.is_file() else {}


def _refuse_unknown_architecture(folder: Path, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    name = config.get("model_type")
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        near = ", ".join(get_close_matches(str(name), list(CONFIG_MAPPING.keys()), n=3))
        raise BackboneError(
            f"{folder / 'config.json'} names the architecture model_type={name!r}, which transformers {version('transformers')} "
            f"does not know{f'; near are {near}' if near else ''}. Use another model or a newer transformers."
        )


def _kind_of(config: dict[str, Any]) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

    name = config["model_type"]
    if _is_encoder_decoder(config):
        return "an encoder-decoder"
    if config.get("is_decoder"):
        return "decoder"
    if name in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("use_bidirectional_attention"):
        return "encoder"
    return "decoder" if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else "neither"


def _is_encoder_decoder(config: dict[str, Any]) -> bool:
    """Ask the architecture's own default where the file is silent: T5's does not say it."""
    from transformers import AutoConfig

    if "is_encoder_decoder" in config:
        return bool(config["is_encoder_decoder"])
    return bool(AutoConfig.for_model(config["model_type"]).is_encoder_decoder)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        lacking = [name for name in names if "/" in name or not (folder / name).is_file()]
        if lacking or not names:
            raise BackboneError(
                f"{index} lists {lacking[0] if lacking else 'no file'}, which is not there. Fetch the model again."
            )
        return [folder / name for name in names]
    raise BackboneError(_why_no_weights(folder))


def _why_no_weights(folder: Path) -> str:
    if pickled := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED):
        return (
            f"{folder} holds its weights as a pickle ({pickled[0]}), and reading one may run any code, so it is refused. "
            "Take a revision with model.safetensors, or convert it where you trust it: `model.save_pretrained(folder)`."
        )
    return (
        f"{folder} holds no model.safetensors. Convert the weights where you trust them: "
        "`AutoModel.from_pretrained(...).save_pretrained(folder)` writes one."
    )


def _hash_weights(folder: Path, files: list[Path], progress: Progress) -> str:
    total = sum(path.stat().st_size for path in files)
    hashes, done = {}, 0
    for path in files:
        progress(f"hashing {folder.name}", done, total)
        hashes[path.name] = sha256_of_file(path)
        done += path.stat().st_size
    progress(f"hashing {folder.name}", total, total)
    # A single file keeps its plain hash, which is the one a hub shows for it.
    return next(iter(hashes.values())) if len(hashes) == 1 else sha256_of_json(hashes)


def _hash_tokenizer(folder: Path) -> str:
    if not any((folder / name).is_file() for name in VOCABULARIES):
        allowed = ", ".join(VOCABULARIES)
        raise BackboneError(f"{folder} holds no tokenizer: none of {allowed}. Save the model's tokenizer into it.")
    names = [name for name in (*VOCABULARIES, *_BESIDE_VOCABULARY) if (folder / name).is_file()]
    return sha256_of_json({name: sha256_of_file(folder / name) for name in names})


def _pooling_of(folder: Path) -> str | None:
    """Return what sentence-transformers' file asks for, or nothing where there is none."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    config = _read_json(path)
    old = [name for name, is_on in config.items() if name.startswith("pooling_mode_") and is_on]
    mode = config.get("pooling_mode", [name.removeprefix("pooling_mode_").removesuffix("_tokens") for name in old])
    modes = [mode] if isinstance(mode, str) else list(mode)
    plain = [name.removesuffix("_token") for name in modes]
    if len(plain) != 1 or plain[0] not in _POOLINGS:
        raise BackboneError(
            f"{path} pools by {' and '.join(modes) or 'nothing'}; mean, cls and lasttoken are at hand. "
            "Delete the file to pool by the backbone's kind, or use another model."
        )
    return _POOLINGS[plain[0]]


def _licence_of(folder: Path) -> str:
    """Return the licence that the model card's front matter names, or ``unknown``."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", front, re.MULTILINE)
    return found[1] if found else "unknown"


def _lengths(folder: Path, config: dict[str, Any]) -> dict[str, int]:
    from transformers import AutoConfig

    settings = AutoConfig.for_model(**config)
    table = getattr(settings, "max_position_embeddings", None)
    if isinstance(table, int) and table > 0:
        table -= (settings.pad_token_id or 0) + 1 if config["model_type"] in _OFFSET_POSITIONS else 0
    else:
        table = None
    said = _tokenizer_config(folder).get("model_max_length")
    said = int(said) if isinstance(said, (int, float)) and 0 < said < 10**9 else None
    limit = table or said or _FALLBACK_TOKENS
    path = folder / "sentence_bert_config.json"
    wished = _read_json(path).get("max_seq_length") if path.is_file() else None
    return {"position_limit": limit, "default_tokens": min(limit, wished or limit, said or limit)}


def _sizes(folder: Path) -> dict[str, int]:
    """Count parameters on torch's meta device, where tensors have shapes and no memory."""
    import torch

    from tunewise.backbones.loading import bare_model, read_config

    config = read_config(folder)
    with torch.device("meta"):
        model = bare_model(config)
    return {
        "hidden_size": int(config.hidden_size),
        "n_layers": int(config.num_hidden_layers),
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
