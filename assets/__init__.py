"""What exists: dataset, split, embeddings, adapted variants, comparison, and the checks on them."""
