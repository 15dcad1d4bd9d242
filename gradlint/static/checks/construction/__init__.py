"""Rules about construction: what is registered, frozen, shared, copied, and handed to an optimizer."""
