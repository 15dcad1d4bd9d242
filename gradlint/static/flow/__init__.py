"""Flow: the tree that lowering makes, its interpreter, and what an event of it means to whom."""
