"""Rules about graphs: used twice, kept alive, cut off."""
