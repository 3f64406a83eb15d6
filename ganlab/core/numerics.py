"""The version of ganlab's numerical results."""

# A recorded result is stale if its run has a different version. The version rises in exactly those commits
# that change tests/golden.json or tests/pinned.json, so edits of text leave recorded results valid.
NUMERICS_VERSION = 1
