"""The files of a training run: `dfd train` writes them, the study, `dfd view` and `dfd inspect` read them."""

CHECKPOINT, BEST, LAST = 'checkpoint.pt', 'best.safetensors', 'last.safetensors'
CARD, LOG, PICTURE = 'README.md', 'log.jsonl', 'samples.png'
ALL = (CHECKPOINT, BEST, LAST, CARD, PICTURE, LOG)
VALIDATION = 'validation'
"""The folder beside the run, with the stacks that were rendered for its validation."""
