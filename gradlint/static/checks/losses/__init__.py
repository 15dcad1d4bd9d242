"""Rules about losses and data: what goes into a loss, and what a run can repeat."""
