"""Where optuna keeps what it knows of a sweep: a file of lines, one for each thing that happened."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from ganlab.suites import lines


class Journal(BaseJournalBackend):
    """The format of optuna's own JournalFileBackend, whose files this reads and whose tools read this one's.

    That one does not survive every kill: behind a line that was half-written it writes the next, and neither
    can be read again; and its lock stays behind, so that the next process waits for half a minute.
    """

    def __init__(self, path: Path):
        self.path = path

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        whole, _ = lines.read(self.path)
        for line in whole.splitlines()[log_number_from:]:
            yield json.loads(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines.append(self.path, "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs))
