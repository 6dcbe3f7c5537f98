"""Who is decayed, and who steps how fast."""

from torch import nn

from tunewise.training.optimizer import adamw


def test_matrices_alone_are_decayed():
    """A linear layer's weight is; its bias, a norm's scale and an embedding are not."""
    module = nn.ModuleDict({"table": nn.Embedding(5, 4), "linear": nn.Linear(4, 3), "norm": nn.LayerNorm(3)})
    decay = {id(p): group["weight_decay"] for group in adamw([(module, 0.1)], 0.01).param_groups for p in group["params"]}

    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        "table.weight": 0.0,
        "linear.weight": 0.01,
        "linear.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
    }


def test_each_module_has_its_step_size_and_frozen_numbers_none():
    """The trunk's rate and the head's reach their own parameters; a frozen one is in no group."""
    trunk, layer = nn.Linear(2, 2), nn.Linear(2, 2)
    trunk.bias.requires_grad_(False)
    rates = {id(p): group["lr"] for group in adamw([(trunk, 0.1), (layer, 0.2)], 0.0).param_groups for p in group["params"]}

    assert rates == {id(trunk.weight): 0.1, id(layer.weight): 0.2, id(layer.bias): 0.2}
