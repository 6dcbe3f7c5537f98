"""Opening, loading and pooling pretrained models."""
