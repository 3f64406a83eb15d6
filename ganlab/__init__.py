"""Generative adversarial and matching networks: composed by config, exact to the bit."""
