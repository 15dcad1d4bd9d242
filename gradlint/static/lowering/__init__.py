"""Lowering: from syntax to a flow tree, with names as values. One class in layers, each a module that knows one thing."""
