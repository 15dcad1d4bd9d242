"""Public programs that train, as data: what they are, how they are run short, and which mistakes are put into them."""
