"""The introductory theory as pictures: one figure a file, from real games where a game is shown."""
