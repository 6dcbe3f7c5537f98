"""Training only the tokens that occur changes nothing but the time."""

import pytest
import torch
from torch import nn

from tunewise.backbones.loading import load_trunk
from tunewise.testing import tiny_encoder
from tunewise.training.optimizer import adamw
from tunewise.training.seen_tokens import SeenRows, only_seen_tokens

IDS = torch.tensor([[2, 9, 30, 30, 3], [2, 70, 9, 3, 3]])
SEEN = torch.unique(IDS)


def five_steps(trunk):
    """Step five times on a loss that moves every state, in evaluation-free training mode."""
    optimizer = adamw([(trunk, 1e-2)], 0.1)
    trunk.train()
    for _ in range(5):
        optimizer.zero_grad()
        (trunk(input_ids=IDS).last_hidden_state * torch.linspace(-1, 1, 32)).pow(3).sum().backward()
        optimizer.step()


def test_the_steps_are_those_of_the_whole_table(tmp_path):
    """Five AdamW steps give the weights that training the whole table gives, unseen rows included."""
    backbone = tiny_encoder(tmp_path)
    plain, lean = load_trunk(backbone, dropout=0.0), load_trunk(backbone, dropout=0.0)
    five_steps(plain)
    with only_seen_tokens(lean, SEEN):
        five_steps(lean)

    assert plain.state_dict().keys() == lean.state_dict().keys()
    for name, weight in plain.state_dict().items():
        assert torch.allclose(weight, lean.state_dict()[name], atol=1e-6), name


def test_unseen_rows_stay_and_seen_ones_move(tmp_path):
    """The table differs from the backbone's at the tokens that occur, and there alone."""
    backbone = tiny_encoder(tmp_path)
    before, trunk = load_trunk(backbone).get_input_embeddings().weight, load_trunk(backbone, dropout=0.0)
    with only_seen_tokens(trunk, SEEN):
        five_steps(trunk)
    after = trunk.get_input_embeddings().weight

    assert [i for i in range(len(before)) if not torch.equal(before[i], after[i])] == SEEN.tolist()


def test_evaluation_knows_every_token_and_the_trained_rows(tmp_path):
    """Inside the block, evaluation reads unseen tokens from the table and seen ones as trained."""
    table = nn.Embedding(6, 2)
    unseen = table.weight[5].detach().clone()
    rows = SeenRows(table, torch.tensor([1, 3]))
    with torch.no_grad():
        rows.weight[1] = torch.tensor([7.0, 8.0])
    rows.eval()

    assert torch.equal(rows(torch.tensor([[3, 5]]))[0], torch.stack([torch.tensor([7.0, 8.0]), unseen]))


def test_a_frozen_table_is_left_alone(tmp_path):
    """Where token embeddings are not trained, nothing stands in for them."""
    trunk = load_trunk(tiny_encoder(tmp_path))
    table = trunk.get_input_embeddings().requires_grad_(False)
    with only_seen_tokens(trunk, SEEN):
        assert trunk.get_input_embeddings() is table
    assert not table.weight.requires_grad


def test_an_error_inside_leaves_the_model_whole(tmp_path):
    """The whole table is back, and trainable, whatever ended the block."""
    trunk = load_trunk(tiny_encoder(tmp_path))
    table = trunk.get_input_embeddings()
    with pytest.raises(IndexError), only_seen_tokens(trunk, SEEN):
        trunk(input_ids=torch.tensor([[10_000]]))

    assert trunk.get_input_embeddings() is table
    assert table.weight.requires_grad
