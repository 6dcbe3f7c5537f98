"""The world behind small interfaces: artefact store, model store, tracker, compute."""
