"""What the verbs do: read, call, write; one module a verb. It prints nothing and holds no science."""
