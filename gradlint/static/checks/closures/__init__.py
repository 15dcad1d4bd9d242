"""Rules about closures: optimizers that ask for the loss again."""
