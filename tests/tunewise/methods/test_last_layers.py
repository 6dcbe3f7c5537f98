"""Fine-tuning in part: the top blocks move, what lies below stays and is not stored."""

import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.errors import SettingsError
from tunewise.methods.finetune.last_layers import METHOD, LastLayersSettings, fit
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs

QUICK = LastLayersSettings(min_steps=6, blocks=1, learning_rate=1e-3)


@pytest.mark.parametrize(("kind", "architecture", "norm"), [("encoder", "bert", None), ("decoder", "llama", "norm.")])
def test_the_top_block_moves_and_the_rest_stays(tmp_path, kind, architecture, norm):
    """Block 1, the norm above it and the output layer are trained; nothing else differs from the backbone."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(kind=kind, architecture=architecture, epochs=1))
    predictor = fit(inputs, QUICK, rng=Rng(0))
    before = load_trunk(inputs.runtime.backbone).state_dict()
    after = predictor.classifier.trunk.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}

    assert moved == {name for name in before if "layers.1." in name or "layer.1." in name or (norm and name.startswith(norm))}
    assert {name.removeprefix("trunk.") for name in predictor.kept.tensors} - moved == {"head.1.weight", "head.1.bias"}


def test_more_blocks_than_there_are_are_refused(tmp_path):
    """The error says how many there are."""
    with pytest.raises(SettingsError, match=r"blocks=3 was given and this backbone has 2"):
        fit(toy_inputs(tmp_path, needs=METHOD.needs), LastLayersSettings(blocks=3), rng=Rng(0))
