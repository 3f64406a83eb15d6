"""One thread per process: as many as cores, with two test processes, would spin most of the time away."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"

import torch

torch.set_num_threads(1)
