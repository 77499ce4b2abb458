"""The web service; comes after the batch pipeline."""
