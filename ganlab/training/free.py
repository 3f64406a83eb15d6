"""What of a config may differ between two parts of one run."""

# What never changes the game: the budget, what is written, and the hardware.
FREE = (
    "steps", "images", "trust", "resume", "class_names",
    "logger", "log_every", "evaluate_every", "sample_every", "checkpoint_every", "views", "profile",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy",
    "data.root", "data.test_root", "data.num_workers", "data.in_memory", "data.memory_limit",
)  # fmt: skip
