"""Syntax: what a file says of itself before anything is interpreted."""
