"""Training: objective, step, loop, optimizer, averages, checkpoints."""
