"""What units of vision networks see, as equations: kernels, tuning curves, families across networks."""
