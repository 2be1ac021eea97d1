"""What every source becomes: tensors by name, the layers among them, what is left out, and how they are written."""
