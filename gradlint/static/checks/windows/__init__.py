"""Rules about windows: batches that share a step, loaders, processes."""
