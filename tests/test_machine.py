import subprocess
import sys

FAULTS = """
import resource, torch
from ganlab.training.process_settings import keep_memory
torch.set_num_threads(1)

def faults(rounds=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.empty(48 << 20, dtype=torch.uint8).fill_(1)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds

before, kept, _, after = faults(), keep_memory(), faults(40), faults()
assert after < (before / 20 if kept else before + 1), (before, kept, after)
"""


def test_memory_freed_by_a_step_is_not_returned_to_the_system() -> None:
    """In a process of its own: the setting cannot be taken back."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
