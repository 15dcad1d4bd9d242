"""Rules about updates: gradients cleared, used, left over, and changed by hand."""
