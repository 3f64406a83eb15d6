"""The version of ganlab's numerical results."""

# A recorded result is stale if its run has a different version. The version rises in exactly those commits
# that change numbers in tests/golden.json or tests/pinned.json. Other commits leave recorded results valid.
NUMERICS = 1
