"""Networks of ``../shared/zoo`` as modules whose parameters are named as in their checkpoints."""
