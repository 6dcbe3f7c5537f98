"""What is stored comes back, and what does not fit is refused."""

import pytest
import torch
from torch import nn

from tunewise.errors import ArtifactError
from tunewise.training.keeping import WEIGHTS, fill, keep, read_kept


def half_frozen():
    """Return two layers, the first of them frozen."""
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    return module


def test_trained_numbers_alone_are_stored_and_come_back(tmp_path):
    """Of 8 + 6 numbers the 6 trained ones are written; the facts are what they were."""
    kept = keep(half_frozen(), 2, {"epoch": 3}, {"rank": 8})
    kept.save(tmp_path)
    found = read_kept(tmp_path)

    assert (found.n_trained_parameters, found.n_total_parameters) == (6, 14)
    assert (found.n_classes, found.chosen, found.shape) == (2, {"epoch": 3}, {"rank": 8})
    assert found.tensors.keys() == {"1.weight", "1.bias"}
    assert all(torch.equal(found.tensors[name], kept.tensors[name]) for name in found.tensors)


def test_stored_numbers_fill_another_module(tmp_path):
    """Frozen numbers of the other module stay what they are."""
    source, other = half_frozen(), half_frozen()
    before = other[0].weight.clone()
    fill(other, keep(source, 2, {}, {}))

    assert torch.equal(other[1].weight, source[1].weight)
    assert torch.equal(other[0].weight, before)


def test_numbers_of_another_backbone_are_refused():
    """The error names the weight and its shape, and says what to load it with."""
    kept = keep(half_frozen(), 2, {}, {})

    with pytest.raises(ArtifactError, match=r"1\.weight of shape \(2, 2\).*the backbone it was fitted on"):
        fill(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)), kept)


@pytest.mark.parametrize("content", [None, b"", b"\x08" + bytes(20)])
def test_a_missing_or_cut_file_is_refused(tmp_path, content):
    """The error names the folder and what to do."""
    keep(half_frozen(), 2, {}, {}).save(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    if content is not None:
        (tmp_path / WEIGHTS).write_bytes(content)

    with pytest.raises(ArtifactError, match=r"holds no readable trained\.safetensors and fit\.json.*fit again"):
        read_kept(tmp_path)


def test_a_later_rounding_does_not_reach_what_is_kept():
    """A layer rounded to bfloat16 for answers leaves the kept float32 numbers as they were."""
    module = half_frozen()
    kept = keep(module, 2, {}, {})
    before = {name: tensor.clone() for name, tensor in kept.tensors.items()}
    module.requires_grad_(False).to(torch.bfloat16)

    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, before[name]) for name, tensor in kept.tensors.items())
