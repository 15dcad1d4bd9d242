"""Rules about scaling and clipping of gradients."""
