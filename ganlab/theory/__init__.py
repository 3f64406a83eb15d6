"""Figures that introduce the theory, drawn from games that are trained for them."""
