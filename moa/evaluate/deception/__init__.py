"""Deception: attacks on a graph, and what they do to its answers."""
