"""What a fit minimises, on filters of unit energy."""
