"""Figures of the introductory theory, drawn from real games."""
