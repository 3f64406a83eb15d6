"""Generative adversarial and matching networks: composed by config, exact to the bit."""

import os
import sys

# `python -m ganlab.run` searches the working directory first. Files in it, perhaps in the run of another
# user, could be imported as optional modules of libraries. `import_object` searches it later, and last.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]
