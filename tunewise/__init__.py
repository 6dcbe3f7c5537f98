"""Every way of using a pretrained transformer on your own labelled texts, compared honestly."""
