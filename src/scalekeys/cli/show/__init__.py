"""What a person sees: tables on standard output, one module a verb, and progress on standard error."""
