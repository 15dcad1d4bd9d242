"""Rules about schedulers: their order, their lengths, their units."""
