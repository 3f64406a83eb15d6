"""Generative adversarial and matching networks: composed by config, exact to the bit."""

import os
import sys

# `python -m ganlab.run` looks for modules in the working directory first. What lies there, perhaps in a
# stranger's run, would pass for an optional module of a library. Own classes are found there by name, later.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]
