"""The version of ganlab's numbers."""

# A recorded result is stale if its run was played under another one. It goes up in the commit that changes
# tests/golden.json or tests/pinned.json, and in no other: a change of text leaves results valid.
NUMERICS = 1
