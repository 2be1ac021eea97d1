"""What ``torch.save`` writes, old and new, read as data."""
