"""The version of ganlab's numerical results."""

# A recorded result is stale if its run has another version. The version goes up in exactly those commits
# that change tests/golden.json or tests/pinned.json, so edits of text leave results valid.
NUMERICS = 1
