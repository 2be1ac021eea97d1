"""The verbs: one module each, with its options and its help. What is heavy is imported when a verb runs."""
