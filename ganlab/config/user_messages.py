"""Messages about errors for the user, in one line."""

import re

from ganlab.core.errors import ConfigError, Diverged, ProcessLost, UnfinishedRuns, terminal_text

OWN_ERRORS = (ConfigError, Diverged, ProcessLost, UnfinishedRuns)  # the errors that ganlab itself raises
# Phrases with which Hydra and OmegaConf start those parts of a message that help only to debug them.
HYDRA_DETAILS = re.compile("Config search path:|object_type=|To append to your config use")


def user_message(error: BaseException) -> str:
    """The message of an error in one line, without the details that Hydra adds for its own debugging."""
    # The message of Hydra's error often names only the setting, and that of its cause the reason.
    errors = [error] if isinstance(error, OWN_ERRORS) or error.__cause__ is None else [error, error.__cause__]
    text = " ".join(HYDRA_DETAILS.split(str(part))[0] for part in errors).split("full_key:")[0]
    return terminal_text(" ".join(text.replace("Available options in", "- available in").split()))
